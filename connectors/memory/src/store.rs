//! The schemas, tables and rows of one catalog, behind one lock that is never held across a wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use connector_spi::{Error, ErrorKind, Result, TableName};

use crate::read::bytes;

/// Batches are made no larger than this by putting small ones together.
const BATCH_ROWS: usize = 8192;

/// A table: its columns, and rows that are only ever appended. A clone is a snapshot and costs next to nothing.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Made anew with the table, so that the pointer tells a table from one created later under its name.
    pub(crate) schema: SchemaRef,
    /// Copied on write where a snapshot still reads it.
    pub(crate) batches: Arc<Vec<RecordBatch>>,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl Stored {
    fn new(schema: &Schema) -> Self {
        Self { schema: Arc::new(schema.clone()), batches: Arc::default(), rows: 0, bytes: 0 }
    }

    /// Appends a batch. A batch is put together with the one before it as long as that is not larger, so that
    /// many small inserts leave few batches, and each row is copied a few times at most.
    fn append(&mut self, batch: RecordBatch) {
        let batches = Arc::make_mut(&mut self.batches);
        self.rows += batch.num_rows();
        self.bytes += bytes(&batch);
        let mut last = batch;
        while let Some(before) = batches.last()
            && before.num_rows() <= last.num_rows()
            && before.num_rows() + last.num_rows() <= BATCH_ROWS
            && let Ok(both) = concat_batches(&self.schema, [before, &last])
        {
            self.bytes = (self.bytes + bytes(&both)).saturating_sub(bytes(before) + bytes(&last));
            batches.pop();
            last = both;
        }
        batches.push(last);
    }
}

type Schemas = BTreeMap<String, BTreeMap<String, Stored>>;

/// Everything the catalog holds.
#[derive(Debug)]
pub(crate) struct Store {
    catalog: String,
    schemas: Mutex<Schemas>,
}

impl Store {
    pub(crate) fn new(catalog: &str) -> Self {
        let schemas = Mutex::new(BTreeMap::from([("main".to_owned(), BTreeMap::new())]));
        Self { catalog: catalog.to_owned(), schemas }
    }

    pub(crate) fn schemas(&self) -> MutexGuard<'_, Schemas> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table as it is now; cheap, since batches are shared.
    pub(crate) fn table(&self, name: &TableName) -> Option<Stored> {
        self.schemas().get(&name.schema)?.get(&name.table).cloned()
    }

    pub(crate) fn create_schema(&self, schema: &str) -> Result<()> {
        let mut schemas = self.schemas();
        if schemas.contains_key(schema) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("schema \"{}.{schema}\" already exists", self.catalog),
            ));
        }
        schemas.insert(schema.to_owned(), BTreeMap::new());
        Ok(())
    }

    pub(crate) fn drop_schema(&self, schema: &str) -> Result<()> {
        let mut schemas = self.schemas();
        let tables = schemas.get(schema).ok_or_else(|| self.no_schema(schema))?;
        if schema == "main" {
            return Err(Error::invalid(format!("schema \"{}.main\" cannot be dropped", self.catalog)));
        }
        if !tables.is_empty() {
            return Err(Error::invalid(format!("schema \"{}.{schema}\" is not empty", self.catalog))
                .hint("Drop its tables first."));
        }
        schemas.remove(schema);
        Ok(())
    }

    pub(crate) fn create_table(&self, name: &TableName, schema: &Schema) -> Result<()> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = schema.fields().iter().find(|field| !seen.insert(field.name())) {
            let text = format!("table {} cannot have two columns \"{}\"", self.shown(name), twice.name());
            return Err(Error::invalid(text));
        }
        let mut schemas = self.schemas();
        let tables = schemas.get_mut(&name.schema).ok_or_else(|| self.no_schema(&name.schema))?;
        if tables.contains_key(&name.table) {
            let text = format!("table {} already exists", self.shown(name));
            return Err(Error::new(ErrorKind::AlreadyExists, text));
        }
        tables.insert(name.table.clone(), Stored::new(schema));
        Ok(())
    }

    pub(crate) fn drop_table(&self, name: &TableName) -> Result<()> {
        let mut schemas = self.schemas();
        let tables = schemas.get_mut(&name.schema).ok_or_else(|| self.no_schema(&name.schema))?;
        tables.remove(&name.table).map(drop).ok_or_else(|| self.no_table(name))
    }

    /// Appends all batches at once, if the table is still the one whose schema they were checked against.
    pub(crate) fn append(&self, name: &TableName, checked: &SchemaRef, batches: Vec<RecordBatch>) -> Result<()> {
        let mut schemas = self.schemas();
        let table = schemas.get_mut(&name.schema).and_then(|tables| tables.get_mut(&name.table));
        let table = table.filter(|table| Arc::ptr_eq(&table.schema, checked)).ok_or_else(|| {
            self.no_table(name).detail("It was dropped while rows were on their way into it; none of them is stored.")
        })?;
        batches.into_iter().filter(|batch| batch.num_rows() > 0).for_each(|batch| table.append(batch));
        Ok(())
    }

    /// A table's full name in quotes, for messages.
    pub(crate) fn shown(&self, name: &TableName) -> String {
        format!("\"{}.{name}\"", self.catalog)
    }

    fn no_schema(&self, schema: &str) -> Error {
        Error::not_found(format!("schema \"{}.{schema}\" does not exist", self.catalog))
    }

    pub(crate) fn no_table(&self, name: &TableName) -> Error {
        Error::not_found(format!("table {} does not exist", self.shown(name)))
    }
}
