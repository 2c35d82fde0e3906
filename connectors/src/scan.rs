//! Our only leaf plan node: reads splits of a scan through the catalog's source.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use connector_spi::{Error, ReadContext, ReadCounters, Scan, Source, Split};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::Catalogs;
use crate::error::to_datafusion;

/// One piece of work of a partition.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Read a split through the source.
    Split(Split),
    /// Rows that came with the plan, since they exist only in the coordinator's memory.
    Rows(Vec<RecordBatch>),
}

/// Reads a scan; each output partition reads its own splits, one after the other.
#[derive(Debug, Clone)]
pub struct ScanExec {
    pub(crate) scan: Arc<Scan>,
    pub(crate) partitions: Vec<Vec<Work>>,
    /// What the source will be asked, for EXPLAIN.
    pub(crate) remote: Option<String>,
    statistics: Arc<Statistics>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    guard: Guard,
}

/// What the source wants held until the query ends.
#[derive(Clone, Default)]
pub(crate) struct Guard(pub(crate) Option<Arc<dyn Any + Send + Sync>>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "held" } else { "none" })
    }
}

impl ScanExec {
    /// A leaf whose partitions do this work.
    pub(crate) fn new(scan: Arc<Scan>, partitions: Vec<Vec<Work>>) -> Self {
        let schema = scan.schema();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            // Never a claim of Hash or Range: a sliced source would break it.
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            scan,
            partitions,
            remote: None,
            statistics: Arc::new(Statistics::new_unknown(&schema)),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            guard: Guard::default(),
        }
    }

    pub(crate) fn with_statistics(mut self, statistics: Statistics) -> Self {
        self.statistics = Arc::new(statistics);
        self
    }

    pub(crate) fn with_remote(mut self, remote: Option<String>) -> Self {
        self.remote = remote;
        self
    }

    pub(crate) fn with_guard(mut self, guard: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        self.guard = Guard(guard);
        self
    }

    /// The scan it reads.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// The splits it reads, in no particular order.
    pub(crate) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.partitions.iter().flatten().filter_map(|work| match work {
            Work::Split(split) => Some(split),
            Work::Rows(_) => None,
        })
    }

    /// The share of task `task` of `tasks`; every share has the same number of partitions.
    pub(crate) fn share(&self, task: usize, tasks: usize) -> Self {
        let width = self.partitions.len();
        let mut partitions = vec![Vec::new(); width];
        let mine = self.partitions.iter().flatten().enumerate().filter(|(at, _)| at % tasks == task);
        for (place, (_, work)) in mine.enumerate() {
            partitions[place % width].push(work.clone());
        }
        Self { partitions, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scan = &self.scan;
        write!(
            f,
            "ScanExec: table={}.{}, splits={}",
            scan.catalog,
            scan.table,
            self.partitions.iter().flatten().count()
        )?;
        let names: Vec<&str> = scan.projection.iter().map(|at| scan.columns[*at].name.as_str()).collect();
        write!(f, ", columns=[{}]", names.join(", "))?;
        if !scan.filters.is_empty() {
            write!(f, ", filters={}", scan.filters.len())?;
        }
        if let Some(limit) = scan.limit {
            write!(f, ", limit={limit}")?;
        }
        match &self.remote {
            Some(text) => write!(f, ", sent=[{text}]"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let catalogs = context.session_config().get_extension::<Catalogs>();
        let catalogs = catalogs.ok_or_else(|| to_datafusion(Error::internal("this node has no catalogs")))?;
        let counters = Arc::new(ReadCounters::default());
        let reader = Reader {
            catalogs,
            scan: Arc::clone(&self.scan),
            context: ReadContext { batch_rows: context.session_config().batch_size(), counters: Arc::clone(&counters) },
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let moved = Moved {
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_received", partition),
            requests: MetricBuilder::new(&self.metrics).counter("requests", partition),
            counters,
        };
        let guard = self.guard.clone();
        let batches = stream::iter(self.partitions[partition].clone())
            .then(move |work| {
                let reader = reader.clone();
                async move { reader.open(work).await }
            })
            .try_flatten()
            .map(move |batch| {
                let _held = &guard;
                moved.record();
                batch.inspect(|batch| baseline.record_output(batch.num_rows()))
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(match args.partition() {
            None => Arc::clone(&self.statistics),
            Some(_) => Arc::new(Statistics::new_unknown(&self.schema())),
        })
    }
}

/// Copies what the reader counted into the plan's metrics.
struct Moved {
    bytes: Count,
    requests: Count,
    counters: Arc<ReadCounters>,
}

impl Moved {
    fn record(&self) {
        self.bytes.add((self.counters.bytes() as usize).saturating_sub(self.bytes.value()));
        self.requests.add((self.counters.requests() as usize).saturating_sub(self.requests.value()));
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.record();
    }
}

#[derive(Clone)]
struct Reader {
    catalogs: Arc<Catalogs>,
    scan: Arc<Scan>,
    context: ReadContext,
}

impl Reader {
    async fn open(&self, work: Work) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let split = match work {
            Work::Rows(rows) => return Ok(stream::iter(rows).map(Ok).boxed()),
            Work::Split(split) => split,
        };
        let scan = Arc::clone(&self.scan);
        let place = move |error: Error| to_datafusion(error.with("catalog", &scan.catalog).with("table", &scan.table));
        let source: Arc<dyn Source> =
            self.catalogs.get(&self.scan.catalog).and_then(|catalog| catalog.source()).map_err(&place)?;
        let rows = source.read(&self.scan, &split, self.context.clone()).await.map_err(&place)?;
        Ok(rows.map_err(place).boxed())
    }
}

/// The leaf below a projection to these of its columns.
pub(crate) fn project(exec: Arc<dyn ExecutionPlan>, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::projection::ProjectionExec;
    let schema = exec.schema();
    let columns = columns.iter().map(|at| {
        let name = schema.field(*at).name();
        (Arc::new(Column::new(name, *at)) as Arc<dyn PhysicalExpr>, name.clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns, exec)?))
}
