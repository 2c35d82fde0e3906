//! What MongoDB may take over: a proof for each kind of column and operator, or a refusal.
//!
//! A document is as the schema says, or its value is an error wherever it is read; what is said here of a kind holds for
//! documents that are. Where misfits are NULL, nothing is exact.

use bson::{Bson, Document, doc};
use connector_spi::{
    Absorbed, Column, Comparison, Connective, Literal, Op, Predicate, Refusal, RefusalCode, Scan, SortKey, Taken,
    inwards, take,
};

use crate::address::Address;
use crate::aggregate;
use crate::like;
use crate::metadata::Facts;
use crate::types::Kind;
use crate::value::{Value, value};

/// A filter with more values is applied by the engine alone: a command is 16 MB long at most.
const LONGEST_LIST: usize = 50_000;
/// To look one value up costs about as much as to pass so many documents by.
pub(crate) const MANY: u64 = 16;
/// A list of no more values is always sent.
const SHORT_LIST: usize = 1000;
const LONGEST_BYTES: usize = 8 << 20;

pub(crate) const TAKEN: Refusal = Refusal::new(RefusalCode::Order, "the scan has a limit or groups already");
pub(crate) const MISFITS: Refusal =
    Refusal::new(RefusalCode::Type, "values that do not fit are NULL here").remedy("set on_misfit = 'error'");
pub(crate) const UNTYPED: Refusal = Refusal::new(RefusalCode::Type, "the column's type is not known");
const ORDER: Refusal = Refusal::new(RefusalCode::Type, "values of the type have another order in MongoDB");
const TOO_LARGE: Refusal = Refusal::new(RefusalCode::Size, "the filter is larger than MongoDB takes");

/// The answer to an offered operation; pure.
pub(crate) fn absorb(scan: &Scan, op: &Op) -> Absorbed {
    let facts = Facts::read(&scan.native);
    match op {
        Op::Columns(_) | Op::Limit(_) if scan.aggregation.is_some() => {
            Absorbed::No(Refusal::new(RefusalCode::Order, "the scan has groups already"))
        }
        Op::Columns(columns) if columns.iter().any(|at| *at >= scan.columns.len()) => Absorbed::No(UNTYPED),
        Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
        Op::Limit(limit) if i64::try_from(*limit).is_err() => Absorbed::No(TOO_LARGE),
        Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
        // The limit would then count the documents that pass, and a group is no document.
        Op::Filter(_) if scan.is_taken() => Absorbed::No(TAKEN),
        Op::Filter(_) | Op::Top { .. } | Op::Aggregate(_) if facts.collated && !facts.stored => {
            Absorbed::No(Refusal::new(RefusalCode::Collation, "the view compares texts by the rules of a language"))
        }
        Op::Filter(Predicate::In { values, .. }) if is_costly(&facts, values.len()) => {
            Absorbed::No(Refusal::new(RefusalCode::Cost, "the list is long for the number of documents"))
        }
        Op::Filter(predicate) => match sent(&scan.columns, &facts, predicate) {
            Err(reason) => Absorbed::No(reason),
            Ok(taken) if size(&taken.form) > LONGEST_BYTES => Absorbed::No(TOO_LARGE),
            Ok(Taken { kept, exact: true, .. }) if !facts.lenient => Absorbed::Exact(scan.with_filter(kept)),
            Ok(Taken { kept, .. }) => Absorbed::Inexact(scan.with_filter(kept)),
        },
        Op::Top { order, limit } => match order.iter().find_map(|key| unordered(scan, key)) {
            _ if scan.is_taken() => Absorbed::No(TAKEN),
            _ if facts.lenient => Absorbed::No(MISFITS),
            _ if i64::try_from(*limit).is_err() => Absorbed::No(TOO_LARGE),
            Some(reason) => Absorbed::No(reason),
            None => Absorbed::Exact(scan.with_top(order.clone(), *limit)),
        },
        Op::Aggregate(aggregation) => match aggregate::doubt(scan, &facts, aggregation) {
            Some(reason) => Absorbed::No(reason),
            None => Absorbed::Exact(scan.with_aggregation(aggregation.clone())),
        },
        Op::Join(_) => Absorbed::No(Refusal::new(RefusalCode::Source, "joins are made here")),
        _ => Absorbed::No(Refusal::new(RefusalCode::Source, "not known to the connector")),
    }
}

/// A long list that lets much through: to look each document up in it costs more than it keeps away.
fn is_costly(facts: &Facts, values: usize) -> bool {
    values > SHORT_LIST && facts.rows.is_some_and(|rows| values as u64 > rows / MANY)
}

fn size(document: &Document) -> usize {
    bson::RawDocumentBuf::try_from(document).map_or(usize::MAX, |raw| raw.as_bytes().len())
}

