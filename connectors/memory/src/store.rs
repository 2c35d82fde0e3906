//! The schemas, tables and rows of one catalog, behind one lock that is never held across a wait.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use connector_spi::{Error, ErrorKind, Result, TableName};

/// A table: its columns, and batches that are only ever appended.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

impl Stored {
    pub(crate) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum()
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

    pub(crate) fn read(&self) -> MutexGuard<'_, Schemas> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table as it is now; cheap, since batches are shared.
    pub(crate) fn table(&self, name: &TableName) -> Option<Stored> {
        self.read().get(&name.schema)?.get(&name.table).cloned()
    }

    pub(crate) fn create_schema(&self, schema: &str) -> Result<()> {
        let mut schemas = self.read();
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
        let mut schemas = self.read();
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

    pub(crate) fn create_table(&self, name: &TableName, schema: SchemaRef) -> Result<()> {
        let mut schemas = self.read();
        let tables = schemas.get_mut(&name.schema).ok_or_else(|| self.no_schema(&name.schema))?;
        if tables.contains_key(&name.table) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("table \"{}.{name}\" already exists", self.catalog),
            ));
        }
        tables.insert(name.table.clone(), Stored { schema, batches: Vec::new() });
        Ok(())
    }

    pub(crate) fn drop_table(&self, name: &TableName) -> Result<()> {
        let mut schemas = self.read();
        let tables = schemas.get_mut(&name.schema).ok_or_else(|| self.no_schema(&name.schema))?;
        tables.remove(&name.table).map(drop).ok_or_else(|| self.no_table(name))
    }

    /// Appends batches if the table still has the columns that they were checked against.
    pub(crate) fn append(&self, name: &TableName, checked: &SchemaRef, batches: Vec<RecordBatch>) -> Result<()> {
        let mut schemas = self.read();
        let table = schemas.get_mut(&name.schema).and_then(|tables| tables.get_mut(&name.table));
        let table = table.filter(|table| table.schema == *checked).ok_or_else(|| self.no_table(name))?;
        table.batches.extend(batches);
        Ok(())
    }

    fn no_schema(&self, schema: &str) -> Error {
        Error::not_found(format!("schema \"{}.{schema}\" does not exist", self.catalog))
    }

    pub(crate) fn no_table(&self, name: &TableName) -> Error {
        Error::not_found(format!("table \"{}.{name}\" does not exist", self.catalog))
    }
}
