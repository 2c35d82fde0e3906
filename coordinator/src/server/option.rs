//! Session options (catalog, schema, settings): messages that arrow-flight does not have.

use std::collections::HashMap;

use connector_spi::{Error, ErrorKind, Result};
use prost::Message;

use super::client::Client;

/// A value; only those that settings can take are read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    value: Option<Value>,
}

/// The kinds of value.
#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Boolean(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Double(f64),
}

#[derive(Clone, PartialEq, Message)]
struct SetRequest {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

/// `value`: 1 = the name is not known, 2 = the value does not fit, 3 = another error.
#[derive(Clone, PartialEq, Message)]
struct SetError {
    #[prost(int32, tag = "1")]
    value: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SetResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, SetError>,
}

#[derive(Clone, PartialEq, Message)]
struct GetResult {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

/// `status`: 1 = closed.
#[derive(Clone, PartialEq, Message)]
struct CloseResult {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Answers `SetSessionOptions`. Errors: `INVALID` for a message that is none.
pub(super) fn set(client: &Client, body: &[u8]) -> Result<Vec<u8>> {
    let request = SetRequest::decode(body)
        .map_err(|cause| Error::invalid(format!("not a SetSessionOptions message: {cause}")))?;
    let mut errors = HashMap::new();
    for (name, value) in request.options {
        let text = match value.value {
            Some(Value::Text(text)) => text,
            Some(Value::Boolean(value)) => value.to_string(),
            Some(Value::Integer(value)) => value.to_string(),
            Some(Value::Double(value)) => value.to_string(),
            None => String::new(),
        };
        if let Err(error) = client.session.set(&name, &text) {
            let value = if error.kind() == ErrorKind::NotFound { 1 } else { 2 };
            errors.insert(name, SetError { value });
        }
    }
    Ok(SetResult { errors }.encode_to_vec())
}

/// Answers `GetSessionOptions`.
pub(super) fn get(client: &Client) -> Vec<u8> {
    let (catalog, schema) = client.session.location();
    let all =
        client.session.settings().into_iter().chain([("catalog".to_owned(), catalog), ("schema".to_owned(), schema)]);
    let value = |text| OptionValue { value: Some(Value::Text(text)) };
    GetResult { options: all.map(|(name, text)| (name, value(text))).collect() }.encode_to_vec()
}

/// Answers `CloseSession`.
pub(super) fn closed() -> Vec<u8> {
    CloseResult { status: 1 }.encode_to_vec()
}
