//! A source seen by DataFusion as catalog, schema and table.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use connector_spi::{Absorbed, Error, Op, Refusal, RefusalCode, Scan, Source, Split, Table, TableName};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::distribute::deal;
use crate::error::to_datafusion;
use crate::estimate::passing;
use crate::field::Columns;
use crate::predicate::predicate;
use crate::session::{EngineSettings, Pushdown};
use crate::sink::SourceSink;
use crate::{Catalogs, ScanExec};

/// What a source said of a table, and which: its catalog may be made anew in between.
type Answer = (Arc<dyn Source>, connector_spi::Result<Option<Arc<Table>>>);

/// What sources said of the tables of a query, by catalog and name.
type Known = HashMap<(String, TableName), Answer>;

/// The catalogs of one query.
#[derive(Debug)]
pub struct CatalogList {
    catalogs: Arc<Catalogs>,
    pushdown: Pushdown,
    known: Arc<Mutex<Known>>,
}

impl CatalogList {
    /// The catalogs as one query sees them.
    pub fn new(catalogs: Arc<Catalogs>, pushdown: Pushdown) -> Self {
        Self { catalogs, pushdown, known: Arc::default() }
    }

    /// Asks sources for the tables that a query is going to name, all at once, so that it does not wait for one after the
    /// other. What a source answers, errors too, the query hears when it comes to the table.
    pub async fn learn(list: &dyn CatalogProviderList, tables: Vec<(String, TableName)>) {
        let Some(list) = (list as &dyn Any).downcast_ref::<Self>() else { return };
        let mut wanted: HashMap<String, Vec<TableName>> = HashMap::new();
        for (catalog, name) in tables {
            if name.schema == crate::information::NAME || crate::passthrough::arguments(&name).is_some() {
                continue;
            }
            let names = wanted.entry(catalog).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let ask = wanted.into_iter().map(|(catalog, names)| async move {
            // Without its source the table will say what is wrong.
            let source = list.catalogs.get(&catalog).and_then(|catalog| catalog.source()).ok()?;
            let answers = source.tables(&names).await.into_iter();
            let answers = answers.map(|answer| (Arc::clone(&source), answer.map(|table| table.map(Arc::new))));
            Some(names.into_iter().map(move |name| (catalog.clone(), name)).zip(answers).collect::<Vec<_>>())
        });
        let answers = futures::future::join_all(ask).await;
        list.known.lock().unwrap_or_else(PoisonError::into_inner).extend(answers.into_iter().flatten().flatten());
    }
}

impl CatalogProviderList for CatalogList {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        self.catalogs.all().iter().map(|catalog| catalog.name().to_owned()).collect()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        // A catalog that does not exist is found out by the table, which can say so with a suggestion.
        Some(Arc::new(OneCatalog {
            catalogs: Arc::clone(&self.catalogs),
            name: name.to_owned(),
            pushdown: self.pushdown,
            known: Arc::clone(&self.known),
        }))
    }
}

#[derive(Debug, Clone)]
struct OneCatalog {
    catalogs: Arc<Catalogs>,
    name: String,
    pushdown: Pushdown,
    known: Arc<Mutex<Known>>,
}

impl CatalogProvider for OneCatalog {
    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(OneSchema { catalog: self.clone(), name: name.to_owned() }))
    }
}

#[derive(Debug)]
struct OneSchema {
    catalog: OneCatalog,
    name: String,
}

#[async_trait]
impl SchemaProvider for OneSchema {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let OneCatalog { catalogs, name: catalog, pushdown, known } = &self.catalog;
        if self.name == crate::information::NAME {
            return crate::information::provider(catalogs, catalog, name).await;
        }
        let name = TableName::new(&self.name, name);
        let known = known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(catalog.clone(), name.clone()));
        let table = found(catalogs, catalog, &name, known).await.map_err(to_datafusion)?;
        Ok(Some(table.provider(*pushdown)))
    }

    fn table_exist(&self, _: &str) -> bool {
        true
    }
}

/// A table found in its catalog.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The catalog's name.
    pub catalog: String,
    /// The table's name.
    pub name: TableName,
    /// The table.
    pub table: Arc<Table>,
    /// The source that serves it.
    pub source: Arc<dyn Source>,
}

