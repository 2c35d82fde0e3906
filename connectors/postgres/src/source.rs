//! The five verbs.

use std::sync::Arc;

use async_trait::async_trait;
use connector_spi::{Absorbed, BatchStream, Op, ReadContext, Result, Scan, SchemaEntry, Source, Split, Splits, Table, TableName};

use crate::pool::Pool;
use crate::{metadata, pushdown, read, text};

/// One database.
#[derive(Debug)]
pub(crate) struct PostgresSource {
    pool: Arc<Pool>,
}

impl PostgresSource {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        let lease = self.pool.lease().await?;
        let entries = metadata::list(lease.client()?, &self.pool.place(None)).await?;
        lease.done();
        Ok(entries)
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let lease = self.pool.lease().await?;
        let table = metadata::table(lease.client()?, name, &self.pool.place(Some(name.to_string()))).await?;
        lease.done();
        Ok(table)
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        pushdown::absorb(scan, op)
    }

    async fn splits(&self, _: &Scan, _: usize) -> Result<Splits> {
        // One statement is one snapshot; parts of a table need an exported one.
        Ok(Splits::whole())
    }

    async fn read(&self, scan: &Scan, _: &Split, context: ReadContext) -> Result<BatchStream> {
        read::read(Arc::clone(&self.pool), scan, context).await
    }

    fn remote_text(&self, scan: &Scan) -> Option<String> {
        text::select(scan)
    }
}
