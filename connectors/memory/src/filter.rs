//! The contract's predicates over batches, by the same Arrow kernels that the engine uses.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Scalar, StringArray, new_empty_array};
use arrow::compute::kernels::boolean::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow::compute::kernels::cmp;
use arrow::compute::{cast, filter_record_batch, like, nlike};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use connector_spi::{Column, Comparison, Error, Literal, Predicate, Result};

/// Whether the predicate is one that [`apply`] evaluates exactly as the engine does.
pub(crate) fn known(predicate: &Predicate, columns: &[Column]) -> bool {
    let fits = |column: &usize, value: &Literal| scalar(value, &columns[*column].data_type).is_ok();
    match predicate {
        Predicate::Compare { column, value, .. } => fits(column, value),
        Predicate::In { column, values, .. } => values.iter().all(|value| fits(column, value)),
        Predicate::Null { .. } => true,
        // Arrow's kernel knows the backslash as escape and nothing else.
        Predicate::Like { column, escape, case_insensitive, .. } => {
            *escape == '\\' && !case_insensitive && columns[*column].data_type == DataType::Utf8
        }
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().all(|part| known(part, columns)),
        Predicate::Not(inner) => known(inner, columns),
    }
}

/// The rows for which every filter is true.
pub(crate) fn apply(batch: &RecordBatch, filters: &[Predicate]) -> Result<RecordBatch> {
    let mut batch = batch.clone();
    for filter in filters {
        let mask = evaluate(&batch, filter).map_err(failed)?;
        batch = filter_record_batch(&batch, &mask).map_err(failed)?;
    }
    Ok(batch)
}

fn failed(cause: ArrowError) -> Error {
    Error::internal(format!("a filter on a table in memory failed: {cause}"))
}

fn evaluate(batch: &RecordBatch, predicate: &Predicate) -> Result<BooleanArray, ArrowError> {
    match predicate {
        Predicate::Compare { column, op, value } => {
            let column = batch.column(*column);
            let value = scalar(value, column.data_type())?;
            match op {
                Comparison::Eq => cmp::eq(column, &value),
                Comparison::NotEq => cmp::neq(column, &value),
                Comparison::Lt => cmp::lt(column, &value),
                Comparison::LtEq => cmp::lt_eq(column, &value),
                Comparison::Gt => cmp::gt(column, &value),
                Comparison::GtEq => cmp::gt_eq(column, &value),
            }
        }
        Predicate::In { column, values, negated } => {
            let array = batch.column(*column);
            let nothing = cmp::distinct(array, array)?;
            // NULL IN (…) is NULL, whatever the list holds.
            let unknown = BooleanArray::new(nothing.values().clone(), array.logical_nulls());
            let found = values.iter().try_fold(unknown, |found, value| {
                or_kleene(&found, &cmp::eq(array, &scalar(value, array.data_type())?)?)
            })?;
            if *negated { not(&found) } else { Ok(found) }
        }
        Predicate::Null { column, negated: false } => is_null(batch.column(*column)),
        Predicate::Null { column, negated: true } => is_not_null(batch.column(*column)),
        Predicate::Like { column, pattern, negated, .. } => {
            let pattern = Scalar::new(StringArray::from(vec![pattern.as_str()]));
            if *negated { nlike(batch.column(*column), &pattern) } else { like(batch.column(*column), &pattern) }
        }
        Predicate::And(parts) => fold(batch, parts, true, and_kleene),
        Predicate::Or(parts) => fold(batch, parts, false, or_kleene),
        Predicate::Not(inner) => not(&evaluate(batch, inner)?),
    }
}

fn fold(
    batch: &RecordBatch,
    parts: &[Predicate],
    empty: bool,
    join: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, ArrowError>,
) -> Result<BooleanArray, ArrowError> {
    let start = BooleanArray::from(vec![empty; batch.num_rows()]);
    parts.iter().try_fold(start, |sum, part| join(&sum, &evaluate(batch, part)?))
}

/// The literal as an array of one value of exactly `data_type`.
fn scalar(value: &Literal, data_type: &DataType) -> Result<Scalar<ArrayRef>, ArrowError> {
    use arrow::array::{
        BinaryArray, Date32Array, Decimal128Array, Float64Array, Int64Array, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };
    let wrong = || ArrowError::CastError(format!("a literal does not fit {data_type}"));
    let array: ArrayRef = match (value, data_type) {
        (Literal::Boolean(v), DataType::Boolean) => Arc::new(BooleanArray::from(vec![*v])),
        (Literal::Integer(v), t) if t.is_signed_integer() => Arc::new(Int64Array::from(vec![*v])),
        (Literal::Unsigned(v), t) if t.is_unsigned_integer() => Arc::new(UInt64Array::from(vec![*v])),
        (Literal::Float(v), DataType::Float32 | DataType::Float64) => Arc::new(Float64Array::from(vec![*v])),
        (Literal::Text(v), DataType::Utf8) => Arc::new(StringArray::from(vec![v.as_str()])),
        (Literal::Binary(v), DataType::Binary) => Arc::new(BinaryArray::from(vec![v.as_slice()])),
        (Literal::Date(v), DataType::Date32) => Arc::new(Date32Array::from(vec![*v])),
        (Literal::Decimal { value, scale }, DataType::Decimal128(precision, at)) if scale == at => {
            Arc::new(Decimal128Array::from(vec![*value]).with_precision_and_scale(*precision, *at)?)
        }
        (Literal::Timestamp { value, unit, zone }, DataType::Timestamp(of, in_zone))
            if unit == of && zone.is_some() == in_zone.is_some() =>
        {
            match unit {
                TimeUnit::Second => {
                    Arc::new(TimestampSecondArray::from(vec![*value]).with_timezone_opt(in_zone.clone()))
                }
                TimeUnit::Millisecond => {
                    Arc::new(TimestampMillisecondArray::from(vec![*value]).with_timezone_opt(in_zone.clone()))
                }
                TimeUnit::Microsecond => {
                    Arc::new(TimestampMicrosecondArray::from(vec![*value]).with_timezone_opt(in_zone.clone()))
                }
                TimeUnit::Nanosecond => {
                    Arc::new(TimestampNanosecondArray::from(vec![*value]).with_timezone_opt(in_zone.clone()))
                }
            }
        }
        _ => return Err(wrong()),
    };
    let array = cast(&array, data_type)?;
    // A number that does not fit the column's type became NULL.
    if array.null_count() > 0 || array.data_type() != new_empty_array(data_type).data_type() {
        return Err(wrong());
    }
    Ok(Scalar::new(array))
}