/// Finds a table. Errors: `NOT_FOUND` for catalog, schema or table, with the nearest name, and what the source answers.
pub async fn resolve(catalogs: &Catalogs, catalog: &str, name: &TableName) -> connector_spi::Result<Resolved> {
    found(catalogs, catalog, name, None).await
}

/// Finds a table of which a source may have spoken already.
async fn found(
    catalogs: &Catalogs,
    catalog: &str,
    name: &TableName,
    known: Option<Answer>,
) -> connector_spi::Result<Resolved> {
    let (source, answer) = match known {
        Some(known) => known,
        None => {
            let source = catalogs.get(catalog)?.source()?;
            if let Some(arguments) = crate::passthrough::arguments(name) {
                let table = source.query(&arguments).await.map_err(|error| error.with("catalog", catalog))?;
                return Ok(Resolved {
                    catalog: catalog.to_owned(),
                    name: name.clone(),
                    table: Arc::new(table),
                    source,
                });
            }
            let answer = source.table(name).await;
            (source, answer.map(|table| table.map(Arc::new)))
        }
    };
    let place = |error: Error| error.with("catalog", catalog).with("table", name);
    match answer.map_err(place)? {
        Some(table) => Ok(Resolved { catalog: catalog.to_owned(), name: name.clone(), table, source }),
        None => Err(missing(source.as_ref(), catalog, name).await),
    }
}

/// A table as DataFusion sees it, for statements that name it outside of a query. Errors: as [`resolve`].
pub async fn table_provider(
    catalogs: &Catalogs,
    catalog: &str,
    name: &TableName,
) -> connector_spi::Result<Arc<dyn TableProvider>> {
    Ok(resolve(catalogs, catalog, name).await?.provider(Pushdown::Exact))
}

async fn missing(source: &dyn Source, catalog: &str, name: &TableName) -> Error {
    // Where nothing can be listed, no more is known than that the table is not there.
    let Ok(entries) = source.list().await else {
        let text = format!("table \"{catalog}.{}.{}\" does not exist", name.schema, name.table);
        return Error::not_found(text).with("name", &name.table);
    };
    let (what, near) = match entries.iter().find(|schema| schema.name == name.schema) {
        None => (
            format!("schema \"{catalog}.{}\" does not exist", name.schema),
            connector_spi::nearest(&name.schema, entries.iter().map(|schema| schema.name.as_str())).map(str::to_owned),
        ),
        Some(schema) => (
            format!("table \"{catalog}.{}.{}\" does not exist", name.schema, name.table),
            connector_spi::nearest(&name.table, schema.tables.iter().map(|table| table.name.as_str()))
                .map(str::to_owned),
        ),
    };
    let error = Error::not_found(what).with("name", &name.table);
    match near {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error,
    }
}

impl Resolved {
    fn provider(self, pushdown: Pushdown) -> Arc<dyn TableProvider> {
        match &self.table.files {
            Some(files) if pushdown == Pushdown::None => Arc::new(UnfilteredFiles(Arc::clone(files))),
            Some(files) => Arc::clone(files),
            None => Arc::new(SourceTable { schema: self.table.schema(), resolved: self, pushdown }),
        }
    }
}

/// A table read through the contract.
#[derive(Debug)]
struct SourceTable {
    schema: SchemaRef,
    resolved: Resolved,
    pushdown: Pushdown,
}

impl SourceTable {
    fn whole(&self) -> Scan {
        Scan::new(&self.resolved.catalog, self.resolved.name.clone(), &self.resolved.table)
    }

    /// Offers one filter; the answer as the session's pushdown setting allows it.
    fn offer(&self, scan: &Scan, filter: &Expr) -> Absorbed {
        if self.pushdown == Pushdown::None {
            return Absorbed::No(crate::scan::OFF);
        }
        let (mut scan, source) = (scan.clone(), self.resolved.source.as_ref());
        let mut columns = Columns { known: &mut scan.columns, source: Some(source) };
        let Some(predicate) = predicate(filter, &mut columns) else {
            return Absorbed::No(Refusal::new(
                RefusalCode::Expression,
                "not a comparison of a column with a value of its type",
            ));
        };
        match source.absorb(&scan, &Op::Filter(predicate)) {
            Absorbed::Exact(scan) if self.pushdown == Pushdown::Inexact => Absorbed::Inexact(scan),
            answer => answer,
        }
    }

