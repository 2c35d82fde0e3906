//! A schema on the server, and reads of its tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use connector_postgres::Postgres;
use connector_spi::{Connector, Options, ReadContext, ReadCounters, Result, Scan, Source, TableName, conformance};
use futures::TryStreamExt;
use tokio::sync::OnceCell;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// A schema that belongs to one test.
pub struct Fixture {
    pub url: String,
    pub schema: String,
    pub admin: Client,
    pub source: Arc<dyn Source>,
}

/// The schema `name`, empty; `None` (and a line that says so) where there is no server.
pub async fn fixture(name: &str) -> Option<Fixture> {
    let Ok(url) = std::env::var("TRIBUTARY_TEST_POSTGRES_URL") else {
        assert!(std::env::var_os("CI").is_none(), "TRIBUTARY_TEST_POSTGRES_URL is not set, and this is CI");
        println!("ignored: TRIBUTARY_TEST_POSTGRES_URL is not set");
        return None;
    };
    // A database of its own: other tests list the schemas of the one that the address names.
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(async || {
        let admin = connect(&url.parse().expect("a url")).await;
        let made = admin.batch_execute("CREATE DATABASE conformance ENCODING 'UTF8' TEMPLATE template0").await;
        let there = |error: &tokio_postgres::Error| error.code() == Some(&SqlState::DUPLICATE_DATABASE);
        assert!(made.as_ref().err().is_none_or(there), "{made:?}");
    })
    .await;
    let url = database(&url, "conformance");
    let admin = connect(&url.parse().expect("a url")).await;
    let schema = format!("conformance_{name}");
    let start =
        format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}, public");
    admin.batch_execute(&start).await.expect("a schema");
    // Small tables are read in several pieces, as large ones are.
    let source = open(&url, &[("split_size", "8192")]);
    Some(Fixture { url, schema, admin, source })
}

pub async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// The address of another database of the server.
pub fn database(url: &str, name: &str) -> String {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = address.rsplit_once('/').expect("postgres://user:password@host:port/database");
    format!("{server}/{name}?{parameters}")
}

/// A source as the engine opens it.
pub fn open(url: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    let pairs = [("url", url)].into_iter().chain(more.iter().copied());
    let values: BTreeMap<String, _> = pairs.map(|(key, value)| (key.to_owned(), value.into())).collect();
    let options = Options::check(Postgres.options(), values).expect("options");
    Postgres.open("pg", &options).expect("a source")
}

pub fn context(batch_rows: usize) -> ReadContext {
    ReadContext { batch_rows, counters: Arc::new(ReadCounters::default()) }
}

impl Fixture {
    /// A user who may log in with the password `secret` and, unless `rights` say otherwise, may nothing.
    pub async fn user(&self, name: &str, rights: &str) {
        self.run(&format!(
            "DO $$ BEGIN CREATE ROLE {name}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             ALTER ROLE {name} LOGIN PASSWORD 'secret' {rights}; GRANT USAGE ON SCHEMA {} TO {name}",
            self.schema
        ))
        .await;
    }

    pub async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub fn name(&self, table: &str) -> TableName {
        TableName::new(&self.schema, table)
    }

    /// Everything of a table.
    pub async fn scan(&self, table: &str) -> Scan {
        scan(&*self.source, self.name(table)).await
    }

    pub async fn read(&self, scan: &Scan) -> Result<RecordBatch> {
        read(&*self.source, scan).await
    }

    /// The `id` of the rows that a scan returns, in order.
    pub async fn ids(&self, scan: &Scan) -> Vec<i32> {
        let batch =
            self.read(scan).await.unwrap_or_else(|error| panic!("{:?}: {error:?}", self.source.remote_text(scan)));
        ids(&batch)
    }
}

pub fn ids(batch: &RecordBatch) -> Vec<i32> {
    let column = batch.column_by_name("id").expect("a column id").as_primitive::<Int32Type>();
    let mut ids = column.values().to_vec();
    ids.sort_unstable();
    ids
}

pub async fn scan(source: &dyn Source, name: TableName) -> Scan {
    let table = source.table(&name).await.expect("described").expect("a table");
    Scan::new("pg", name, &table)
}

/// All rows in one batch.
pub async fn read(source: &dyn Source, scan: &Scan) -> Result<RecordBatch> {
    // Its guard is held until the last split is read.
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
