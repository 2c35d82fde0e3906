//! The five verbs.

use std::sync::Arc;

use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Guard, Op, ReadContext, Result, Scan, SchemaEntry, Source, Split, Splits, Table, TableName,
    Write,
};

use crate::metadata;
use crate::pool::Pool;
use crate::split::Part;
use crate::write::Writer;
use crate::{passthrough, pushdown, read, split, sql};

/// One database.
#[derive(Debug)]
pub(crate) struct PostgresSource {
    pool: Arc<Pool>,
    writer: Writer,
}

impl PostgresSource {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { writer: Writer(Arc::clone(&pool)), pool }
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        metadata::list(&self.pool).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        metadata::table(&self.pool, name).await
    }

    async fn tables(&self, names: &[TableName]) -> Vec<Result<Option<Table>>> {
        metadata::tables(&self.pool, names).await
    }

    async fn query(&self, arguments: &[String]) -> Result<Table> {
        passthrough::describe(&self.pool, arguments).await
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        pushdown::absorb(scan, op)
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits> {
        split::cut(&self.pool, scan, wanted).await
    }

    fn recut(&self, scan: &Scan, splits: Vec<Split>) -> Vec<Split> {
        split::recut(scan, splits)
    }

    async fn admit(&self, readers: usize) -> Result<Option<Guard>> {
        self.pool.admit(readers).await.map(|admitted| Some(Arc::new(admitted) as Guard))
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
        read::read(&self.pool, scan, split, context).await
    }

    fn remote_text(&self, scan: &Scan) -> Option<String> {
        sql::select(scan, &Part::default()).ok()
    }

    fn writer(&self) -> Option<&dyn Write> {
        Some(&self.writer)
    }
}
