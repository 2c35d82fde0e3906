//! Groups that MongoDB makes: which aggregate functions give exactly what the engine's own would, and their stages.

use arrow::datatypes::DataType;
use bson::{Bson, Document, doc};
use connector_spi::{Aggregation, Call, Column, Error, Function, Refusal, RefusalCode, Result, Scan};

use crate::cell::Cells;
use crate::metadata::Facts;
use crate::pushdown::{MISFITS, TAKEN, UNTYPED, is_ordered, path};
use crate::types::Kind;

/// The field of a group that counts values that are not of their column's type.
pub(crate) const MISFIT: &str = "misfits";

/// Why groups are not made in MongoDB; none where they are, and equal the engine's.
pub(crate) fn doubt(scan: &Scan, facts: &Facts, aggregation: &Aggregation) -> Option<Refusal> {
    if scan.is_taken() {
        return Some(TAKEN);
    }
    if facts.lenient {
        return Some(MISFITS);
    }
    for at in &aggregation.group {
        match kind(scan, *at) {
            Err(refusal) => return Some(refusal),
            Ok(Kind::Real | Kind::Double) => {
                return Some(Refusal::new(RefusalCode::Type, "-0.0 and 0.0 are different here and equal in MongoDB"));
            }
            Ok(Kind::Json | Kind::List(_) | Kind::Struct(_)) => {
                return Some(Refusal::new(
                    RefusalCode::Type,
                    "values of a grouping column are equal otherwise in MongoDB",
                ));
            }
            Ok(_) => {}
        }
    }
    aggregation.calls.iter().find_map(|call| match call.column {
        None => (call.function != Function::Count)
            .then_some(Refusal::new(RefusalCode::Function, "an aggregate function without an argument")),
        Some(at) => kind(scan, at).and_then(|kind| result(call, &kind)).err(),
    })
}

fn kind(scan: &Scan, at: usize) -> std::result::Result<Kind, Refusal> {
    let column = scan.columns.get(at).ok_or(UNTYPED)?;
    path(&column.name)?;
    Kind::of_column(column).map_err(|_| UNTYPED)
}

/// The kind of a result over a column of a kind.
fn result(call: &Call, kind: &Kind) -> std::result::Result<Kind, Refusal> {
    let fits = |result: Kind| match result.data_type() == call.data_type {
        true => Ok(result),
        false => Err(Refusal::new(RefusalCode::Function, "the result is wanted in another type")),
    };
    match (call.function, kind) {
        (Function::Count, _) => fits(Kind::Long),
        (Function::Sum, Kind::Int | Kind::Long) => fits(Kind::Long),
        (Function::Sum, Kind::Decimal { precision, scale }) => match call.data_type {
            // A decimal there has 34 digits; ten more than a value's hold the sum of ten thousand million rows.
            DataType::Decimal128(wider, same) if same == *scale && *precision <= 24 && wider >= precision + 10 => {
                Ok(Kind::Decimal { precision: wider, scale: *scale })
            }
            _ => Err(Refusal::new(RefusalCode::Function, "the sum could be larger than MongoDB's 34 digits")
                .remedy("declare the column with fewer digits")),
        },
        (Function::Sum, Kind::Real | Kind::Double) => {
            Err(Refusal::new(RefusalCode::Function, "the sum of floats depends on the order of the rows"))
        }
        (Function::Min | Function::Max, Kind::Bool | Kind::ObjectId | Kind::Uuid) => {
            Err(Refusal::new(RefusalCode::Function, "not asked of the type"))
        }
        (Function::Min | Function::Max, kind) if is_ordered(kind) => fits(kind.clone()),
        _ => Err(Refusal::new(RefusalCode::Function, "MongoDB has no such function for the type, or another one")),
    }
}