    /// The source's estimates; what it says of the splits knows the filters as well, else their share is guessed.
    fn statistics(&self, scan: &Scan, splits: &[Split]) -> Statistics {
        let known = &self.resolved.table.statistics;
        let inexact = |value: Option<u64>| value.map_or(Precision::Absent, |v| Precision::Inexact(v as usize));
        let of_splits =
            splits.iter().map(|split| split.rows).try_fold(0_u64, |sum, rows| Some(sum.saturating_add(rows?)));
        let left = |rows: u64| (rows as f64 * passing(&scan.filters, known)) as u64;
        let rows = [of_splits.or(known.rows.map(left)), scan.limit.filter(|_| known.rows.is_some())]
            .into_iter()
            .flatten()
            .min();
        let share = scan.projection.len() as u64;
        let all = self.resolved.table.columns.len().max(1) as u64;
        let columns = scan.projection.iter().map(|at| match known.columns.get(*at) {
            Some(column) => ColumnStatistics {
                distinct_count: inexact(column.distinct),
                null_count: inexact(column.null_fraction.zip(rows).map(|(share, rows)| (share * rows as f64) as u64)),
                ..ColumnStatistics::new_unknown()
            },
            None => ColumnStatistics::new_unknown(),
        });
        Statistics {
            num_rows: inexact(rows),
            total_byte_size: inexact(known.bytes.map(|bytes| scaled(bytes * share / all, rows, known.rows))),
            column_statistics: columns.collect(),
        }
    }
}

