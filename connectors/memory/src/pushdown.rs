//! What a scan absorbs: an *exact* answer needs a proof, which is here that the engine would run the same kernel.

use arrow::datatypes::DataType;
use connector_spi::{Absorbed, Column, Literal, Op, Predicate, Refusal, RefusalCode, Scan, Taken, scalar, take};

/// Each value of a list is one pass over the column; the engine looks the values of a longer list up at once.
const LONGEST_LIST: usize = 64;

pub(crate) fn absorb(scan: &Scan, op: &Op) -> Absorbed {
    match op {
        // What is evaluated at all is evaluated as the engine does.
        Op::Filter(predicate) => match take(predicate, &|leaf| known(leaf, &scan.columns), &|_, _| ()) {
            Ok(Taken { kept, exact: true, .. }) => Absorbed::Exact(scan.with_filter(kept)),
            Ok(Taken { kept, .. }) => Absorbed::Inexact(scan.with_filter(kept)),
            Err(reason) => Absorbed::No(reason),
        },
        Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
        Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
        _ => Absorbed::No(Refusal::new(RefusalCode::Source, "not known to tables in memory")),
    }
}

fn known(leaf: &Predicate, columns: &[Column]) -> Result<((), bool), Refusal> {
    doubt(leaf, columns).map_or(Ok(((), true)), Err)
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
