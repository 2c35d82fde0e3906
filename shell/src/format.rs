//! Results as text or files, batch by batch.

mod json;
mod table;
mod text;
mod value;

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use datafusion::parquet::arrow::ArrowWriter;

use crate::args::Format;

/// Writes one result.
pub(crate) trait Writer {
    /// Writes a batch.
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()>;
    /// Writes what is left.
    fn end(&mut self) -> io::Result<()>;
}

/// A writer of `format`. A result without columns is written by none.
pub(crate) fn writer<'a>(
    format: Format,
    schema: &SchemaRef,
    out: &'a mut (dyn Write + Send),
) -> io::Result<Box<dyn Writer + 'a>> {
    Ok(match format {
        Format::Box => Box::new(table::Table::new(schema, out, table::BOX)),
        Format::Markdown => Box::new(table::Table::new(schema, out, table::MARKDOWN)),
        Format::Csv => Box::new(text::Separated::csv(schema, out)?),
        Format::Tsv => Box::new(text::Separated::tsv(schema, out)?),
        Format::Vertical => Box::new(text::Vertical::new(schema, out)),
        Format::Json => Box::new(json::Json::array(schema, out)),
        Format::Jsonl => Box::new(json::Json::lines(schema, out)),
        Format::Parquet => {
            Box::new(Parquet(Some(ArrowWriter::try_new(out, schema.clone(), None).map_err(io::Error::other)?)))
        }
        Format::Arrow => Box::new(Arrow(StreamWriter::try_new(out, schema).map_err(broken)?)),
    })
}

fn broken(cause: ArrowError) -> io::Error {
    match cause {
        ArrowError::IoError(_, cause) => cause,
        other => io::Error::other(other),
    }
}

struct Arrow<W: Write>(StreamWriter<W>);

impl<W: Write> Writer for Arrow<W> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.0.write(batch).map_err(broken)
    }

    fn end(&mut self) -> io::Result<()> {
        self.0.finish().map_err(broken)
    }
}

struct Parquet<W: Write + Send>(Option<ArrowWriter<W>>);

impl<W: Write + Send> Writer for Parquet<W> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match &mut self.0 {
            Some(writer) => writer.write(batch).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match self.0.take() {
            Some(writer) => writer.close().map(drop).map_err(io::Error::other),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    fn batch() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(9007199254740993)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(""), Some("a \"b\",\nc"), None]));
        let money: ArrayRef = Arc::new(
            Decimal128Array::from(vec![Some(150), Some(-5), None]).with_precision_and_scale(10, 2).expect("fits"),
        );
        RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("text", texts, true), ("money", money, true)])
            .expect("batch")
    }

    fn written(format: Format, batch: &RecordBatch) -> String {
        let mut out = Vec::new();
        let mut writer = writer(format, &batch.schema(), &mut out).expect("writer");
        writer.batch(batch).expect("batch");
        writer.end().expect("end");
        drop(writer);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn csv_tells_null_from_the_empty_text() {
        assert_eq!(
            written(Format::Csv, &batch()),
            "n,text,money\n1,\"\",1.50\n,\"a \"\"b\"\",\nc\",-0.05\n9007199254740993,,\n"
        );
    }

    #[test]
    fn tsv_escapes_what_would_break_a_line() {
        assert_eq!(
            written(Format::Tsv, &batch()),
            "n\ttext\tmoney\n1\t\t1.50\n\\N\ta \"b\",\\nc\t-0.05\n9007199254740993\t\\N\t\\N\n"
        );
    }

    #[test]
    fn json_keeps_numbers_exact() {
        let lines = written(Format::Jsonl, &batch());
        assert_eq!(lines.lines().nth(2), Some("{\"n\":9007199254740993,\"text\":null,\"money\":null}"));
        assert_eq!(lines.lines().nth(1), Some("{\"n\":null,\"text\":\"a \\\"b\\\",\\nc\",\"money\":-0.05}"));
        let array: serde_json::Value = serde_json::from_str(&written(Format::Json, &batch())).expect("json");
        assert_eq!(array.as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn a_box_is_aligned_with_wide_letters_and_numbers_right() {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["日本", "ab"]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5, -0.25]));
        let batch = RecordBatch::try_from_iter([("name", names), ("x", floats)]).expect("batch");
        assert_eq!(
            written(Format::Box, &batch),
            "┌──────┬───────┐\n│ name │     x │\n├──────┼───────┤\n│ 日本 │   1.5 │\n│ ab   │ -0.25 │\n└──────┴───────┘\n"
        );
        assert_eq!(
            written(Format::Markdown, &batch),
            "| name |     x |\n| ---- | ----: |\n| 日本 |   1.5 |\n| ab   | -0.25 |\n"
        );
    }

    #[test]
    fn times_are_shown_with_their_zone() {
        let plain: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_704_110_400_123_456]));
        let zoned: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![1_704_110_400_000_000]).with_timezone("UTC"));
        let batch = RecordBatch::try_from_iter([("p", plain), ("z", zoned)]).expect("batch");
        assert_eq!(written(Format::Csv, &batch), "p,z\n2024-01-01 12:00:00.123456,2024-01-01 12:00:00+00:00\n");
    }

    #[test]
    fn vertical_shows_a_row_a_block() {
        let text = written(Format::Vertical, &batch());
        assert!(text.starts_with("─[ row 1 ]─\n    n: 1\n text: \nmoney: 1.50\n"), "{text}");
    }

    #[test]
    fn files_can_be_read_back() {
        let batch = batch();
        let mut out = Vec::new();
        let mut arrow = writer(Format::Arrow, &batch.schema(), &mut out).expect("writer");
        arrow.batch(&batch).and_then(|()| arrow.end()).expect("written");
        drop(arrow);
        let back = arrow::ipc::reader::StreamReader::try_new(out.as_slice(), None).expect("stream").next();
        assert_eq!(back.expect("a batch").expect("good"), batch);
    }
}
