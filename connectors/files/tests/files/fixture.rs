//! A catalog over a folder of its own, and queries over its tables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use connector_files::{Files, FloatBounds};
use connector_spi::{Connector, Error, Options, ReadContext, Scan, Source, Table, TableName};
use datafusion::catalog::MemTable;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::session_state::SessionStateBuilder;
use futures::TryStreamExt;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use url::Url;

pub const CATALOG: &str = "shop";

/// A catalog and the folder it is made of.
pub struct Catalog {
    pub folder: TempDir,
    pub source: Arc<dyn Source>,
}

pub fn open(pairs: &[(&str, &str)]) -> connector_spi::Result<Arc<dyn Source>> {
    let values = pairs.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect::<BTreeMap<_, _>>();
    Files.open(CATALOG, &Options::check(Files.options(), values)?)
}

impl Catalog {
    pub fn new() -> Self {
        Self::with(&[])
    }

    pub fn with(more: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut pairs = vec![("location", folder.path().to_str().expect("UTF-8"))];
        pairs.extend_from_slice(more);
        let source = open(&pairs).expect("opens");
        Self { folder, source }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, content).expect("written");
    }

    /// Writes the rows of a query as a Parquet file.
    pub async fn parquet(&self, name: &str, query: &str) {
        std::fs::create_dir_all(self.path(name).parent().expect("a parent")).expect("folders");
        let copy = format!("COPY ({query}) TO '{}' STORED AS PARQUET", self.path(name).display());
        SessionContext::new().sql(&copy).await.expect("plans").collect().await.expect("writes");
    }

    pub async fn table(&self, name: &str) -> Result<Table, Error> {
        let (schema, table) = name.split_once('.').unwrap_or(("main", name));
        match self.source.table(&TableName::new(schema, table)).await? {
            Some(table) => Ok(table),
            None => panic!("table {name} is not there"),
        }
    }

    /// The columns of a table, such as `a int64`.
    pub async fn columns(&self, name: &str) -> String {
        let table = self.table(name).await.expect("describes");
        let column = |c: &connector_spi::Column| format!("{} {}", c.name, c.data_type.to_string().to_lowercase());
        table.columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    /// Describing or reading the table must fail; the first line of the error and its hint.
    pub async fn error(&self, name: &str) -> String {
        let error = match self.table(name).await {
            Err(error) => error,
            Ok(_) => self.text(name, 1).await.expect_err("fails"),
        };
        error.to_string()
    }

    /// All rows of a text table, in the order of its splits.
    pub async fn text(&self, name: &str, wanted: usize) -> Result<Vec<RecordBatch>, Error> {
        let (schema, table) = name.split_once('.').unwrap_or(("main", name));
        let table_name = TableName::new(schema, table);
        let scan = Scan::new(CATALOG, table_name, &self.table(name).await?);
        self.read(&scan, wanted).await
    }

    pub async fn read(&self, scan: &Scan, wanted: usize) -> Result<Vec<RecordBatch>, Error> {
        let mut batches = Vec::new();
        for split in self.source.splits(scan, wanted).await?.splits {
            // As it would arrive on a worker.
            let split = serde_json::from_str(&serde_json::to_string(&split).expect("encodes")).expect("decodes");
            let context = ReadContext { batch_rows: 3, counters: Arc::default() };
            let found = self.source.read(scan, &split, context).await?.try_collect::<Vec<_>>().await?;
            assert!(found.iter().all(|batch| batch.schema() == scan.schema()), "batches have the schema of the scan");
            batches.extend(found);
        }
        Ok(batches)
    }

    /// A session in which the named tables can be queried.
    pub async fn context(&self, tables: &[&str]) -> SessionContext {
        let config = SessionConfig::new()
            .with_target_partitions(3)
            .set_usize("datafusion.optimizer.repartition_file_min_size", 1);
        let rules = SessionStateBuilder::new_with_default_features();
        let state = rules.with_config(config).with_physical_optimizer_rule(Arc::new(FloatBounds)).build();
        let context = SessionContext::new_with_state(state);
        let store = self.source.object_store().expect("a store").expect("a store");
        context.register_object_store(&Url::parse(&format!("catalog://{CATALOG}")).expect("a URL"), store);
        for name in tables {
            let table = self.table(name).await.expect("describes");
            match &table.files {
                Some(provider) => context.register_table(*name, provider.clone()).expect("registers"),
                None => {
                    let batches = self.text(name, 4).await.expect("reads");
                    let table = MemTable::try_new(table.schema(), vec![batches]).expect("fits");
                    context.register_table(*name, Arc::new(table)).expect("registers")
                }
            };
        }
        context
    }

    /// The rows of a query over the named tables, as a box.
    pub async fn sql(&self, tables: &[&str], query: &str) -> String {
        let batches = self.context(tables).await.sql(query).await.expect("plans").collect().await.expect("runs");
        pretty_format_batches(&batches).expect("prints").to_string()
    }

    /// The one value of a query.
    pub async fn value(&self, tables: &[&str], query: &str) -> String {
        let text = self.sql(tables, query).await;
        text.lines().nth(3).expect("a row").trim_matches(['|', ' ']).to_owned()
    }
}

pub async fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(content).await.expect("packs");
    encoder.shutdown().await.expect("packs");
    encoder.into_inner()
}

pub async fn zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(content).await.expect("packs");
    encoder.shutdown().await.expect("packs");
    encoder.into_inner()
}
