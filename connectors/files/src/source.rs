//! One catalog of files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Error, ErrorKind, Op, ReadContext, Refusal, RefusalCode, Result, Scan, SchemaEntry, Source,
    Split, Splits, Table, TableName,
};
use object_store::ObjectStore;

use crate::cache::Cache;
use crate::config::Config;
use crate::listing::{self, Dataset, Format};
use crate::parquet::{self, Footers};
use crate::store::Root;
use crate::text::{self, TextFacts};

const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// Over the many requests that the files of a table may take; each is bounded by itself.
const TABLE_TIMEOUT: Duration = Duration::from_secs(60);
const MOST_FACTS: usize = 20_000;

pub(crate) struct FileSource {
    root: Root,
    schemas: bool,
    footers: Arc<Footers>,
    texts: Cache<Arc<TextFacts>>,
}

impl FileSource {
    pub(crate) fn open(catalog: &str, config: &Config) -> Result<Self> {
        Ok(Self {
            root: Root::open(catalog, config)?,
            schemas: config.schemas,
            footers: Arc::new(Footers::new(MOST_FACTS)),
            texts: Cache::new(MOST_FACTS),
        })
    }

    async fn resolve(&self, name: &TableName) -> Result<Option<Dataset>> {
        listing::resolve(&self.root, self.schemas, name).await
    }

    async fn within<T>(&self, what: &str, time: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
            let message =
                format!("could not list {what} of catalog \"{}\" within {} s", self.root.catalog(), time.as_secs());
            Err(Error::new(ErrorKind::Unavailable, message))
        })
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource").field("root", &self.root).field("schemas", &self.schemas).finish()
    }
}

#[async_trait]
impl Source for FileSource {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        self.within("the files", LIST_TIMEOUT, listing::list(&self.root, self.schemas)).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let work = async {
            let Some(dataset) = self.resolve(name).await? else { return Ok(None) };
            let table = match dataset.format {
                Format::Parquet => parquet::table(&self.root, &dataset, &self.footers).await?,
                Format::Csv | Format::Ndjson => text::table(&self.root, &dataset, &self.texts).await?,
            };
            Ok(Some(table))
        };
        self.within(&format!("the files of table \"{name}\""), TABLE_TIMEOUT, work).await
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        match op {
            Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
            Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
            Op::Filter(_) => Absorbed::No(
                Refusal::new(RefusalCode::Source, "text files cannot be searched without reading them")
                    .remedy("keep the data as Parquet"),
            ),
            _ => Absorbed::No(Refusal::new(RefusalCode::Source, "the connector does not know the operation")),
        }
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits> {
        let work = async {
            let Some(dataset) = self.resolve(&scan.table).await? else {
                return Err(Error::not_found(format!(
                    "table \"{}\" of catalog \"{}\" does not exist any more",
                    scan.table, scan.catalog
                )));
            };
            let rows = text::rows(&dataset, &self.texts);
            Ok(Splits::of(text::splits(&self.root, &dataset, rows, wanted)?))
        };
        self.within(&format!("the files of table \"{}\"", scan.table), TABLE_TIMEOUT, work).await
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
        text::read(&self.root, scan, split, context)
    }

    fn remote_text(&self, scan: &Scan) -> Option<String> {
        let limit = scan.limit.map(|limit| format!(", at most {limit} rows a file")).unwrap_or_default();
        Some(format!("files of table {}{limit}", scan.table))
    }

    fn object_store(&self) -> Result<Option<Arc<dyn ObjectStore>>> {
        Ok(Some(Arc::new(self.root.clone())))
    }
}
