//! NDJSON: one JSON object a line; decoded by arrow.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::util::display::FormatOptions;
use connector_spi::{Column, Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::lower;
use crate::listing::Format;
use crate::record::{Block, Records, records};
use crate::text::TextFacts;
use crate::types::{Shape, merge_fields, words};

/// What the first lines of a file say.
pub(crate) async fn learn(file: &mut Records, most: usize) -> Result<TextFacts> {
    let Some(block) = file.block(most).await? else { return Ok(TextFacts::default()) };
    let (mut fields, mut rows) = (Vec::new(), 0);
    for (line, bytes) in records(Format::Ndjson, &block) {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let place = file.place(line);
        let found = match serde_json::from_slice::<Shape>(&bytes) {
            Ok(Shape::Record(found)) => found,
            Ok(_) => return Err(file.input().bad(&format!("{place} is not a JSON object"))),
            Err(cause) => {
                let cause = cause.to_string();
                let cause = cause.split(" at line ").next().unwrap_or_default();
                return Err(file.input().bad(&format!("{place} is not a JSON object: {}", lower(cause))));
            }
        };
        fields = merge_fields(fields, found).map_err(|path| {
            file.input().bad(&format!("{place}, column \"{path}\": objects, arrays and plain values are mixed"))
        })?;
        rows += 1;
    }
    let whole = file.block(1).await?.is_none();
    Ok(TextFacts { fields, rows, bytes: block.bytes.len() as u64, whole })
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Unknown)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Boolean)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Integer)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(if i64::try_from(value).is_ok() { Shape::Integer } else { Shape::Natural })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Float)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut all = Shape::Unknown;
        while let Some(item) = items.next_element::<Shape>()? {
            all = all
                .merge(item)
                .map_err(|_| serde::de::Error::custom("an array mixes objects, arrays and plain values"))?;
        }
        Ok(Shape::List(Box::new(all)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, shape)) = entries.next_entry::<String, Shape>()? {
            if fields.iter().any(|(known, _): &(String, Shape)| *known == name) {
                return Err(serde::de::Error::custom(format!("key \"{name}\" occurs twice")));
            }
            fields.push((name, shape));
        }
        Ok(Shape::Record(fields))
    }
}

/// Decodes the lines of one file into some columns of a table.
pub(crate) struct Decoder {
    /// The wanted columns, each once, as arrow's decoder is to read them.
    raw: SchemaRef,
    /// The same as the table has them.
    typed: SchemaRef,
    /// For each wanted column of the table: which of these.
    outputs: Vec<usize>,
}

impl Decoder {
    pub(crate) fn new(table: &[Column], wanted: &[usize]) -> Self {
        let mut columns = wanted.to_vec();
        columns.sort_unstable();
        columns.dedup();
        let outputs = wanted.iter().filter_map(|at| columns.iter().position(|column| column == at)).collect();
        let typed = columns.iter().map(|at| table[*at].field()).collect::<Vec<_>>();
        let raw = typed.iter().map(|field| field.clone().with_data_type(raw(field.data_type()))).collect::<Vec<_>>();
        Self { raw: Arc::new(Schema::new(raw)), typed: Arc::new(Schema::new(typed)), outputs }
    }

    pub(crate) fn decode(&self, file: &Records, block: &Block) -> Result<(Vec<ArrayRef>, usize)> {
        let (arrays, rows) = self.parse(block).map_err(|cause| self.blame(file, block, &cause))?;
        Ok((self.outputs.iter().map(|at| arrays[*at].clone()).collect(), rows))
    }

