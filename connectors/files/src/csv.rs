//! CSV: a header line that names the columns, then records; decoded by arrow.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format as ArrowFormat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use connector_spi::{Column, Error, Result};

use crate::error::lower;
use crate::listing::Format;
use crate::record::{Block, Records, records};
use crate::text::TextFacts;
use crate::types::{Shape, words};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the header and the first records of a file say.
pub(crate) async fn learn(file: &mut Records, most: usize) -> Result<TextFacts> {
    let Some(header) = file.block(1).await? else { return Ok(TextFacts::default()) };
    let names = names(file, &header)?;
    let Some(block) = file.block(most).await? else {
        return Ok(TextFacts {
            fields: names.into_iter().map(|name| (name, Shape::Unknown)).collect(),
            ..TextFacts::default()
        });
    };
    let everything = (0..names.len()).collect::<Vec<_>>();
    let text = schema(names.iter().map(|name| (name.clone(), DataType::Utf8)));
    parse(&block, &text, &everything).map_err(|cause| blame(file, &block, &text, &everything, &cause))?;

    let sample = plain().infer_schema(Cursor::new(guarded(&block)), Some(block.records));
    let (sample, _) = sample.map_err(|cause| file.input().bad(&clean(&cause)))?;
    let mut shapes = sample.fields().iter().map(|field| Shape::of_sample(field.data_type())).collect::<Vec<_>>();
    let typed = schema(names.iter().cloned().zip(shapes.iter().map(Shape::data_type)));
    if parse(&block, &typed, &everything).is_err() {
        // A value may look like a number or a time and be none, such as 2024-13-45.
        for (at, shape) in shapes.iter_mut().enumerate() {
            if parse(&block, &typed, &[at]).is_err() {
                *shape = Shape::Text;
            }
        }
    }
    let (rows, bytes) = (block.records as u64, block.bytes.len() as u64);
    let whole = file.block(1).await?.is_none();
    Ok(TextFacts { fields: names.into_iter().zip(shapes).collect(), rows, bytes, whole })
}

fn schema(fields: impl Iterator<Item = (String, DataType)>) -> SchemaRef {
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).collect::<Vec<_>>()))
}

fn plain() -> ArrowFormat {
    ArrowFormat::default().with_header(false)
}

/// The names of the columns; one without a name is called by its place.
fn names(file: &Records, header: &Block) -> Result<Vec<String>> {
    let fields = fields(&header.bytes).map_err(|cause| match std::str::from_utf8(&header.bytes) {
        Ok(_) => file.input().bad(&format!("its header line is wrong: {cause}")),
        Err(_) => file.input().bad("its header line is not valid UTF-8"),
    })?;
    let mut names: Vec<String> = Vec::new();
    for (at, name) in fields.into_iter().enumerate() {
        let name = if name.is_empty() { format!("column_{}", at + 1) } else { name };
        if names.contains(&name) {
            return Err(file.input().bad(&format!("its header line names column \"{name}\" twice")));
        }
        names.push(name);
    }
    Ok(names)
}

/// The fields of one record as text.
fn fields(record: &[u8]) -> Result<Vec<String>, String> {
    let (schema, _) = ArrowFormat::default()
        .with_header(true)
        .infer_schema(Cursor::new(record), Some(0))
        .map_err(|cause| clean(&cause))?;
    Ok(schema.fields().iter().map(|field| field.name().clone()).collect())
}

/// The block's bytes such that the parser takes no part of them for a byte order mark.
fn guarded(block: &Block) -> Vec<u8> {
    let guard: &[u8] = if block.bytes.starts_with(BYTE_ORDER_MARK) { b"\n" } else { b"" };
    [guard, &block.bytes].concat()
}

fn parse(block: &Block, schema: &SchemaRef, columns: &[usize]) -> Result<RecordBatch, ArrowError> {
    let builder = ReaderBuilder::new(schema.clone())
        .with_header(false)
        .with_batch_size(block.records.max(1))
        .with_projection(columns.to_vec());
    let mut reader = if block.bytes.starts_with(BYTE_ORDER_MARK) {
        builder.build_buffered(Box::new(Cursor::new(guarded(block))) as Box<dyn std::io::BufRead>)?
    } else {
        builder.build_buffered(Box::new(Cursor::new(block.bytes.clone())) as Box<dyn std::io::BufRead>)?
    };
    let batch = reader.next().transpose()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty())));
    // The records were counted by our own reading of the rules; another count would be lost or invented rows.
    if batch.num_rows() != block.records || reader.next().is_some() {
        return Err(ArrowError::CsvError(format!(
            "{} records were expected, {} were read",
            block.records,
            batch.num_rows()
        )));
    }
    Ok(batch)
}

