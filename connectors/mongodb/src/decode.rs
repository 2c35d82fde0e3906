//! Documents into batches of a scan's schema.

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bson::RawDocument;
use connector_spi::{Error, ErrorKind, Result};

use crate::cell::{Misfit, Policy, Row};

/// A batch is closed when its documents have so many bytes.
const LARGEST_BATCH_BYTES: usize = 16 << 20;

/// Batches that grow.
pub(crate) struct Decoder {
    row: Row,
    policy: Policy,
    schema: SchemaRef,
    /// The table, for errors.
    table: String,
    batch_rows: usize,
    rows: usize,
    bytes: usize,
    /// Which column of the row each column of the schema is, or which field of a struct in it; none: one each.
    places: Option<Vec<Vec<usize>>>,
}

/// A column, or the field of a struct that a path leads to. It is NULL where the struct is.
fn taken(columns: &[ArrayRef], path: &[usize]) -> Result<ArrayRef> {
    let lost = || Error::internal("a field that is not where it was read");
    let (at, rest) = path.split_first().ok_or_else(lost)?;
    let column = columns.get(*at).ok_or_else(lost)?;
    match rest {
        [] => Ok(column.clone()),
        _ => taken(column.as_struct_opt().ok_or_else(lost)?.columns(), rest),
    }
}

impl Decoder {
    pub(crate) fn new(row: Row, schema: SchemaRef, lenient: bool, table: String, batch_rows: usize) -> Self {
        let policy = Policy { lenient, misfits: 0 };
        Self { row, policy, schema, table, batch_rows: batch_rows.max(1), rows: 0, bytes: 0, places: None }
    }

    /// The same batches, in which each column is this one of the row, or this field of a struct in it.
    pub(crate) fn with_places(self, places: Vec<Vec<usize>>) -> Self {
        Self { places: Some(places), ..self }
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// Takes a document; a batch where one is whole. Errors: `BAD_DATA` for a value that does not fit.
    pub(crate) fn push(&mut self, document: &RawDocument) -> Result<Option<RecordBatch>> {
        self.row.push(document, &mut self.policy).map_err(|misfit| self.misfit(misfit))?;
        self.rows += 1;
        self.bytes += document.as_bytes().len();
        if self.rows >= self.batch_rows || self.bytes >= LARGEST_BATCH_BYTES {
            return self.finish();
        }
        Ok(None)
    }

    /// The rows so far.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let wrong = |cause| Error::internal(format!("documents do not make a batch: {cause}"));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let mut columns = self.row.finish().map_err(wrong)?;
        if let Some(places) = &self.places {
            columns = places.iter().map(|path| taken(&columns, path)).collect::<Result<_>>()?;
        }
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(wrong).map(Some)
    }

    /// How many values were NULL because they did not fit, since this was asked last.
    pub(crate) fn take_misfits(&mut self) -> u64 {
        std::mem::take(&mut self.policy.misfits)
    }

    fn misfit(&self, misfit: Misfit) -> Error {
        let Misfit { path, text, .. } = misfit;
        let table = &self.table;
        let text = match path.is_empty() {
            true => format!("a document of table \"{table}\" {text}"),
            false => format!("field \"{}\" of table \"{table}\" {text}", path.join(".").replace(".[]", "[]")),
        };
        Error::new(ErrorKind::BadData, text).hint(
            "Declare the column's type in the catalog's option \"tables\" (json takes everything), or set on_misfit = 'null'.",
        )
    }
}
