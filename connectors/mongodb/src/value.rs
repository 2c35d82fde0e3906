//! Literals as BSON values of a column's kind.

use arrow::datatypes::TimeUnit;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Uuid};
use connector_spi::{Literal, Refusal, RefusalCode};

use crate::cell::DAY;
use crate::decimal::decimal;
use crate::types::Kind;

const OTHER: Refusal = Refusal::new(RefusalCode::Value, "the value is not of the column's type");
const TOO_LONG: Refusal = Refusal::new(RefusalCode::Value, "MongoDB's decimals have 34 digits, and the value has more");

/// A literal in MongoDB.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Is(Bson),
    /// No value of the column equals it, such as a text that is no ObjectId.
    Nothing,
}

/// The literal as a value of the kind. Errors: it cannot be one.
pub(crate) fn value(kind: &Kind, literal: &Literal) -> Result<Value, Refusal> {
    let bson = match (kind, literal) {
        (Kind::Bool, Literal::Boolean(value)) => Bson::Boolean(*value),
        (Kind::Int | Kind::Long, Literal::Integer(value)) => Bson::Int64(*value),
        (Kind::Double | Kind::Real, Literal::Float(value)) if !value.is_nan() => Bson::Double(*value),
        (Kind::Double | Kind::Real, Literal::Float(_)) => {
            return Err(Refusal::new(RefusalCode::Value, "a comparison with NaN"));
        }
        (Kind::Decimal { scale: of, .. }, Literal::Decimal { value, scale }) if of == scale => {
            Bson::Decimal128(decimal(*value, *scale).ok_or(TOO_LONG)?)
        }
        (Kind::Text, Literal::Text(text)) => Bson::String(text.clone()),
        (Kind::ObjectId, Literal::Text(text)) => match ObjectId::parse_str(text) {
            // Only the form in which it is shown is equal to it.
            Ok(id) if id.to_hex() == *text => Bson::ObjectId(id),
            _ => return Ok(Value::Nothing),
        },
        (Kind::Uuid, Literal::Text(text)) => match Uuid::parse_str(text) {
            Ok(uuid) if uuid.to_string() == *text => Bson::Binary(uuid.into()),
            _ => return Ok(Value::Nothing),
        },
        (Kind::Binary, Literal::Binary(bytes)) => {
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.clone() })
        }
        (Kind::Instant, Literal::Timestamp { value, unit: TimeUnit::Millisecond, zone: Some(_) })
        | (Kind::Wall, Literal::Timestamp { value, unit: TimeUnit::Millisecond, zone: None }) => {
            Bson::DateTime(DateTime::from_millis(*value))
        }
        (Kind::Date, Literal::Date(days)) => Bson::DateTime(DateTime::from_millis(i64::from(*days) * DAY)),
        (Kind::Time, Literal::Time { value, unit: TimeUnit::Microsecond }) => Bson::Int64(*value),
        _ => return Err(OTHER),
    };
    Ok(Value::Is(bson))
}