/// Why MongoDB cannot sort by a key as the engine does; none where it can.
fn unordered(scan: &Scan, key: &SortKey) -> Option<Refusal> {
    let column = scan.columns.get(key.column)?;
    let Ok(address) = Address::of(column) else { return Some(UNTYPED) };
    address.path().err().or_else(|| (!is_ordered(&address.kind)).then_some(ORDER))
}

/// Whether the order of the kind's values is that of their Arrow values.
pub(crate) fn is_ordered(kind: &Kind) -> bool {
    match kind {
        Kind::Bool | Kind::Int | Kind::Long | Kind::Decimal { .. } | Kind::Text => true,
        Kind::Instant | Kind::Wall | Kind::Date | Kind::Time => true,
        // In lower case, at fixed places, both sort as their bytes do.
        Kind::ObjectId | Kind::Uuid => true,
        // NaN is the smallest there; binaries sort by their length first.
        Kind::Real | Kind::Double | Kind::Binary => false,
        Kind::Json | Kind::List(_) | Kind::Struct(_) => false,
    }
}

/// The filter of a predicate, and what it proves. The only place that decides: what `absorb` takes over is what is sent.
pub(crate) fn sent(columns: &[Column], facts: &Facts, predicate: &Predicate) -> Result<Taken<Document>, Refusal> {
    let connect = |connective, parts: Vec<Document>| match connective {
        Connective::And => all(parts),
        Connective::Or => doc! { "$or": parts },
        // Never asked for: every NOT was moved inwards, since MongoDB's own keeps what is NULL.
        Connective::Not => doc! { "$nor": parts },
    };
    let condition = |leaf: &Predicate| match leaf {
        // A value that does not fit is NULL here, and there it is one.
        Predicate::Null { negated: false, .. } if facts.lenient => Err(MISFITS),
        leaf => condition(columns, facts, leaf),
    };
    take(&inwards(predicate), &condition, &connect)
}

/// The same condition where the column's values are no arrays: it would hold for an array if it held for one of its items.
/// What is filtered again is read, and such an array is an error then.
fn of_values(address: &Address, path: &str, facts: &Facts, condition: Document) -> Document {
    // No `_id` is an array, and an index knows whether one of its values is.
    if path == "_id" || facts.indexed.iter().any(|indexed| indexed == path) {
        return condition;
    }
    let no_array = |path: String| doc! { path: { "$not": { "$type": "array" } } };
    all(std::iter::once(condition).chain(address.around().chain([path.to_owned()]).map(no_array)).collect())
}

/// What passes all of these: one document where no name is there twice, which every planner reads best, else `$and`.
pub(crate) fn all(parts: Vec<Document>) -> Document {
    let (mut whole, mut rest) = (Document::new(), Vec::new());
    for part in parts {
        for (name, value) in part {
            match (whole.get_mut(&name), value) {
                (None, value) if name != "$and" => drop(whole.insert(name, value)),
                (Some(Bson::Document(known)), Bson::Document(more)) if different_operators(known, &more) => {
                    known.extend(more);
                }
                (_, value) => rest.push(doc! { name: value }),
            }
        }
    }
    match (rest.len(), whole.is_empty()) {
        (0, _) => whole,
        (1, true) => rest.remove(0),
        _ => {
            whole.insert("$and", rest);
            whole
        }
    }
}

/// Whether both are conditions, and no operator is in both with two values: the later would take the place of the first.
fn different_operators(one: &Document, other: &Document) -> bool {
    let operators = |document: &Document| !document.is_empty() && document.keys().all(|key| key.starts_with('$'));
    operators(one)
        && operators(other)
        && other.iter().all(|(key, value)| one.get(key).is_none_or(|known| known == value))
}

/// The filter of a condition on one column, and whether it is exact.
fn condition(columns: &[Column], facts: &Facts, leaf: &Predicate) -> Result<(Document, bool), Refusal> {
    let (Predicate::Compare { column, .. }
    | Predicate::In { column, .. }
    | Predicate::Null { column, .. }
    | Predicate::Like { column, .. }) = leaf
    else {
        return Err(Refusal::new(RefusalCode::Source, "not known to the connector"));
    };
    let address = columns.get(*column).and_then(|column| Address::of(column).ok()).ok_or(UNTYPED)?;
    let (name, kind) = (address.path()?, &address.kind);
    let (form, exact) = match leaf {
        Predicate::Compare { op, value, .. } => comparison(&name, kind, *op, value)?,
        Predicate::In { values, negated, .. } => membership(&name, kind, values, *negated)?,
        Predicate::Null { negated, .. } => null(&name, kind, *negated),
        leaf => like::condition(&name, kind, leaf)?,
    };
    Ok(match exact && !facts.lenient {
        true => (of_values(&address, &name, facts, form), true),
        false => (form, exact),
    })
}

