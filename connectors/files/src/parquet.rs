//! Tables of Parquet files: DataFusion's own scan over a schema and statistics made of the footers.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use connector_spi::{Error, Result, Table, TableStatistics};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, Statistics, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};

use crate::cache::Cache;
use crate::error::{bad_file, lower, ours};
use crate::listing::Dataset;
use crate::store::Root;
use crate::types::{has_float, widest};

const FOOTERS_AT_ONCE: usize = 16;

/// What the footer of one file says.
#[derive(Debug)]
pub(crate) struct ParquetFacts {
    schema: SchemaRef,
    statistics: Statistics,
}

/// Reads footers; built once a catalog.
pub(crate) struct Footers {
    state: SessionState,
    cache: Cache<Arc<ParquetFacts>>,
}

impl Footers {
    pub(crate) fn new(most: usize) -> Self {
        let state = SessionStateBuilder::new().with_runtime_env(Arc::new(RuntimeEnv::default())).build();
        Self { state, cache: Cache::new(most) }
    }

    fn metadata(&self) -> Arc<FileMetadataCache> {
        self.state.runtime_env().cache_manager.get_file_metadata_cache()
    }

    async fn learn(&self, root: &Root, file: &ObjectMeta) -> Result<Arc<ParquetFacts>> {
        if let Some(facts) = self.cache.get(file) {
            return Ok(facts);
        }
        let bad = |cause: DataFusionError| bad(root, file, &cause);
        let path = root.relative(&file.location);
        if file.size == 0 {
            return Err(bad_file(root.catalog(), "Parquet", path, "it is empty"));
        }
        let store = Arc::new(root.clone()) as Arc<dyn ObjectStore>;
        let format = format();
        let schema = format.infer_schema(&self.state, &store, std::slice::from_ref(file)).await.map_err(bad)?;
        let mut names = HashSet::new();
        if let Some(field) = schema.fields().iter().find(|field| !names.insert(field.name())) {
            let cause = format!("it has column \"{}\" twice", field.name());
            return Err(bad_file(root.catalog(), "Parquet", path, &cause));
        }
        let statistics = format.infer_stats(&self.state, &store, schema.clone(), file).await.map_err(bad)?;
        let facts = Arc::new(ParquetFacts { schema, statistics });
        self.cache.put(file, facts.clone());
        Ok(facts)
    }
}

fn format() -> ParquetFormat {
    // Times of the old INT96 kind reach beyond what nanoseconds can hold, and would wrap around.
    ParquetFormat::default().with_coerce_int96(Some("us".to_owned()))
}

fn bad(root: &Root, file: &ObjectMeta, cause: &DataFusionError) -> Error {
    if let Some(ours) = ours(cause) {
        return ours;
    }
    let text = cause.strip_backtrace();
    let text = text.trim_start_matches("Parquet error: ");
    let broken = ["Corrupt footer", "EOF", "at least 8 bytes", "Required field", "Invalid thrift"];
    let plain = match broken.into_iter().any(|words| text.contains(words)) {
        true => "it is cut off, or not a Parquet file at all".to_owned(),
        false => lower(text),
    };
    bad_file(root.catalog(), "Parquet", root.relative(&file.location), &plain).detail(format!("{text}."))
}

