//! The five verbs for reading.

use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Column, Error, Op, ReadContext, Result, Scan, SchemaEntry, Source, Split, Splits, Table,
    TableEntry, TableKind, TableName, TableStatistics, Write,
};
use futures::StreamExt;

use crate::filter;
use crate::snapshot::Snapshots;
use crate::store::Store;

/// One catalog in memory.
#[derive(Debug)]
pub(crate) struct MemorySource {
    pub(crate) store: Store,
    snapshots: Snapshots,
}

impl MemorySource {
    pub(crate) fn new(catalog: &str) -> Self {
        Self { store: Store::new(catalog), snapshots: Snapshots::default() }
    }

    /// The rows of a split with everything the scan absorbed.
    fn rows(&self, scan: &Scan, split: &Split) -> Result<Vec<RecordBatch>> {
        let mut left = scan.limit.unwrap_or(u64::MAX);
        let mut found = Vec::new();
        for batch in self.snapshots.rows(split)? {
            let kept = filter::apply(&batch, &scan.filters)?;
            let take = kept.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX));
            if take > 0 {
                left -= take as u64;
                found.push(project(scan, &kept.slice(0, take))?);
            }
        }
        Ok(found)
    }
}

/// The columns of the scan; the number of rows stays even where there are none.
fn project(scan: &Scan, batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = scan.projection.iter().map(|at| batch.column(*at).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(scan.schema(), columns, &options)
        .map_err(|cause| Error::internal(format!("a table in memory does not have its columns: {cause}")))
}

#[async_trait]
impl Source for MemorySource {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        let schemas = self.store.read();
        let entry = |name: &String| TableEntry { name: name.clone(), kind: TableKind::Table };
        let schema = |(name, tables): (&String, &std::collections::BTreeMap<String, _>)| SchemaEntry {
            name: name.clone(),
            tables: tables.keys().map(entry).collect(),
        };
        Ok(schemas.iter().map(schema).collect())
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let Some(stored) = self.store.table(name) else { return Ok(None) };
        let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            Column::new(field.name(), field.data_type().clone(), field.is_nullable())
        };
        let mut table = Table::new(stored.schema.fields().iter().map(column).collect());
        table.statistics = TableStatistics {
            rows: Some(stored.rows() as u64),
            bytes: Some(stored.bytes() as u64),
            columns: Vec::new(),
        };
        Ok(Some(table))
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        match op {
            Op::Filter(predicate) if filter::known(predicate, &scan.columns) => {
                Absorbed::Exact(scan.with_filter(predicate.clone()))
            }
            Op::Filter(_) => {
                Absorbed::No("the types of column and value differ, or the pattern has an escape of its own")
            }
            Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
            Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
            _ => Absorbed::No("not known to tables in memory"),
        }
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits> {
        let stored = self.store.table(&scan.table).ok_or_else(|| self.store.no_table(&scan.table))?;
        Ok(self.snapshots.cut(stored, wanted))
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
        let rows = self.rows(scan, split)?;
        rows.iter().for_each(|batch| context.counters.add_bytes(batch.get_array_memory_size()));
        Ok(futures::stream::iter(rows.into_iter().map(Ok)).boxed())
    }

    fn resident(&self, scan: &Scan, split: &Split) -> Result<Option<Vec<RecordBatch>>> {
        self.rows(scan, split).map(Some)
    }

    fn writer(&self) -> Option<&dyn Write> {
        Some(self)
    }
}
