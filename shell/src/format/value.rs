//! Values as text, the same in every text format.

use std::io;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Shows the values of one batch.
pub(super) struct Values<'a> {
    columns: Vec<(&'a dyn Array, ArrayFormatter<'a>)>,
}

const OPTIONS: FormatOptions<'static> = FormatOptions::new()
    .with_null("NULL")
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
    .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"));

impl<'a> Values<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> io::Result<Self> {
        let column = |array: &'a std::sync::Arc<dyn Array>| {
            let formatter = ArrayFormatter::try_new(array.as_ref(), &OPTIONS).map_err(io::Error::other)?;
            Ok((array.as_ref(), formatter))
        };
        Ok(Self { columns: batch.columns().iter().map(column).collect::<io::Result<_>>()? })
    }

    /// The text of a value; `None` for NULL.
    pub(super) fn text(&self, column: usize, row: usize) -> io::Result<Option<String>> {
        let (array, formatter) = &self.columns[column];
        if array.is_null(row) {
            return Ok(None);
        }
        let text = formatter.value(row).try_to_string().map_err(io::Error::other)?;
        Ok(Some(if is_bytes(array.data_type()) { format!("\\x{text}") } else { text }))
    }
}

/// Whether values are numbers, which stand to the right.
pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

impl Values<'_> {
    /// One column as a batch, for values inside lists and structs.
    pub(super) fn of_one(array: &std::sync::Arc<dyn Array>) -> io::Result<RecordBatch> {
        RecordBatch::try_from_iter_with_nullable([("value", std::sync::Arc::clone(array), true)])
            .map_err(io::Error::other)
    }
}
