//! Filters: what is left to the source gives the rows that the engine's own kernels keep.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, UInt64Type,
};

use super::{Answer, Outcome, Random, Subject, Tally, difference, numbers};
use crate::{Comparison, Literal, Op, Predicate, Scan, evaluate};

const OPERATORS: [Comparison; 6] =
    [Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq];

/// Each column with each operator and each of its values, lists, NULL, and patterns where it is text.
pub async fn filters(subject: &Subject<'_>) -> Outcome<Tally> {
    all(subject, grid(subject)).await
}

/// [`trees`] over the conditions of [`filters`].
pub async fn combinations(subject: &Subject<'_>, seed: u64, count: usize) -> Outcome<Tally> {
    let checked = all(subject, trees(&grid(subject), seed, count)).await;
    checked.map_err(|difference| format!("seed {seed}: {difference}"))
}

async fn all(subject: &Subject<'_>, predicates: Vec<Predicate>) -> Outcome<Tally> {
    let mut tally = Tally::default();
    for predicate in predicates {
        let (answer, rows) = filter(subject, &predicate, 1).await?;
        tally.count(answer);
        tally.empty += usize::from(rows == 0 && answer != Answer::Refused);
    }
    Ok(tally)
}

/// Trees of AND, OR and NOT over some conditions, as many as `count`; the seed decides which.
pub fn trees(leaves: &[Predicate], seed: u64, count: usize) -> Vec<Predicate> {
    let mut random = Random(seed);
    let mut trees = Vec::with_capacity(count);
    for _ in 0..count {
        let mut tree = leaves[random.below(leaves.len())].clone();
        for _ in 0..1 + random.below(4) {
            let leaf = leaves[random.below(leaves.len())].clone();
            tree = match random.below(6) {
                0 | 1 => Predicate::And(vec![tree, leaf]),
                2 | 3 => Predicate::Or(vec![tree, leaf]),
                4 => Predicate::Or(vec![Predicate::Not(Box::new(tree)), leaf]),
                _ => Predicate::Not(Box::new(Predicate::And(vec![tree, leaf]))),
            };
        }
        trees.push(tree);
    }
    trees
}

/// Offers the predicate; where it is taken, compares what comes back in `wanted` splits. Gives the number of rows that pass.
pub async fn filter(subject: &Subject<'_>, predicate: &Predicate, wanted: usize) -> Outcome<(Answer, usize)> {
    let (answer, with) = subject.offer(&Op::Filter(predicate.clone()))?;
    if answer == Answer::Refused {
        return Ok((answer, 0));
    }
    if (Scan { filters: subject.scan.filters.clone(), ..with.clone() }) != subject.scan {
        return Err(format!("{predicate:?} changed more than the filters"));
    }
    let passes = evaluate(&subject.rows, predicate).map_err(|error| format!("{predicate:?}: {error}"))?;
    let kept = arrow::compute::filter_record_batch(&subject.rows, &passes).map_err(|error| error.to_string())?;
    let passing = numbers(&kept)?;
    let found = subject.numbers(&with, wanted).await?;
    let lost = passing.iter().any(|number| found.binary_search(number).is_err());
    if lost || !subject.are_rows(&found) || answer == Answer::Exact && found != passing {
        let sent = subject.source.remote_text(&with.with_projection(vec![0]));
        return Err(format!("{predicate:?} is not {answer:?}: {}; sent: {sent:?}", difference(&passing, &found)));
    }
    Ok((answer, passing.len()))
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
fn literal(column: &dyn Array, row: usize) -> Option<Literal> {
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
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            let value = column.as_primitive::<TimestampMillisecondType>().value(row);
            Literal::Timestamp { value, unit: TimeUnit::Millisecond, zone: zone.as_deref().map(str::to_owned) }
        }
        _ => return None,
    })
}

fn number(value: f64) -> Option<Literal> {
    (!value.is_nan()).then_some(Literal::Float(value))
}