/// `$group` and the stage that gives each result a name.
pub(crate) fn stages(scan: &Scan, aggregation: &Aggregation) -> Result<Vec<Document>> {
    let column = |at: usize| {
        scan.columns.get(at).ok_or_else(|| Error::internal("groups of a column that the table does not have"))
    };
    let mut keys = Document::new();
    let mut group = doc! { "_id": Bson::Null };
    let mut shown = doc! { "_id": 0 };
    let mut used: Vec<&Column> = Vec::new();
    for (at, key) in aggregation.group.iter().enumerate() {
        let column = column(*key)?;
        used.push(column);
        // In a document, a field that is missing is another value than null.
        keys.insert(format!("k{at}"), doc! { "$ifNull": [field(column), Bson::Null] });
        shown.insert(format!("k{at}"), format!("$_id.k{at}"));
    }
    if !keys.is_empty() {
        group.insert("_id", keys);
    }
    for (at, call) in aggregation.calls.iter().enumerate() {
        let name = format!("r{at}");
        let Some(of) = call.column else {
            group.insert(&name, doc! { "$sum": 1 });
            shown.insert(name, 1);
            continue;
        };
        let column = column(of)?;
        used.push(column);
        let counted = doc! { "$sum": { "$cond": [{ "$gt": [field(column), Bson::Null] }, 1, 0] } };
        match call.function {
            Function::Count => {
                group.insert(&name, counted);
                shown.insert(name, 1);
            }
            Function::Min => {
                group.insert(&name, doc! { "$min": field(column) });
                shown.insert(name, 1);
            }
            Function::Max => {
                group.insert(&name, doc! { "$max": field(column) });
                shown.insert(name, 1);
            }
            Function::Sum => {
                // As decimals: the sum of 64-bit integers would become a double without a word. The sum of nothing is 0 there.
                // What is no number is a misfit, which is counted.
                group.insert(
                    &name,
                    doc! { "$sum": { "$convert": { "input": field(column), "to": "decimal", "onError": Bson::Null } } },
                );
                group.insert(format!("n{at}"), counted);
                let empty = doc! { "$eq": [format!("$n{at}"), 0] };
                shown.insert(&name, doc! { "$cond": [empty, Bson::Null, format!("${name}")] });
            }
            _ => return Err(Error::internal("an aggregate function that was not taken over")),
        }
    }
    used.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    used.dedup_by(|a, b| a.name == b.name);
    let doubts = used.iter().filter_map(|column| misfit(column).transpose()).collect::<Result<Vec<_>>>()?;
    if !doubts.is_empty() {
        group.insert(MISFIT, doc! { "$sum": { "$cond": [{ "$or": doubts }, 1, 0] } });
        shown.insert(MISFIT, 1);
    }
    Ok(vec![doc! { "$group": group }, doc! { "$project": shown }])
}

fn field(column: &Column) -> String {
    format!("${}", column.name)
}

/// Whether a document's value is not of its column's type: such a document makes the whole result an error, as reading it would.
fn misfit(column: &Column) -> Result<Option<Document>> {
    let kind = Kind::of_column(column)?;
    let aliases = kind.aliases();
    if aliases.is_empty() {
        return Ok(None);
    }
    let types: Vec<Bson> = aliases.iter().chain(&["null", "missing"]).map(|name| Bson::from(*name)).collect();
    Ok(Some(doc! { "$not": [{ "$in": [{ "$type": field(column) }, types] }] }))
}

/// Fields and their kinds.
type Named = Vec<(String, Kind)>;

/// The columns of the result as the documents hold them, but for the count of misfits.
pub(crate) fn cells(scan: &Scan, aggregation: &Aggregation) -> Result<(Named, Vec<Cells>)> {
    let mut named = Vec::new();
    let mut cells = Vec::new();
    for (at, key) in aggregation.group.iter().enumerate() {
        let kind = kind(scan, *key).map_err(|refusal| Error::internal(refusal.text))?;
        cells.push(Cells::new(&kind));
        named.push((format!("k{at}"), kind));
    }
    for (at, call) in aggregation.calls.iter().enumerate() {
        let of = match call.column {
            None => Kind::Long,
            Some(column) => kind(scan, column)
                .and_then(|kind| result(call, &kind))
                .map_err(|refusal| Error::internal(refusal.text))?,
        };
        let sum = call.function == Function::Sum && of == Kind::Long;
        cells.push(if sum { Cells::Sum(Default::default()) } else { Cells::new(&of) });
        named.push((format!("r{at}"), of));
    }
    Ok((named, cells))
}
