//! The contract's predicates over batches, by the same Arrow kernels that the engine uses.

use std::sync::Arc;

use crate::{Comparison, Literal, Predicate};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, Scalar, StringArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::boolean::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow::compute::kernels::cmp;
use arrow::compute::{cast, ilike, like, nilike, nlike};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

type Result<T> = std::result::Result<T, ArrowError>;

/// For each row of a batch with all columns of the table: true, false or NULL, as the engine would say.
///
/// Errors: a literal that is not of its column's type.
pub fn evaluate(batch: &RecordBatch, predicate: &Predicate) -> Result<BooleanArray> {
    match predicate {
        Predicate::Compare { column, op, value } => compare(&comparable(batch.column(*column)), *op, value),
        Predicate::In { column, values, negated } => {
            let array = comparable(batch.column(*column));
            // NULL IN (…) is NULL, whatever the list holds.
            let none = BooleanArray::new(BooleanBuffer::new_unset(array.len()), array.logical_nulls());
            let found = values
                .iter()
                .try_fold(none, |found, value| or_kleene(&found, &compare(&array, Comparison::Eq, value)?))?;
            if *negated { not(&found) } else { Ok(found) }
        }
        Predicate::Null { column, negated: false } => is_null(batch.column(*column)),
        Predicate::Null { column, negated: true } => is_not_null(batch.column(*column)),
        Predicate::Like { column, pattern, escape, negated, case_insensitive } => {
            let column = batch.column(*column);
            let pattern = with_backslash(pattern, *escape);
            let pattern = Scalar::new(cast(&StringArray::from(vec![pattern]), column.data_type())?);
            let kernel = match (negated, case_insensitive) {
                (false, false) => like,
                (true, false) => nlike,
                (false, true) => ilike,
                (true, true) => nilike,
            };
            kernel(column, &pattern)
        }
        Predicate::And(parts) => fold(batch, parts, true, and_kleene),
        Predicate::Or(parts) => fold(batch, parts, false, or_kleene),
        Predicate::Not(inner) => not(&evaluate(batch, inner)?),
    }
}

/// The pattern with the backslash as its escape, the only one that Arrow knows.
fn with_backslash(pattern: &str, escape: char) -> String {
    if escape == '\\' {
        return pattern.to_owned();
    }
    let mut plain = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            found if found == escape => plain.extend(['\\'].into_iter().chain(characters.next())),
            '\\' => plain.push_str("\\\\"),
            other => plain.push(other),
        }
    }
    plain
}

fn fold(
    batch: &RecordBatch,
    parts: &[Predicate],
    empty: bool,
    join: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray>,
) -> Result<BooleanArray> {
    let start = BooleanArray::from(vec![empty; batch.num_rows()]);
    parts.iter().try_fold(start, |sum, part| join(&sum, &evaluate(batch, part)?))
}

fn compare(column: &ArrayRef, op: Comparison, value: &Literal) -> Result<BooleanArray> {
    let value = scalar(value, column.data_type())
        .ok_or_else(|| ArrowError::CastError(format!("a literal does not fit {}", column.data_type())))?;
    let kernel = match op {
        Comparison::Eq => cmp::eq,
        Comparison::NotEq => cmp::neq,
        Comparison::Lt => cmp::lt,
        Comparison::LtEq => cmp::lt_eq,
        Comparison::Gt => cmp::gt,
        Comparison::GtEq => cmp::gt_eq,
    };
    kernel(column, &value)
}

/// The column as it is compared: Arrow's kernels tell -0.0 from 0.0, SQL does not, and the
/// engine makes every zero the same before it asks them.
fn comparable(column: &ArrayRef) -> ArrayRef {
    fn one_zero<T: ArrowPrimitiveType>(column: &ArrayRef) -> ArrayRef {
        let zero = T::Native::default();
        Arc::new(column.as_primitive::<T>().unary::<_, T>(|value| if value == zero { zero } else { value }))
    }
    match column.data_type() {
        DataType::Float32 => one_zero::<Float32Type>(column),
        DataType::Float64 => one_zero::<Float64Type>(column),
        _ => Arc::clone(column),
    }
}

