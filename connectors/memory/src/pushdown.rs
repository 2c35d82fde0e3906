//! What a scan absorbs: an *exact* answer needs a proof, which is here that the engine would run the same kernel.

use arrow::datatypes::DataType;
use connector_spi::{Absorbed, Column, Literal, Op, Predicate, Refusal, RefusalCode, Scan, scalar};

/// Each value of a list is one pass over the column; the engine looks the values of a longer list up at once.
const LONGEST_LIST: usize = 64;

pub(crate) fn absorb(scan: &Scan, op: &Op) -> Absorbed {
    match op {
        Op::Filter(predicate) => match known(predicate, &scan.columns) {
            Known::All => Absorbed::Exact(scan.with_filter(predicate.clone())),
            Known::Part(part) => Absorbed::Inexact(scan.with_filter(part)),
            Known::Nothing(reason) => Absorbed::No(reason),
        },
        Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
        Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
        _ => Absorbed::No(Refusal::new(RefusalCode::Source, "not known to tables in memory")),
    }
}

/// How much of a predicate is evaluated exactly as the engine does.
enum Known {
    All,
    /// A weaker predicate, true wherever the whole one is.
    Part(Predicate),
    Nothing(Refusal),
}

fn known(predicate: &Predicate, columns: &[Column]) -> Known {
    match predicate {
        Predicate::And(parts) => conjunction(parts, columns),
        Predicate::Or(parts) => disjunction(parts, columns),
        // The opposite of a superset is none.
        Predicate::Not(inner) => match known(inner, columns) {
            Known::Part(_) => Known::Nothing(Refusal::new(RefusalCode::Type, "a part of what is negated is not known")),
            answer => answer,
        },
        leaf => match doubt(leaf, columns) {
            None => Known::All,
            Some(reason) => Known::Nothing(reason),
        },
    }
}

/// What is known of the parts is a superset of what passes all of them.
fn conjunction(parts: &[Predicate], columns: &[Column]) -> Known {
    let (mut kept, mut exact, mut reason) =
        (Vec::new(), true, Refusal::new(RefusalCode::Value, "an empty conjunction"));
    for part in parts {
        match known(part, columns) {
            Known::All => kept.push(part.clone()),
            Known::Part(part) => {
                kept.push(part);
                exact = false;
            }
            Known::Nothing(why) => (exact, reason) = (false, why),
        }
    }
    match (exact, kept.is_empty()) {
        (true, _) => Known::All,
        (false, false) => Known::Part(Predicate::And(kept)),
        (false, true) => Known::Nothing(reason),
    }
}

/// Each part must let through at least its own rows.
fn disjunction(parts: &[Predicate], columns: &[Column]) -> Known {
    let (mut kept, mut exact) = (Vec::new(), true);
    for part in parts {
        match known(part, columns) {
            Known::All => kept.push(part.clone()),
            Known::Part(part) => {
                kept.push(part);
                exact = false;
            }
            nothing @ Known::Nothing(_) => return nothing,
        }
    }
    if exact { Known::All } else { Known::Part(Predicate::Or(kept)) }
}

/// Why a condition on one column is not evaluated here; `None` where it is.
fn doubt(leaf: &Predicate, columns: &[Column]) -> Option<Refusal> {
    let (Predicate::Compare { column, .. }
    | Predicate::In { column, .. }
    | Predicate::Null { column, .. }
    | Predicate::Like { column, .. }) = leaf
    else {
        return Some(Refusal::new(RefusalCode::Expression, "not a condition on one column"));
    };
    let Some(column) = columns.get(*column) else {
        return Some(Refusal::new(RefusalCode::Source, "the table has no such column"));
    };
    match leaf {
        Predicate::Compare { value, .. } => wrong_value(value, column),
        Predicate::In { values, .. } if values.len() > LONGEST_LIST => {
            Some(Refusal::new(RefusalCode::Cost, "the engine is faster with a long list"))
        }
        // The engine takes -0.0 and 0.0 for one value where it compares, and for two where it looks up.
        Predicate::In { values, .. } if values.iter().any(|value| matches!(value, Literal::Float(0.0))) => {
            Some(Refusal::new(RefusalCode::Type, "a zero in a list of floats"))
        }
        Predicate::In { values, .. } => values.iter().find_map(|value| wrong_value(value, column)),
        Predicate::Like { escape, .. } if *escape != '\\' => {
            Some(Refusal::new(RefusalCode::Value, "the pattern has an escape of its own"))
        }
        Predicate::Like { .. } => {
            let text = matches!(column.data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
            (!text).then_some(Refusal::new(RefusalCode::Type, "the column is not text"))
        }
        _ => None,
    }
}

fn wrong_value(value: &Literal, column: &Column) -> Option<Refusal> {
    match value {
        // Which of the many NaN it is may be lost on the way here.
        Literal::Float(number) if number.is_nan() => Some(Refusal::new(RefusalCode::Value, "a comparison with NaN")),
        value => scalar(value, &column.data_type).is_none().then_some(
            Refusal::new(RefusalCode::Value, "the value is not of the column's type")
                .remedy("CAST the value to the column's type"),
        ),
    }
}
