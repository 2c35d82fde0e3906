//! Groups that MongoDB makes: which aggregate functions give exactly what the engine's own would, and their stages.

use arrow::datatypes::DataType;
use bson::{Bson, Document, doc};
use connector_spi::{Aggregation, Call, Column, Error, Function, Refusal, RefusalCode, Result, Scan};

use crate::address::Address;
use crate::cell::Cells;
use crate::metadata::Facts;
use crate::pushdown::{MISFITS, TAKEN, UNTYPED, is_ordered};
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
                return Some(Refusal::new(
                    RefusalCode::Type,
                    "-0.0 equals 0.0, and MongoDB may give the one where the engine gives the other",
                ));
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
    let address = scan.columns.get(at).and_then(|column| Address::of(column).ok()).ok_or(UNTYPED)?;
    address.path().map(|_| address.kind)
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
        let column = scan.columns.get(at);
        let column = column.ok_or_else(|| Error::internal("groups of a column that the table does not have"))?;
        Field::of(column)
    };
    let mut keys = Document::new();
    let mut group = doc! { "_id": Bson::Null };
    let mut shown = doc! { "_id": 0 };
    let mut used: Vec<Field> = Vec::new();
    for (at, key) in aggregation.group.iter().enumerate() {
        let column = column(*key)?;
        // In a document, a field that is missing is another value than null.
        keys.insert(format!("k{at}"), doc! { "$ifNull": [&column.value, Bson::Null] });
        shown.insert(format!("k{at}"), format!("$_id.k{at}"));
        used.push(column);
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
        let value = &column.value;
        // By the type: the smallest key is less than null, and is not NULL here.
        let absent = doc! { "$in": [{ "$type": value }, ["null", "missing"]] };
        let counted = doc! { "$sum": { "$cond": [absent, 0, 1] } };
        match call.function {
            Function::Count => {
                group.insert(&name, counted);
                shown.insert(name, 1);
            }
            Function::Min => {
                group.insert(&name, doc! { "$min": value });
                shown.insert(name, 1);
            }
            Function::Max => {
                group.insert(&name, doc! { "$max": value });
                shown.insert(name, 1);
            }
            Function::Sum => {
                // As decimals: the sum of 64-bit integers would become a double without a word. The sum of nothing is 0 there.
                // What is no number is a misfit, which is counted.
                group.insert(
                    &name,
                    doc! { "$sum": { "$convert": { "input": value, "to": "decimal", "onError": Bson::Null } } },
                );
                group.insert(format!("n{at}"), counted);
                let empty = doc! { "$eq": [format!("$n{at}"), 0] };
                shown.insert(&name, doc! { "$cond": [empty, Bson::Null, format!("${name}")] });
            }
            _ => return Err(Error::internal("an aggregate function that was not taken over")),
        }
        used.push(column);
    }
    let mut doubts = Vec::new();
    for doubt in used.iter().flat_map(Field::doubts) {
        if !doubts.contains(&doubt) {
            doubts.push(doubt);
        }
    }
    if !doubts.is_empty() {
        group.insert(MISFIT, doc! { "$sum": { "$cond": [{ "$or": doubts }, 1, 0] } });
        shown.insert(MISFIT, 1);
    }
    Ok(vec![doc! { "$group": group }, doc! { "$project": shown }])
}

/// A column as expressions name it.
struct Field {
    address: Address,
    value: String,
}

impl Field {
    fn of(column: &Column) -> Result<Self> {
        let address = Address::of(column)?;
        let path = address.path().map_err(|refusal| Error::internal(refusal.text))?;
        Ok(Self { address, value: format!("${path}") })
    }

    /// Whether a document's value is not of its column's type: such a document makes the whole result an error, as reading
    /// it would.
    fn doubts(&self) -> Vec<Document> {
        let other = |path: &str, aliases: &[&str]| {
            let types: Vec<Bson> = aliases.iter().chain(&["null", "missing"]).map(|name| Bson::from(*name)).collect();
            doc! { "$not": [{ "$in": [{ "$type": path }, types] }] }
        };
        let aliases = self.address.kind.aliases();
        let around = self.address.around().map(|path| other(&format!("${path}"), &["object"]));
        around.chain((!aliases.is_empty()).then(|| other(&self.value, aliases))).collect()
    }
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
