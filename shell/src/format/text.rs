//! CSV, TSV and one block a row: written as batches come.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::Writer;
use super::value::Values;

/// Values with a separator between them.
pub(super) struct Separated<'a> {
    out: &'a mut (dyn Write + Send),
    separator: &'static str,
    cell: fn(Option<String>) -> String,
}

impl<'a> Separated<'a> {
    /// RFC 4180 with `\n`; NULL is nothing, the empty text is `""`.
    pub(super) fn csv(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> io::Result<Self> {
        Self::start(schema, out, ",", |value| match value {
            None => String::new(),
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Some(text) => text,
        })
    }

    /// NULL is `\N`; tab, line ends and backslash are escaped by a backslash.
    pub(super) fn tsv(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> io::Result<Self> {
        Self::start(schema, out, "\t", |value| match value {
            None => "\\N".to_owned(),
            Some(text) => text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"),
        })
    }

    fn start(
        schema: &SchemaRef,
        out: &'a mut (dyn Write + Send),
        separator: &'static str,
        cell: fn(Option<String>) -> String,
    ) -> io::Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|field| cell(Some(field.name().clone()))).collect();
        writeln!(out, "{}", names.join(separator))?;
        Ok(Self { out, separator, cell })
    }
}

impl Writer for Separated<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let values = Values::of(batch)?;
        for row in 0..batch.num_rows() {
            for column in 0..batch.num_columns() {
                if column > 0 {
                    self.out.write_all(self.separator.as_bytes())?;
                }
                self.out.write_all((self.cell)(values.text(column, row)?).as_bytes())?;
            }
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One line a value.
pub(super) struct Vertical<'a> {
    out: &'a mut (dyn Write + Send),
    names: Vec<String>,
    width: usize,
    rows: u64,
}

impl<'a> Vertical<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { out, names, width, rows: 0 }
    }
}

impl Writer for Vertical<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let values = Values::of(batch)?;
        for row in 0..batch.num_rows() {
            self.rows += 1;
            writeln!(self.out, "─[ row {} ]─", self.rows)?;
            for (column, name) in self.names.iter().enumerate() {
                let text = values.text(column, row)?.unwrap_or_else(|| "NULL".to_owned());
                writeln!(self.out, "{name:>width$}: {text}", width = self.width)?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
