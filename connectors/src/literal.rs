//! DataFusion's scalar values as the contract's literals.

use connector_spi::Literal;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;

/// The literal for comparison with a column of `data_type`; `None` for NULL, for other types than
/// the column's, and for types the contract has no literal for.
pub(crate) fn literal(value: &ScalarValue, data_type: &DataType) -> Option<Literal> {
    if !same_kind(&value.data_type(), data_type) {
        return None;
    }
    Some(match value {
        ScalarValue::Boolean(Some(v)) => Literal::Boolean(*v),
        ScalarValue::Int8(Some(v)) => Literal::Integer(i64::from(*v)),
        ScalarValue::Int16(Some(v)) => Literal::Integer(i64::from(*v)),
        ScalarValue::Int32(Some(v)) => Literal::Integer(i64::from(*v)),
        ScalarValue::Int64(Some(v)) => Literal::Integer(*v),
        ScalarValue::UInt8(Some(v)) => Literal::Unsigned(u64::from(*v)),
        ScalarValue::UInt16(Some(v)) => Literal::Unsigned(u64::from(*v)),
        ScalarValue::UInt32(Some(v)) => Literal::Unsigned(u64::from(*v)),
        ScalarValue::UInt64(Some(v)) => Literal::Unsigned(*v),
        ScalarValue::Float32(Some(v)) => Literal::Float(f64::from(*v)),
        ScalarValue::Float64(Some(v)) => Literal::Float(*v),
        ScalarValue::Decimal32(Some(v), _, scale) => Literal::Decimal { value: i128::from(*v), scale: *scale },
        ScalarValue::Decimal64(Some(v), _, scale) => Literal::Decimal { value: i128::from(*v), scale: *scale },
        ScalarValue::Decimal128(Some(v), _, scale) => Literal::Decimal { value: *v, scale: *scale },
        ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)) | ScalarValue::Utf8View(Some(v)) => {
            Literal::Text(v.clone())
        }
        ScalarValue::Binary(Some(v)) | ScalarValue::LargeBinary(Some(v)) | ScalarValue::BinaryView(Some(v)) => {
            Literal::Binary(v.clone())
        }
        ScalarValue::Date32(Some(v)) => Literal::Date(*v),
        ScalarValue::Time32Second(Some(v)) => Literal::Time { value: i64::from(*v), unit: TimeUnit::Second },
        ScalarValue::Time32Millisecond(Some(v)) => Literal::Time { value: i64::from(*v), unit: TimeUnit::Millisecond },
        ScalarValue::Time64Microsecond(Some(v)) => Literal::Time { value: *v, unit: TimeUnit::Microsecond },
        ScalarValue::Time64Nanosecond(Some(v)) => Literal::Time { value: *v, unit: TimeUnit::Nanosecond },
        ScalarValue::TimestampSecond(Some(v), zone) => timestamp(*v, TimeUnit::Second, zone.as_deref()),
        ScalarValue::TimestampMillisecond(Some(v), zone) => timestamp(*v, TimeUnit::Millisecond, zone.as_deref()),
        ScalarValue::TimestampMicrosecond(Some(v), zone) => timestamp(*v, TimeUnit::Microsecond, zone.as_deref()),
        ScalarValue::TimestampNanosecond(Some(v), zone) => timestamp(*v, TimeUnit::Nanosecond, zone.as_deref()),
        _ => return None,
    })
}

fn timestamp(value: i64, unit: TimeUnit, zone: Option<&str>) -> Literal {
    Literal::Timestamp { value, unit, zone: zone.map(str::to_owned) }
}

/// Whether comparing needs no conversion that could change a value.
fn same_kind(value: &DataType, column: &DataType) -> bool {
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let bytes = |t: &DataType| matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let zoned = |t: &DataType| matches!(t, DataType::Timestamp(_, Some(_)));
    let (text, bytes, zoned) =
        (text(value) && text(column), bytes(value) && bytes(column), zoned(value) && zoned(column));
    text || bytes
        || match (value, column) {
            // Points in time compare alike whatever zone they are shown in.
            (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) if zoned => a == b,
            (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => a == b,
            (value, column) => value == column,
        }
}