/// Describes a table of Parquet files.
pub(crate) async fn table(root: &Root, dataset: &Dataset, footers: &Arc<Footers>) -> Result<Table> {
    let files = dataset.files.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>();
    let facts = futures::stream::iter(files.clone())
        .map(|file| async move { footers.learn(root, &file).await })
        .boxed()
        .buffered(FOOTERS_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let schema = union(root, &files, &facts)?;
    let files = files
        .into_iter()
        .zip(&facts)
        .map(|(file, facts)| {
            let mut listed = PartitionedFile::new_from_meta(file);
            listed.statistics = Some(Arc::new(statistics(facts, &schema)));
            listed
        })
        .collect::<Vec<_>>();
    let total =
        total(&files, &schema).map_err(|cause| Error::internal(format!("statistics cannot be added up: {cause}")))?;
    let url = format!("catalog://{}", root.catalog());
    let url = ObjectStoreUrl::parse(&url).map_err(|_| Error::internal(format!("\"{url}\" is not a URL")))?;
    let bytes = files.iter().map(|file| file.object_meta.size).sum();
    let rows = total.num_rows.get_value().map(|rows| *rows as u64);
    let mut table = Table::files(Arc::new(ParquetTable { schema, url, files, total, footers: footers.clone() }));
    table.statistics = TableStatistics { rows, bytes: Some(bytes), columns: Vec::new() };
    Ok(table)
}

/// The columns of all files by name; what a file does not have is NULL.
fn union(root: &Root, files: &[ObjectMeta], facts: &[Arc<ParquetFacts>]) -> Result<SchemaRef> {
    // Each column with the first file that has it and the number of files that have it.
    let mut all: Vec<(Field, usize, usize)> = Vec::new();
    for (at, facts) in facts.iter().enumerate() {
        for field in facts.schema.fields() {
            let Some((known, first, count)) = all.iter_mut().find(|(known, ..)| known.name() == field.name()) else {
                all.push((field.as_ref().clone(), at, 1));
                continue;
            };
            let Some(data_type) = widest(known.data_type(), field.data_type()) else {
                let name = |at: usize| root.relative(&files[at].location);
                let cause = format!(
                    "column \"{}\" is {}, in \"{}\" it is {}",
                    field.name(),
                    plain(field.data_type()),
                    name(*first),
                    plain(known.data_type())
                );
                return Err(bad_file(root.catalog(), "Parquet", name(at), &cause)
                    .hint("The files of a table must agree on the types of columns, but for whole numbers and floats of other widths."));
            };
            *known = Field::new(known.name(), data_type, known.is_nullable() || field.is_nullable());
            *count += 1;
        }
    }
    let fields = all.into_iter().map(|(field, _, count)| {
        let nullable = field.is_nullable() || count < facts.len();
        Field::new(field.name(), field.data_type().clone(), nullable)
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

fn plain(data_type: &DataType) -> String {
    data_type.to_string().to_lowercase()
}

/// The file's statistics in the table's columns.
///
/// Only the number of rows counts as exact. Bounds are of unknown writers, who cut long text and
/// leave NaN out, so they may skip row groups and order joins but never answer `min` or `max`;
/// and bounds of floats are not used at all.
fn statistics(facts: &ParquetFacts, table: &Schema) -> Statistics {
    let of_file = &facts.statistics;
    let column_statistics = table
        .fields()
        .iter()
        .map(|field| match facts.schema.column_with_name(field.name()) {
            None => ColumnStatistics { null_count: of_file.num_rows.to_inexact(), ..ColumnStatistics::new_unknown() },
            Some((at, in_file)) => {
                let known = &of_file.column_statistics[at];
                let bounds = in_file.data_type() == field.data_type() && !has_float(field.data_type());
                let bound = |value: &Precision<_>| if bounds { value.clone().to_inexact() } else { Precision::Absent };
                ColumnStatistics {
                    null_count: known.null_count.to_inexact(),
                    min_value: bound(&known.min_value),
                    max_value: bound(&known.max_value),
                    distinct_count: known.distinct_count.to_inexact(),
                    byte_size: known.byte_size.to_inexact(),
                    ..ColumnStatistics::new_unknown()
                }
            }
        })
        .collect();
    Statistics { num_rows: of_file.num_rows, total_byte_size: of_file.total_byte_size.to_inexact(), column_statistics }
}

fn total(files: &[PartitionedFile], schema: &Schema) -> Result<Statistics, DataFusionError> {
    Statistics::try_merge_iter(files.iter().filter_map(|file| file.statistics.as_deref()), schema)
}

/// The files of one table as they were listed for one query.
struct ParquetTable {
    schema: SchemaRef,
    url: ObjectStoreUrl,
    files: Vec<PartitionedFile>,
    total: Statistics,
    footers: Arc<Footers>,
}

impl fmt::Debug for ParquetTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetTable").field("url", &self.url).field("files", &self.files.len()).finish()
    }
}

impl ParquetTable {
    /// DataFusion skips row groups by bounds that leave NaN out, although NaN is greater than any
    /// number; so where a filter looks at a float, nothing is skipped.
    fn format(&self, filters: &[Expr]) -> ParquetFormat {
        let float = |name: &str| self.schema.field_with_name(name).is_ok_and(|field| has_float(field.data_type()));
        let floats = filters.iter().any(|filter| filter.column_refs().iter().any(|column| float(&column.name)));
        let mut options = format().options().clone();
        if floats {
            options.global.pruning = false;
            options.global.enable_page_index = false;
            options.global.bloom_filter_on_read = false;
        }
        ParquetFormat::default().with_options(options)
    }

    /// The files that hold at least so many rows.
    fn files(&self, limit: Option<usize>) -> &[PartitionedFile] {
        let Some(limit) = limit else { return &self.files };
        let mut rows = 0_usize;
        let enough = self.files.iter().position(|file| {
            let of_file = file.statistics.as_ref().map(|statistics| statistics.num_rows);
            if let Some(Precision::Exact(of_file)) = of_file {
                rows = rows.saturating_add(of_file);
            }
            rows >= limit
        });
        enough.map_or(&self.files, |at| &self.files[..=at])
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let files = self.files(limit.filter(|_| filters.is_empty()));
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        // The engine's cache gets the footers that were read for the schema.
        let (known, wanted) = (self.footers.metadata(), state.runtime_env().cache_manager.get_file_metadata_cache());
        for file in files {
            let path = &file.object_meta.location;
            if let Some(entry) = known.get(path)
                && entry.is_valid_for(&file.object_meta)
                && !wanted.contains_key(path)
            {
                wanted.put(path, entry);
            }
        }
        let statistics = if files.len() == self.files.len() { self.total.clone() } else { total(files, &self.schema)? };
        let mut groups = Vec::new();
        for group in FileGroup::new(files.to_vec()).split_files(state.config().target_partitions().max(1)) {
            let of_group = total(group.files(), &self.schema)?;
            groups.push(group.with_statistics(Arc::new(of_group)));
        }
        let format = self.format(filters);
        let source = format.file_source(TableSchema::from(self.schema.clone()));
        let scan = FileScanConfigBuilder::new(self.url.clone(), source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        format.create_physical_plan(state, scan).await
    }
}
