//! The five verbs for reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Column, Error, Op, ReadContext, Result, Retry, Scan, SchemaEntry, Source, Split, Splits,
    Table, TableEntry, TableKind, TableName, TableStatistics, Write,
};

use crate::pushdown;
use crate::read::Reader;
use crate::snapshot::Snapshots;
use crate::store::{Store, Stored};

/// One catalog in memory.
#[derive(Debug)]
pub(crate) struct MemorySource {
    pub(crate) store: Store,
    snapshots: Snapshots,
}

impl MemorySource {
    pub(crate) fn new(catalog: &str) -> Self {
        Self { store: Store::new(catalog), snapshots: Snapshots::new() }
    }

    fn reader(&self, scan: &Scan, split: &Split) -> Result<Reader> {
        Ok(Reader::new(scan, self.snapshots.rows(scan, split)?))
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        let entry = |name: &String| TableEntry { name: name.clone(), kind: TableKind::Table };
        let schema = |(name, tables): (&String, &BTreeMap<String, Stored>)| SchemaEntry {
            name: name.clone(),
            tables: tables.keys().map(entry).collect(),
        };
        Ok(self.store.schemas().iter().map(schema).collect())
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let Some(stored) = self.store.table(name) else { return Ok(None) };
        let statistics =
            TableStatistics { rows: Some(stored.rows as u64), bytes: Some(stored.bytes as u64), columns: Vec::new() };
        Ok(Some(Table { statistics, ..Table::new(columns(&stored)) }))
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        pushdown::absorb(scan, op)
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits> {
        let stored = self.store.table(&scan.table).ok_or_else(|| self.store.no_table(&scan.table))?;
        // Rows are read by the place of their column.
        if columns(&stored) != scan.columns {
            let text = format!("table \"{}.{}\" changed while the query was planned", scan.catalog, scan.table);
            return Err(Error::not_found(text).hint("Run the query again.").retry(Retry::Now));
        }
        Ok(self.snapshots.cut(&stored, wanted))
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
        Ok(self.reader(scan, split)?.stream(context))
    }

    fn resident(&self, scan: &Scan, split: &Split) -> Result<Option<Vec<RecordBatch>>> {
        self.reader(scan, split)?.collect().map(Some)
    }

    fn writer(&self) -> Option<&dyn Write> {
        Some(self)
    }
}

fn columns(stored: &Stored) -> Vec<Column> {
    let column = |field: &Arc<Field>| Column::new(field.name(), field.data_type().clone(), field.is_nullable());
    stored.schema.fields().iter().map(column).collect()
}
