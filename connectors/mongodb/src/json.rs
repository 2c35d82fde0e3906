//! Relaxed extended JSON of a value, straight from its bytes; field by field as stored, twice where a name is there twice.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use bson::error::Error;
use bson::{RawBsonRef, RawDocument};

/// The value as JSON. Errors: bytes that are not BSON, or not UTF-8.
pub(crate) fn text(value: RawBsonRef<'_>) -> Result<String, Error> {
    let mut out = String::new();
    append(&mut out, value)?;
    Ok(out)
}

fn append(out: &mut String, value: RawBsonRef<'_>) -> Result<(), Error> {
    match value {
        RawBsonRef::Double(number) if number.is_finite() => write_to(out, format_args!("{number:?}")),
        RawBsonRef::Double(number) => {
            let name = match number {
                f64::INFINITY => "Infinity",
                f64::NEG_INFINITY => "-Infinity",
                _ => "NaN",
            };
            write_to(out, format_args!("{{\"$numberDouble\":\"{name}\"}}"));
        }
        RawBsonRef::String(text) => quoted(out, text),
        RawBsonRef::Array(items) => {
            out.push('[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                append(out, item?)?;
            }
            out.push(']');
        }
        RawBsonRef::Document(document) => object(out, document)?,
        RawBsonRef::Boolean(value) => write_to(out, format_args!("{value}")),
        RawBsonRef::Null => out.push_str("null"),
        RawBsonRef::RegularExpression(regex) => {
            out.push_str("{\"$regularExpression\":{\"pattern\":");
            quoted(out, regex.pattern.as_str());
            out.push_str(",\"options\":");
            quoted(out, regex.options.as_str());
            out.push_str("}}");
        }
        RawBsonRef::JavaScriptCode(code) => wrapped(out, "$code", code),
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            out.push_str("{\"$code\":");
            quoted(out, code.code);
            out.push_str(",\"$scope\":");
            object(out, code.scope)?;
            out.push('}');
        }
        RawBsonRef::Int32(number) => write_to(out, format_args!("{number}")),
        RawBsonRef::Int64(number) => write_to(out, format_args!("{number}")),
        RawBsonRef::Timestamp(stamp) => {
            write_to(out, format_args!("{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", stamp.time, stamp.increment));
        }
        RawBsonRef::Binary(binary) => {
            out.push_str("{\"$binary\":{\"base64\":\"");
            STANDARD.encode_string(binary.bytes, out);
            write_to(out, format_args!("\",\"subType\":\"{:02x}\"}}}}", u8::from(binary.subtype)));
        }
        RawBsonRef::ObjectId(id) => write_to(out, format_args!("{{\"$oid\":\"{id}\"}}")),
        // Years that RFC 3339 cannot write stay milliseconds.
        RawBsonRef::DateTime(date) => match (0..253_402_300_800_000).contains(&date.timestamp_millis()) {
            true => match date.try_to_rfc3339_string() {
                Ok(text) => wrapped(out, "$date", &text),
                Err(_) => millis(out, date.timestamp_millis()),
            },
            false => millis(out, date.timestamp_millis()),
        },
        RawBsonRef::Symbol(text) => wrapped(out, "$symbol", text),
        RawBsonRef::Decimal128(number) => wrapped(out, "$numberDecimal", &number.to_string()),
        RawBsonRef::Undefined => out.push_str("{\"$undefined\":true}"),
        RawBsonRef::MaxKey => out.push_str("{\"$maxKey\":1}"),
        RawBsonRef::MinKey => out.push_str("{\"$minKey\":1}"),
        RawBsonRef::DbPointer(pointer) => {
            // The driver keeps its parts to itself.
            let text = format!("{pointer:?}");
            wrapped(out, "$dbPointer", &text);
        }
    }
    Ok(())
}

fn object(out: &mut String, document: &RawDocument) -> Result<(), Error> {
    out.push('{');
    for (at, field) in document.iter().enumerate() {
        let (name, value) = field?;
        if at > 0 {
            out.push(',');
        }
        quoted(out, name.as_str());
        out.push(':');
        append(out, value)?;
    }
    out.push('}');
    Ok(())
}

fn write_to(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A String never refuses.
    let _ = out.write_fmt(arguments);
}

fn millis(out: &mut String, millis: i64) {
    write_to(out, format_args!("{{\"$date\":{{\"$numberLong\":\"{millis}\"}}}}"));
}

fn wrapped(out: &mut String, name: &str, text: &str) {
    write_to(out, format_args!("{{\"{name}\":"));
    quoted(out, text);
    out.push('}');
}

fn quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use bson::spec::BinarySubtype;
    use bson::{Binary, Bson, DateTime, Decimal128, RawDocumentBuf, Regex, Timestamp, doc, oid::ObjectId};

    use super::*;

    #[test]
    fn every_type_has_its_form() {
        let id = ObjectId::from_bytes([7; 12]);
        let regex = Regex { pattern: "a\"b".try_into().expect("text"), options: "i".try_into().expect("text") };
        let document = doc! {
            "double": 1.0, "nan": f64::NAN, "text": "q\"\n", "list": [1_i32, 2_i64, Bson::Null], "in": {"a": true},
            "regex": regex, "stamp": Timestamp { time: 3, increment: 4 },
            "bytes": Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3, 4] }, "id": id,
            "date": DateTime::from_millis(1), "old": DateTime::from_millis(-1), "dec": "1.50".parse::<Decimal128>().expect("decimal"),
            "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined, "symbol": Bson::Symbol("s".into()),
            "code": Bson::JavaScriptCode("f()".into()),
        };
        let raw = RawDocumentBuf::try_from(&document).expect("bson");
        let wanted = "{\"double\":1.0,\"nan\":{\"$numberDouble\":\"NaN\"},\"text\":\"q\\\"\\n\",\"list\":[1,2,null],\"in\":{\"a\":true},\
            \"regex\":{\"$regularExpression\":{\"pattern\":\"a\\\"b\",\"options\":\"i\"}},\"stamp\":{\"$timestamp\":{\"t\":3,\"i\":4}},\
            \"bytes\":{\"$binary\":{\"base64\":\"AQIDBA==\",\"subType\":\"00\"}},\"id\":{\"$oid\":\"070707070707070707070707\"},\
            \"date\":{\"$date\":\"1970-01-01T00:00:00.001Z\"},\"old\":{\"$date\":{\"$numberLong\":\"-1\"}},\
            \"dec\":{\"$numberDecimal\":\"1.50\"},\"min\":{\"$minKey\":1},\"max\":{\"$maxKey\":1},\"undefined\":{\"$undefined\":true},\
            \"symbol\":{\"$symbol\":\"s\"},\"code\":{\"$code\":\"f()\"}}";
        assert_eq!(text(RawBsonRef::Document(&raw)).expect("json"), wanted);
        assert!(serde_json::from_str::<serde_json::Value>(wanted).is_ok());
    }
}
