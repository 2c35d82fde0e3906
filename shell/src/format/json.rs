//! JSON, one object a row. Whole numbers and decimals are exact numbers; NaN and infinities, dates
//! and times are text; lists and structs are arrays and objects; bytes are hexadecimal text.

use std::io::{self, Write};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::Writer;
use super::value::Values;

/// Rows as JSON objects.
pub(super) struct Json<'a> {
    out: &'a mut (dyn Write + Send),
    names: Vec<String>,
    array: bool,
    rows: u64,
}

impl<'a> Json<'a> {
    pub(super) fn array(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Self {
        Self::new(schema, out, true)
    }

    pub(super) fn lines(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Self {
        Self::new(schema, out, false)
    }

    fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send), array: bool) -> Self {
        let names = schema.fields().iter().map(|field| quoted(field.name())).collect();
        Self { out, names, array, rows: 0 }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Writer for Json<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let columns = batch.columns().iter().map(Values::of_one).collect::<io::Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let start = match (self.array, self.rows) {
                (true, 0) => "[\n",
                (true, _) => ",\n",
                (false, _) => "",
            };
            self.out.write_all(start.as_bytes())?;
            let fields =
                self.names.iter().zip(&columns).map(|(name, column)| Ok(format!("{name}:{}", value(column, row)?)));
            write!(self.out, "{{{}}}", fields.collect::<io::Result<Vec<_>>>()?.join(","))?;
            if !self.array {
                self.out.write_all(b"\n")?;
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.array {
            let end = if self.rows == 0 { "[]\n" } else { "\n]\n" };
            self.out.write_all(end.as_bytes())?;
        }
        self.out.flush()
    }
}

/// One value as JSON.
fn value(column: &RecordBatch, row: usize) -> io::Result<String> {
    let array = column.column(0);
    if array.is_null(row) {
        return Ok("null".to_owned());
    }
    match array.data_type() {
        DataType::List(_) => items(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => items(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => items(array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let parts = fields
                .iter()
                .zip(array.as_struct().columns())
                .map(|(field, inner)| Ok(format!("{}:{}", quoted(field.name()), value(&Values::of_one(inner)?, row)?)));
            Ok(format!("{{{}}}", parts.collect::<io::Result<Vec<_>>>()?.join(",")))
        }
        data_type => {
            let text = Values::of(column)?.text(0, row)?.unwrap_or_default();
            let bare = *data_type == DataType::Boolean
                || (data_type.is_numeric() && text.parse::<f64>().is_ok_and(f64::is_finite));
            Ok(if bare { text } else { quoted(&text) })
        }
    }
}

fn items(array: std::sync::Arc<dyn Array>) -> io::Result<String> {
    let column = Values::of_one(&array)?;
    let parts = (0..array.len()).map(|row| value(&column, row));
    Ok(format!("[{}]", parts.collect::<io::Result<Vec<_>>>()?.join(",")))
}