/// Decodes the blocks of one file into some columns of a table.
pub(crate) struct Decoder {
    /// The file's columns in its own order, with the table's types.
    schema: SchemaRef,
    /// The file's columns that are wanted.
    columns: Vec<usize>,
    /// For each wanted column of the table: which of `columns`, or the type of the NULLs where the file has none.
    outputs: Vec<Result<usize, DataType>>,
}

impl Decoder {
    /// Reads the header; `None` for an empty file.
    pub(crate) async fn open(file: &mut Records, table: &[Column], wanted: &[usize]) -> Result<Option<Self>> {
        let Some(header) = file.block(1).await? else { return Ok(None) };
        let names = names(file, &header)?;
        let known =
            |name: &String| table.iter().find(|column| column.name == *name).map(|column| column.data_type.clone());
        let schema = schema(names.iter().map(|name| (name.clone(), known(name).unwrap_or(DataType::Utf8))));
        let mut columns = Vec::new();
        let outputs = wanted
            .iter()
            .map(|at| {
                let column = &table[*at];
                let place =
                    names.iter().position(|name| *name == column.name).ok_or_else(|| column.data_type.clone())?;
                columns.push(place);
                Ok(columns.len() - 1)
            })
            .collect();
        Ok(Some(Self { schema, columns, outputs }))
    }

    pub(crate) fn decode(&self, file: &Records, block: &Block) -> Result<(Vec<ArrayRef>, usize)> {
        let batch = parse(block, &self.schema, &self.columns)
            .map_err(|cause| blame(file, block, &self.schema, &self.columns, &cause))?;
        let rows = batch.num_rows();
        let arrays = self.outputs.iter().map(|output| match output {
            Ok(at) => batch.column(*at).clone(),
            Err(data_type) => new_null_array(data_type, rows),
        });
        Ok((arrays.collect(), rows))
    }
}

/// Finds the record that could not be parsed and says what is wrong with it.
fn blame(file: &Records, block: &Block, schema: &SchemaRef, columns: &[usize], cause: &ArrowError) -> Error {
    for (line, bytes) in records(Format::Csv, block) {
        let record = Block { bytes, line, records: 1 };
        let Err(cause) = parse(&record, schema, columns) else { continue };
        let place = file.place(line);
        if std::str::from_utf8(&record.bytes).is_err() {
            return file.input().bad(&format!("{place} is not valid UTF-8")).hint("Save the file as UTF-8.");
        }
        let found = fields(&record.bytes).unwrap_or_default();
        let expected = schema.fields().len();
        if found.len() != expected {
            let values = if found.len() == 1 { "value" } else { "values" };
            return file.input().bad(&format!("{place} has {} {values}, the header has {expected}", found.len()));
        }
        let Some(at) = columns.iter().copied().find(|at| parse(&record, schema, &[*at]).is_err()) else {
            return file.input().bad(&format!("{place}: {}", clean(&cause)));
        };
        let field = schema.field(at);
        let value = found.get(at).map(|value| short(value)).unwrap_or_default();
        return file
            .input()
            .bad(&format!("{place}, column \"{}\": \"{value}\" is not {}", field.name(), words(field.data_type())))
            .hint("The types of columns are taken from the first records of the files.");
    }
    file.input().bad(&clean(cause))
}

fn short(value: &str) -> String {
    let mut short = value.chars().take(60).collect::<String>();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}

fn clean(cause: &ArrowError) -> String {
    let text = match cause {
        ArrowError::CsvError(text) | ArrowError::ParseError(text) => text.clone(),
        other => other.to_string(),
    };
    lower(&text)
}

/// A batch of these columns, even of none.
pub(crate) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))
        .map_err(|cause| Error::internal(format!("a batch does not fit its columns: {cause}")))
}
