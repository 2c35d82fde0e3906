//! A database on the server, and reads of its collections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use bson::Document;
use connector_mongodb::Mongodb;
use connector_spi::{Connector, Options, ReadContext, ReadCounters, Result, Scan, Source, TableName, conformance};
use futures::TryStreamExt;
use mongodb::{Client, Collection, Database};

/// A database that belongs to one test.
pub struct Fixture {
    pub url: String,
    pub client: Client,
    pub database: Database,
    pub source: Arc<dyn Source>,
}

/// What `servers/up` says of its servers; `None` (and a line that says so) where it did not run.
pub fn said(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    if value.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set, and this is CI");
        println!("ignored: {variable} is not set: eval \"$(sql-tests/servers/up)\"");
    }
    value
}

/// The database `name`, empty; `None` where there is no server.
pub async fn fixture(name: &str) -> Option<Fixture> {
    Some(Fixture::at(said("TRIBUTARY_TEST_MONGODB_URL")?, name).await)
}

/// Where a server is that a url of digits names.
pub async fn address(url: &str) -> SocketAddr {
    let options = mongodb::options::ClientOptions::parse(url).await.expect("a url");
    options.hosts[0].to_string().parse().expect("an address of digits")
}

impl Fixture {
    /// The database `name` of a server, empty.
    pub async fn at(url: String, name: &str) -> Self {
        let client = Client::with_uri_str(&url).await.expect("a client");
        let database = client.database(&format!("conformance_{name}"));
        database.drop().await.expect("dropped");
        let source = open(&url, &[]);
        Self { url, client, database, source }
    }
}

/// A source as the engine opens it; samples are never kept, and small collections are read in several pieces.
pub fn open(url: &str, more: &[(&str, serde_json::Value)]) -> Arc<dyn Source> {
    let pairs = [("url", url.into()), ("schema_ttl", 0.into()), ("split_size", 4096.into())];
    let mut values: BTreeMap<String, serde_json::Value> =
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    values.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let options = Options::check(Mongodb.options(), values).expect("options");
    Mongodb.open("m", &options).expect("a source")
}

pub fn context(batch_rows: usize) -> ReadContext {
    ReadContext { batch_rows, counters: Arc::new(ReadCounters::default()) }
}

impl Fixture {
    pub fn name(&self, table: &str) -> TableName {
        TableName::new(self.database.name(), table)
    }

    pub async fn fill(&self, table: &str, documents: Vec<Document>) -> Collection<Document> {
        let collection = self.database.collection(table);
        collection.insert_many(documents).await.expect("inserted");
        collection
    }

    /// Everything of a collection.
    pub async fn scan(&self, table: &str) -> Scan {
        scan(&*self.source, self.name(table)).await
    }

    pub async fn read(&self, scan: &Scan) -> Result<RecordBatch> {
        read(&*self.source, scan).await
    }
}

pub async fn scan(source: &dyn Source, name: TableName) -> Scan {
    let table = source.table(&name).await.expect("described").expect("a table");
    Scan::new("m", name, &table)
}

/// All rows in one batch.
pub async fn read(source: &dyn Source, scan: &Scan) -> Result<RecordBatch> {
    let cut = source.splits(scan, 4).await?;
    let mut batches = Vec::new();
    for split in &cut.splits {
        let read: Vec<RecordBatch> = source.read(scan, split, context(8192)).await?.try_collect().await?;
        batches.extend(read);
    }
    Ok(conformance::whole(scan, &batches).expect("the scan's schema"))
}

/// A value as text; NULL as `NULL`.
pub fn shown(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    arrow::util::display::array_value_to_string(column, row).expect("a text")
}

/// Each row of a column.
pub fn all(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    (0..batch.num_rows()).map(|row| shown(column, row)).collect()
}
