//! The five verbs.

use std::sync::Arc;

use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Column, Op, ReadContext, Result, Scan, SchemaEntry, Source, Split, Splits, Table, TableName,
    Write,
};

use crate::address::Address;
use crate::client::Deployment;
use crate::metadata::{self, Facts, Samples};
use crate::request::{Part, Request};
use crate::write::Writer;
use crate::{passthrough, pushdown, read, split};

/// One deployment.
#[derive(Debug)]
pub(crate) struct MongodbSource {
    deployment: Arc<Deployment>,
    samples: Arc<Samples>,
    writer: Writer,
}

impl MongodbSource {
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        let samples = Arc::new(Samples::default());
        let writer = Writer { deployment: Arc::clone(&deployment), samples: Arc::clone(&samples) };
        Self { deployment, samples, writer }
    }
}

#[async_trait]
impl Source for MongodbSource {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        metadata::list(&self.deployment).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        metadata::table(&self.deployment, &self.samples, name).await
    }

    async fn query(&self, arguments: &[String]) -> Result<Table> {
        passthrough::describe(&self.deployment, arguments).await
    }

    fn field(&self, column: &Column, path: &[&str]) -> Option<Column> {
        Address::of(column).ok()?.below(path)?.column().ok()
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        pushdown::absorb(scan, op)
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits> {
        split::cut(&self.deployment, scan, wanted).await
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
        read::read(&self.deployment, scan, split, context).await
    }

    fn remote_text(&self, scan: &Scan) -> Option<String> {
        let facts = Facts::read(&scan.native);
        let collection = facts.of.map_or_else(|| scan.table.table.clone(), |(_, collection)| collection);
        Request::of(scan, &Part::default()).ok().map(|request| request.text(&collection))
    }

    fn writer(&self) -> Option<&dyn Write> {
        Some(&self.writer)
    }
}
