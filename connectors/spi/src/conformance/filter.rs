//! Filters: what is left to the source gives the rows that the engine's own kernels keep.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt64Type,
};

use super::{Outcome, Random, Subject, Tally, difference, numbers};
use crate::{Absorbed, Comparison, Literal, Op, Predicate, Scan, evaluate};

const OPERATORS: [Comparison; 6] =
    [Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq];

/// Each column with each operator and each of its values, lists, NULL, and patterns where it is text.
pub async fn filters(subject: &Subject<'_>) -> Outcome<Tally> {
    let mut tally = Tally::default();
    for predicate in grid(subject) {
        check(subject, &predicate, &mut tally).await?;
    }
    Ok(tally)
}

/// Trees of AND, OR and NOT over the conditions of [`filters`], as many as `count`; the seed decides which.
pub async fn combinations(subject: &Subject<'_>, seed: u64, count: usize) -> Outcome<Tally> {
    let leaves = grid(subject);
    let mut random = Random(seed);
    let mut tally = Tally::default();
    for at in 0..count {
        let mut parts: Vec<Predicate> = Vec::new();
        for _ in 0..2 + random.below(4) {
            parts.push(leaves[random.below(leaves.len())].clone());
        }
        while parts.len() > 1 {
            let (a, b) = (parts.remove(0), parts.remove(0));
            parts.push(match random.below(6) {
                0 | 1 => Predicate::And(vec![a, b]),
                2 | 3 => Predicate::Or(vec![a, b]),
                4 => Predicate::Or(vec![Predicate::Not(Box::new(a)), b]),
                _ => Predicate::Not(Box::new(Predicate::And(vec![a, b]))),
            });
        }
        let checked = check(subject, &parts[0], &mut tally).await;
        checked.map_err(|difference| format!("seed {seed}, tree {at}: {difference}"))?;
    }
    Ok(tally)
}

/// Offers the predicate; where it is taken, compares what comes back.
async fn check(subject: &Subject<'_>, predicate: &Predicate, tally: &mut Tally) -> Outcome<()> {
    let (exact, with) = match subject.offer(&subject.scan, &Op::Filter(predicate.clone()))? {
        Absorbed::Exact(with) => (true, with),
        Absorbed::Inexact(with) => (false, with),
        Absorbed::No(_) => {
            tally.refused += 1;
            return Ok(());
        }
    };
    if (Scan { filters: subject.scan.filters.clone(), ..with.clone() }) != subject.scan {
        return Err(format!("{predicate:?} changed more than the filters"));
    }
    let passes = evaluate(&subject.rows, predicate).map_err(|error| format!("{predicate:?}: {error}"))?;
    let kept = arrow::compute::filter_record_batch(&subject.rows, &passes).map_err(|error| error.to_string())?;
    let wanted = numbers(&kept)?;
    let found = subject.numbers(&with, 1).await?;
    let lost = wanted.iter().any(|number| found.binary_search(number).is_err());
    let twice = found.windows(2).any(|two| two[0] == two[1]);
    if lost || twice || exact && found != wanted {
        let sent = subject.source.remote_text(&with.with_projection(vec![0]));
        let word = if exact { "exact" } else { "inexact" };
        return Err(format!("{predicate:?} is not {word}: {}; sent: {sent:?}", difference(&wanted, &found)));
    }
    *(if exact { &mut tally.exact } else { &mut tally.inexact }) += 1;
    tally.empty += usize::from(wanted.is_empty());
    Ok(())
}

fn grid(subject: &Subject<'_>) -> Vec<Predicate> {
    let mut all = Vec::new();
    for (column, described) in subject.scan.columns.iter().enumerate() {
        let values = values(subject.rows.column(column));
        for value in &values {
            all.extend(OPERATORS.map(|op| Predicate::Compare { column, op, value: value.clone() }));
        }
        for negated in [false, true] {
            all.push(Predicate::Null { column, negated });
            let lists = values.chunks(3).chain([values.as_slice()]).filter(|list| !list.is_empty());
            all.extend(lists.map(|list| Predicate::In { column, values: list.to_vec(), negated }));
        }
        if described.data_type == DataType::Utf8 {
            let texts = values.iter().filter_map(|value| match value {
                Literal::Text(text) if text.len() < 100 => Some(text.as_str()),
                _ => None,
            });
            all.extend(texts.flat_map(|text| patterns(column, text)));
        }
    }
    all
}

/// Patterns made of a text: as it is, at the start, at the end, within, with a wild character, and with other escapes.
fn patterns(column: usize, text: &str) -> Vec<Predicate> {
    let plain = |pattern: String, escape, negated, case_insensitive| Predicate::Like {
        column,
        pattern,
        escape,
        negated,
        case_insensitive,
    };
    let escaped: String = text.chars().flat_map(|c| if "%_\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
    vec![
        plain(text.to_owned(), '\\', false, false),
        plain(format!("{text}%"), '\\', false, false),
        plain(format!("{escaped}%"), '\\', false, false),
        plain(format!("%{escaped}"), '\\', true, false),
        plain(format!("%{escaped}%"), '\\', false, true),
        plain(format!("{text}_"), '!', false, false),
        plain(format!("_{text}"), '\\', false, false),
    ]
}

/// The different values of a column, as literals of its type; none where no literal is of its type.
fn values(column: &Arc<dyn Array>) -> Vec<Literal> {
    let mut found: Vec<Literal> = Vec::new();
    for row in 0..column.len() {
        if let Some(value) = literal(column.as_ref(), row)
            && !found.contains(&value)
        {
            found.push(value);
        }
    }
    // Long columns have enough of them.
    let step = found.len().div_ceil(120).max(1);
    found.into_iter().step_by(step).collect()
}

/// The value of a row; none where it is NULL, NaN, or of a type without literals.
pub(super) fn literal(column: &dyn Array, row: usize) -> Option<Literal> {
    if column.is_null(row) {
        return None;
    }
    let cast = |to: &DataType| arrow::compute::cast(&column.slice(row, 1), to).ok();
    Some(match column.data_type() {
        DataType::Boolean => Literal::Boolean(column.as_boolean().value(row)),
        of if of.is_signed_integer() => Literal::Integer(cast(&DataType::Int64)?.as_primitive::<Int64Type>().value(0)),
        of if of.is_unsigned_integer() => {
            Literal::Unsigned(cast(&DataType::UInt64)?.as_primitive::<UInt64Type>().value(0))
        }
        DataType::Float32 => number(f64::from(column.as_primitive::<Float32Type>().value(row)))?,
        DataType::Float64 => number(column.as_primitive::<Float64Type>().value(row))?,
        DataType::Decimal128(_, scale) => {
            Literal::Decimal { value: column.as_primitive::<Decimal128Type>().value(row), scale: *scale }
        }
        DataType::Utf8 => Literal::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Literal::Binary(column.as_binary::<i32>().value(row).to_vec()),
        DataType::Date32 => Literal::Date(column.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            let value = column.as_primitive::<Time64MicrosecondType>().value(row);
            Literal::Time { value, unit: TimeUnit::Microsecond }
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let value = column.as_primitive::<TimestampMicrosecondType>().value(row);
            Literal::Timestamp { value, unit: TimeUnit::Microsecond, zone: zone.as_deref().map(str::to_owned) }
        }
        _ => return None,
    })
}

fn number(value: f64) -> Option<Literal> {
    (!value.is_nan()).then_some(Literal::Float(value))
}