/// `bytes` of `all` rows as bytes of `rows` of them.
fn scaled(bytes: u64, rows: Option<u64>, all: Option<u64>) -> u64 {
    match (rows, all) {
        (Some(rows), Some(all)) if rows < all => (bytes as f64 * rows as f64 / all as f64) as u64,
        _ => bytes,
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let mut scan = self.whole();
        Ok(filters
            .iter()
            .map(|filter| match self.offer(&scan, filter) {
                Absorbed::No(_) => TableProviderFilterPushDown::Unsupported,
                Absorbed::Inexact(with) => {
                    scan = with;
                    TableProviderFilterPushDown::Inexact
                }
                Absorbed::Exact(with) => {
                    scan = with;
                    TableProviderFilterPushDown::Exact
                }
            })
            .collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut scan = self.whole();
        let mut exact = true;
        for filter in filters {
            match self.offer(&scan, filter) {
                Absorbed::No(reason) => {
                    let text = format!("a filter was pushed and then refused: {reason}");
                    return Err(to_datafusion(Error::internal(text)));
                }
                Absorbed::Inexact(with) => (scan, exact) = (with, false),
                Absorbed::Exact(with) => scan = with,
            }
        }
        let source = &self.resolved.source;
        let mut wanted = projection.cloned();
        if let Some(columns) = projection.filter(|_| self.pushdown != Pushdown::None)
            && let Absorbed::Exact(with) = source.absorb(&scan, &Op::Columns(columns.clone()))
        {
            (scan, wanted) = (with, None);
        }
        // A limit below a filter that is applied again here would lose rows.
        if let Some(limit) = limit.filter(|_| exact && self.pushdown != Pushdown::None)
            && let Absorbed::Exact(with) | Absorbed::Inexact(with) = source.absorb(&scan, &Op::Limit(limit as u64))
        {
            scan = with;
        }
        let settings = EngineSettings::of(session.config_options());
        let width = session.config().target_partitions();
        let place = |error: Error| to_datafusion(error.with("catalog", &scan.catalog).with("table", &scan.table));
        let found = source.splits(&scan, width * settings.workers.max(1)).await.map_err(place)?;
        let statistics = self.statistics(&scan, &found.splits);
        let exec = ScanExec::new(Arc::new(scan.clone()), deal(found.splits, width))
            .with_statistics(statistics)
            .with_door(source, self.pushdown)
            .with_remote(source.remote_text(&scan))
            .with_guard(found.guard);
        let exec = match found.uncut {
            Some(reason) => exec.with_kept("splits", reason),
            None => exec,
        };
        let exec: Arc<dyn ExecutionPlan> = Arc::new(exec);
        match wanted {
            None => Ok(exec),
            Some(columns) => crate::scan::project(exec, &columns),
        }
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if op != InsertOp::Append {
            return Err(to_datafusion(Error::unsupported(
                "only INSERT INTO is known; INSERT OVERWRITE and REPLACE are not",
            )));
        }
        let sink = SourceSink::new(&self.resolved).map_err(to_datafusion)?;
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }
}

/// A table of files whose filters stay in the engine (`SET pushdown = none`).
#[derive(Debug)]
struct UnfilteredFiles(Arc<dyn TableProvider>);

#[async_trait]
impl TableProvider for UnfilteredFiles {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(session, projection, &[], None).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use connector_spi::{BatchStream, Column, ReadContext, SchemaEntry};
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    /// Knows the tables "a" and "b", cannot describe "broken", and counts how often it is asked.
    #[derive(Debug, Default, Clone)]
    struct Counting {
        alone: Arc<AtomicUsize>,
        together: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Source for Counting {
        async fn list(&self) -> connector_spi::Result<Vec<SchemaEntry>> {
            Ok(vec![SchemaEntry { name: "s".to_owned(), tables: Vec::new() }])
        }

        async fn table(&self, name: &TableName) -> connector_spi::Result<Option<Table>> {
            self.alone.fetch_add(1, Ordering::SeqCst);
            answer(name)
        }

        async fn tables(&self, names: &[TableName]) -> Vec<connector_spi::Result<Option<Table>>> {
            assert!(!names.is_empty());
            self.together.fetch_add(1, Ordering::SeqCst);
            names.iter().map(answer).collect()
        }

        async fn read(&self, _: &Scan, _: &Split, _: ReadContext) -> connector_spi::Result<BatchStream> {
            Err(Error::unsupported("nothing is read here"))
        }
    }

    fn answer(name: &TableName) -> connector_spi::Result<Option<Table>> {
        match name.table.as_str() {
            "a" | "b" => Ok(Some(Table::new(vec![Column::new(&name.table, DataType::Int64, true)]))),
            "broken" => Err(Error::unavailable("it is broken")),
            _ => Ok(None),
        }
    }

    #[tokio::test]
    async fn a_source_is_asked_once_for_all_tables_and_each_hears_its_own_answer() {
        let counting = Counting::default();
        let catalogs = Catalogs::new(Vec::new());
        for name in ["c", "idle"] {
            catalogs.add_builtin(name, "counting", Arc::new(counting.clone())).expect("added");
        }
        let list = CatalogList::new(Arc::new(catalogs), Pushdown::Exact);
        let names = ["a", "broken", "a", "missing", "b"].map(|name| ("c".to_owned(), TableName::new("s", name)));
        let nowhere = ("nowhere".to_owned(), TableName::new("s", "a"));
        let views = ("idle".to_owned(), TableName::new(crate::information::NAME, "tables"));
        CatalogList::learn(&list, names.into_iter().chain([nowhere, views]).collect()).await;
        let schema = list.catalog("c").and_then(|catalog| catalog.schema("s")).expect("a schema");
        for name in ["a", "b"] {
            let table = schema.table(name).await.expect("an answer").expect("a table");
            assert_eq!(table.schema().field(0).name(), name);
        }
        for (name, text) in [("broken", "it is broken"), ("missing", "table \"c.s.missing\" does not exist")] {
            let error = schema.table(name).await.expect_err("an error").to_string();
            assert!(error.contains(text), "{error}");
        }
        assert_eq!((counting.together.load(Ordering::SeqCst), counting.alone.load(Ordering::SeqCst)), (1, 0));
        // What was told is told once: later it may be otherwise.
        schema.table("a").await.expect("an answer");
        assert_eq!(counting.alone.load(Ordering::SeqCst), 1);
    }
}