    fn parse(&self, block: &Block) -> Result<(Vec<ArrayRef>, usize), ArrowError> {
        let mut decoder = ReaderBuilder::new(self.raw.clone())
            .with_batch_size(block.records.max(1))
            .with_coerce_primitive(true)
            .build_decoder()?;
        let (mut rest, mut batches) = (&block.bytes[..], Vec::<RecordBatch>::new());
        // More than one object can stand in a line, so that one batch is not enough.
        loop {
            let read = decoder.decode(rest)?;
            rest = &rest[read..];
            match decoder.flush()? {
                Some(batch) => batches.push(batch),
                None if rest.is_empty() => break,
                None => return Err(ArrowError::JsonError("the line is not understood".to_owned())),
            }
        }
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let options = CastOptions { safe: false, format_options: FormatOptions::default() };
        let arrays = self.typed.fields().iter().enumerate().map(|(at, field)| {
            let pieces = batches.iter().map(|batch| batch.column(at).as_ref()).collect::<Vec<_>>();
            let whole = match pieces.as_slice() {
                [] => return Ok(new_empty_array(field.data_type())),
                [_] => batches[0].column(at).clone(),
                pieces => concat(pieces)?,
            };
            match whole.data_type() == field.data_type() {
                true => Ok(whole),
                false => cast_with_options(&whole, field.data_type(), &options),
            }
        });
        Ok((arrays.collect::<Result<_, ArrowError>>()?, rows))
    }

    fn blame(&self, file: &Records, block: &Block, cause: &ArrowError) -> Error {
        for (line, bytes) in records(Format::Ndjson, block) {
            let record = Block { bytes, line, records: 1 };
            let Err(cause) = self.parse(&record) else { continue };
            let place = file.place(line);
            match serde_json::from_slice::<Shape>(&record.bytes) {
                Ok(Shape::Record(_)) => {}
                Ok(_) => return file.input().bad(&format!("{place} is not a JSON object")),
                Err(cause) => {
                    let cause = cause.to_string();
                    let cause = cause.split(" at line ").next().unwrap_or_default();
                    return file.input().bad(&format!("{place} is not a JSON object: {}", lower(cause)));
                }
            }
            let bad = (0..self.typed.fields().len()).find(|at| self.one(*at).parse(&record).is_err());
            return match bad.map(|at| self.typed.field(at)) {
                Some(field) => file
                    .input()
                    .bad(&format!(
                        "{place}, column \"{}\" is not {}: {}",
                        field.name(),
                        words(field.data_type()),
                        clean(&cause)
                    ))
                    .hint("The types of columns are taken from the first lines of the files."),
                None => file.input().bad(&format!("{place}: {}", clean(&cause))),
            };
        }
        file.input().bad(&clean(cause))
    }

    /// The same for one of the columns.
    fn one(&self, at: usize) -> Self {
        let pick = |schema: &Schema| Arc::new(Schema::new(vec![schema.field(at).clone()]));
        Self { raw: pick(&self.raw), typed: pick(&self.typed), outputs: vec![0] }
    }
}

/// How arrow is to decode a type: whole numbers as text, because its own decoder cuts 1.5 to 1.
fn raw(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int64 | DataType::Decimal128(..) => DataType::Utf8,
        DataType::List(item) => DataType::List(Arc::new(raw_field(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| raw_field(field)).collect()),
        other => other.clone(),
    }
}

fn raw_field(field: &Field) -> Field {
    field.clone().with_data_type(raw(field.data_type()))
}

fn clean(cause: &ArrowError) -> String {
    let text = match cause {
        ArrowError::JsonError(text) | ArrowError::ParseError(text) | ArrowError::CastError(text) => text.clone(),
        other => other.to_string(),
    };
    lower(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_shows_its_shape_with_keys_in_order() {
        let shape = serde_json::from_str::<Shape>(r#"{"z":1,"a":[1,2.5],"m":{"x":null,"y":18446744073709551615}}"#);
        let expected = Shape::Record(vec![
            ("z".into(), Shape::Integer),
            ("a".into(), Shape::List(Box::new(Shape::Float))),
            ("m".into(), Shape::Record(vec![("x".into(), Shape::Unknown), ("y".into(), Shape::Natural)])),
        ]);
        assert_eq!(shape.expect("parses"), expected);
    }

    #[test]
    fn a_key_that_occurs_twice_is_refused() {
        let error = serde_json::from_str::<Shape>(r#"{"a":1,"a":2}"#).expect_err("refused").to_string();
        assert!(error.starts_with("key \"a\" occurs twice"), "{error}");
    }
}
