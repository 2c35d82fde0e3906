//! Rows on their way into a source: INSERT runs on the coordinator, once.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use connector_spi::{Error, Source, TableName};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::sink::DataSink;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use futures::StreamExt;

use crate::catalog::Resolved;
use crate::error::{from_datafusion, to_datafusion};

/// Writes into one table of a source.
#[derive(Debug)]
pub(crate) struct SourceSink {
    catalog: String,
    name: TableName,
    schema: SchemaRef,
    source: Arc<dyn Source>,
}

impl SourceSink {
    /// Errors: `UNSUPPORTED` where the source cannot be written.
    pub(crate) fn new(table: &Resolved) -> connector_spi::Result<Self> {
        if table.source.writer().is_none() {
            return Err(read_only(&table.catalog));
        }
        Ok(Self {
            catalog: table.catalog.clone(),
            name: table.name.clone(),
            schema: table.table.schema(),
            source: Arc::clone(&table.source),
        })
    }
}

/// `UNSUPPORTED`: the catalog's source has no writer.
pub fn read_only(catalog: &str) -> Error {
    Error::unsupported(format!("catalog \"{catalog}\" cannot be written; its connector only reads"))
}

impl DisplayAs for SourceSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table={}.{}", self.catalog, self.name)
    }
}

#[async_trait]
impl DataSink for SourceSink {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(&self, data: SendableRecordBatchStream, _: &Arc<TaskContext>) -> Result<u64> {
        let rows = data.map(|batch| batch.map_err(|error| from_datafusion(&error))).boxed();
        let writer = self.source.writer().ok_or_else(|| to_datafusion(read_only(&self.catalog)))?;
        let place = |error: Error| to_datafusion(error.with("catalog", &self.catalog).with("table", &self.name));
        writer.insert(&self.name, rows).await.map_err(place)
    }
}