/// A field that is missing is NULL as well.
fn null(name: &str, kind: &Kind, negated: bool) -> (Document, bool) {
    match (kind, negated) {
        // An array with a null in it also matches null, and is none.
        (Kind::Json | Kind::List(_), false) => (doc! { name: Bson::Null }, false),
        (Kind::Json | Kind::List(_), true) => {
            let there = doc! { name: { "$ne": Bson::Null } };
            (doc! { "$or": [there, { name: { "$type": ["array", "undefined"] } }] }, false)
        }
        (_, false) => (doc! { name: { "$eq": Bson::Null } }, true),
        (_, true) => (doc! { name: { "$ne": Bson::Null } }, true),
    }
}

fn nothing() -> Document {
    doc! { "_id": { "$in": [] } }
}

fn comparison(name: &str, kind: &Kind, op: Comparison, literal: &Literal) -> Result<(Document, bool), Refusal> {
    let value = match value(kind, literal)? {
        Value::Is(value) => value,
        Value::Nothing => {
            return match op {
                Comparison::Eq => Ok((nothing(), true)),
                Comparison::NotEq => Ok(null(name, kind, true)),
                _ => Err(Refusal::new(RefusalCode::Value, "the value is not of the column's form")),
            };
        }
    };
    let equality = matches!(op, Comparison::Eq | Comparison::NotEq);
    let float = matches!(kind, Kind::Double | Kind::Real);
    if !equality && !float && !is_ordered(kind) {
        return Err(ORDER);
    }
    // NaN is greatest here, and neither greater nor less there.
    let sign = match op {
        Comparison::Eq => "$eq",
        Comparison::NotEq => {
            return Ok((doc! { name: { "$nin": [value, Bson::Null] } }, !float));
        }
        Comparison::Lt => "$lt",
        Comparison::LtEq => "$lte",
        Comparison::Gt => "$gt",
        Comparison::GtEq => "$gte",
    };
    let plain = doc! { name: { sign: value } };
    Ok(match sign {
        "$gt" | "$gte" if float => (doc! { "$or": [plain, { name: f64::NAN }] }, false),
        _ => (plain, !float),
    })
}

fn membership(name: &str, kind: &Kind, values: &[Literal], negated: bool) -> Result<(Document, bool), Refusal> {
    if values.len() > LONGEST_LIST {
        return Err(Refusal::new(RefusalCode::Size, "the list is longer than 50000 values"));
    }
    let float = matches!(kind, Kind::Double | Kind::Real);
    let mut list = Vec::with_capacity(values.len());
    for literal in values {
        if let Value::Is(value) = value(kind, literal)? {
            list.push(value);
        }
    }
    Ok(match negated {
        true => {
            list.push(Bson::Null);
            (doc! { name: { "$nin": list } }, !float)
        }
        false => (doc! { name: { "$in": list } }, !float),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_one_document_unless_one_would_hide_another() {
        let cases = [
            (vec![doc! { "a": 1 }], r#"{ "a": 1 }"#),
            (
                vec![doc! { "a": { "$gt": 1 } }, doc! { "a": { "$lt": 5 } }, doc! { "b": 2 }],
                r#"{ "a": { "$gt": 1, "$lt": 5 }, "b": 2 }"#,
            ),
            (
                vec![doc! { "a": { "$gt": 1 } }, doc! { "a": { "$gt": 2 } }],
                r#"{ "a": { "$gt": 1 }, "$and": [{ "a": { "$gt": 2 } }] }"#,
            ),
            (vec![doc! { "a": 1 }, doc! { "a": { "$lt": 5 } }], r#"{ "a": 1, "$and": [{ "a": { "$lt": 5 } }] }"#),
            (
                vec![doc! { "a": { "x": 1 } }, doc! { "a": { "$lt": 5 } }],
                r#"{ "a": { "x": 1 }, "$and": [{ "a": { "$lt": 5 } }] }"#,
            ),
            (
                vec![doc! { "$or": [{ "a": 1 }] }, doc! { "$or": [{ "b": 1 }] }],
                r#"{ "$or": [{ "a": 1 }], "$and": [{ "$or": [{ "b": 1 }] }] }"#,
            ),
            (vec![doc! { "$expr": { "x": 1 } }], r#"{ "$expr": { "x": 1 } }"#),
            (
                vec![doc! { "a": { "$gt": 1, "$not": 2 } }, doc! { "a": { "$lt": 5, "$not": 2 } }],
                r#"{ "a": { "$gt": 1, "$not": 2, "$lt": 5 } }"#,
            ),
            (vec![], "{  }"),
        ];
        for (parts, wanted) in cases {
            assert_eq!(all(parts).to_string().replace("{}", "{  }"), wanted);
        }
    }
}
