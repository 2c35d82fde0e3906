//! The five verbs.

use std::sync::Arc;

use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Op, ReadContext, Result, Scan, SchemaEntry, Source, Split, Splits, Table, TableName,
};

use crate::metadata::{self, Facts};
use crate::pool::Pool;
use crate::{pushdown, read, sql};

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
        metadata::list(&self.pool).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        metadata::table(&self.pool, name).await
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        pushdown::absorb(scan, op)
    }

    async fn splits(&self, scan: &Scan, _wanted: usize) -> Result<Splits> {
        // One statement is one snapshot; parts of a table would need an exported one.
        let Facts { rows, bytes, .. } = Facts::read(&scan.native);
        let rows = match (rows, scan.limit) {
            (Some(rows), Some(limit)) => Some(rows.min(limit)),
            (rows, limit) => rows.or(limit),
        };
        Ok(Splits::of(vec![Split { token: Vec::new(), rows, bytes }]))
    }

    async fn read(&self, scan: &Scan, _split: &Split, context: ReadContext) -> Result<BatchStream> {
        read::read(&self.pool, scan, context).await
    }

    fn remote_text(&self, scan: &Scan) -> Option<String> {
        sql::select(scan).ok()
    }
}