/// The literal as one value of exactly `data_type`; `None` where it is not of that type or does not fit.
pub fn scalar(value: &Literal, data_type: &DataType) -> Option<Scalar<ArrayRef>> {
    fn of<T: ArrowPrimitiveType>(value: T::Native) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::from_value(value, 1))
    }
    let array: ArrayRef = match (value, data_type) {
        (Literal::Boolean(v), DataType::Boolean) => Arc::new(BooleanArray::from(vec![*v])),
        (Literal::Integer(v), t) if t.is_signed_integer() => of::<Int64Type>(*v),
        (Literal::Unsigned(v), t) if t.is_unsigned_integer() => of::<UInt64Type>(*v),
        (Literal::Float(v), DataType::Float32) if f64::from(*v as f32) == *v => of::<Float32Type>(*v as f32 + 0.0),
        (Literal::Float(v), DataType::Float64) => of::<Float64Type>(*v + 0.0),
        (Literal::Text(v), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
            Arc::new(StringArray::from(vec![v.as_str()]))
        }
        (Literal::Binary(v), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            Arc::new(BinaryArray::from(vec![v.as_slice()]))
        }
        (Literal::Date(v), DataType::Date32) => of::<Date32Type>(*v),
        (Literal::Decimal { value, scale }, DataType::Decimal128(precision, at)) if scale == at => {
            let array = PrimitiveArray::<Decimal128Type>::from_value(*value, 1);
            Arc::new(array.with_precision_and_scale(*precision, *at).ok()?)
        }
        (Literal::Time { value, unit }, DataType::Time32(of) | DataType::Time64(of)) => {
            time(in_unit(*value, *unit, *of)?, *of)?
        }
        (Literal::Timestamp { value, unit, zone }, DataType::Timestamp(of, in_zone))
            if zone.is_some() == in_zone.is_some() =>
        {
            timestamp(in_unit(*value, *unit, *of)?, *of, in_zone.clone())
        }
        _ => return None,
    };
    let array = cast(&array, data_type).ok()?;
    // A number that does not fit the column's type became NULL.
    (array.null_count() == 0).then(|| Scalar::new(array))
}

/// The same time in another unit; none where it is between two of them, or does not fit.
fn in_unit(value: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let nanos = |unit| match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1_i128,
    };
    let exact = i128::from(value) * nanos(from);
    (exact % nanos(to) == 0).then(|| i64::try_from(exact / nanos(to)).ok()).flatten()
}

fn time(value: i64, unit: TimeUnit) -> Option<ArrayRef> {
    Some(match unit {
        TimeUnit::Second => Arc::new(PrimitiveArray::<Time32SecondType>::from_value(i32::try_from(value).ok()?, 1)),
        TimeUnit::Millisecond => {
            Arc::new(PrimitiveArray::<Time32MillisecondType>::from_value(i32::try_from(value).ok()?, 1))
        }
        TimeUnit::Microsecond => Arc::new(PrimitiveArray::<Time64MicrosecondType>::from_value(value, 1)),
        TimeUnit::Nanosecond => Arc::new(PrimitiveArray::<Time64NanosecondType>::from_value(value, 1)),
    })
}

/// A point in time compares alike in whatever zone it is shown, so the column's zone does.
fn timestamp(value: i64, unit: TimeUnit, zone: Option<Arc<str>>) -> ArrayRef {
    match unit {
        TimeUnit::Second => {
            Arc::new(PrimitiveArray::<TimestampSecondType>::from_value(value, 1).with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            Arc::new(PrimitiveArray::<TimestampMillisecondType>::from_value(value, 1).with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from_value(value, 1).with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            Arc::new(PrimitiveArray::<TimestampNanosecondType>::from_value(value, 1).with_timezone_opt(zone))
        }
    }
}
