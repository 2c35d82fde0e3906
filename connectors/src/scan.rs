//! Our only leaf plan node: reads splits of a scan through the catalog's source.

use std::fmt;
use std::sync::Arc;

use connector_spi::{Absorbed, Call, Op, ReadCounters, Refusal, RefusalCode, Scan, SortKey, Source, Split};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column as Place;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType, apply_expression_roots};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use datafusion_distributed::DistributedLeafExec;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::distribute::deal;
use crate::field::{Columns, placed, taken};
use crate::keys::Keys;
use crate::read::{Moved, Reader};
use crate::session::Pushdown;

pub(crate) const OFF: Refusal = Refusal::new(RefusalCode::Off, "pushdown is off").remedy("SET pushdown = exact");

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
    pub(crate) metrics: ExecutionPlanMetricsSet,
    guard: Guard,
    door: Door,
    pub(crate) keys: Option<Arc<Keys>>,
    /// What the engine does itself, and why, for EXPLAIN.
    kept: Vec<String>,
}

/// The source and how much it may take over, while the plan is made; never travels.
#[derive(Clone, Default)]
pub(crate) struct Door(pub(crate) Option<(Arc<dyn Source>, Pushdown)>);

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "open" } else { "closed" })
    }
}

/// What the source wants held until the query ends.
#[derive(Clone, Default)]
pub(crate) struct Guard(pub(crate) Option<connector_spi::Guard>);

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
            door: Door::default(),
            keys: None,
            kept: Vec::new(),
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

    pub(crate) fn with_guard(mut self, guard: Option<connector_spi::Guard>) -> Self {
        self.guard = Guard(guard);
        self
    }

    pub(crate) fn with_door(mut self, source: &Arc<dyn Source>, pushdown: Pushdown) -> Self {
        self.door = Door(Some((Arc::clone(source), pushdown)));
        self
    }

    pub(crate) fn with_keys(mut self, keys: Option<Keys>) -> Self {
        self.keys = keys.map(Arc::new);
        self
    }

    /// Says of one more operation why the engine does it.
    pub(crate) fn with_kept(mut self, what: &str, why: Refusal) -> Self {
        self.kept.push(format!("{what}: {why}"));
        self
    }

    /// Whether anything may be left to the source at all.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&self.door.0, Some((_, pushdown)) if *pushdown != Pushdown::None)
    }

    /// The keys that it waits for before it reads.
    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }

    /// Offers an operation that the engine does again anyway; the answer as the session's pushdown setting allows it.
    pub(crate) fn offer(&self, op: &Op) -> Absorbed {
        self.absorb(&self.scan, op)
    }

    /// The same for another scan of the source.
    pub(crate) fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        match &self.door.0 {
            None => Absorbed::No(Refusal::new(RefusalCode::Order, "the plan is made already")),
            Some((_, Pushdown::None)) => Absorbed::No(OFF),
            Some((_, Pushdown::Inexact)) if matches!(op, Op::Aggregate(_) | Op::Join(_)) => {
                Absorbed::No(Refusal::new(RefusalCode::Off, "pushdown is inexact").remedy("SET pushdown = exact"))
            }
            Some((source, pushdown)) => match source.absorb(scan, op) {
                Absorbed::Exact(scan) if *pushdown == Pushdown::Inexact => Absorbed::Inexact(scan),
                answer => answer,
            },
        }
    }

    /// The same leaf for a scan that absorbed more.
    pub(crate) fn absorbing(&self, scan: Scan) -> Self {
        let splits: Vec<Split> = self.splits().cloned().collect();
        let (splits, remote) = match &self.door.0 {
            Some((source, _)) => (source.recut(&scan, splits), source.remote_text(&scan)),
            None => (splits, None),
        };
        let partitions = deal(splits, self.partitions.len());
        let mut exec = Self::new(Arc::new(scan), partitions).with_remote(remote).with_guard(self.guard.0.clone());
        exec.door = self.door.clone();
        exec.keys.clone_from(&self.keys);
        exec.kept.clone_from(&self.kept);
        exec
    }

    /// The leaf that reads fields of structs by themselves where a projection takes nothing but these and columns; none
    /// where it takes no field, or one that the source does not know.
    fn taking(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some((source, _)) = self.door.0.as_ref().filter(|_| self.is_open() && self.scan.aggregation.is_none())
        else {
            return Ok(None);
        };
        let mut scan = Scan::clone(&self.scan);
        let mut columns = Columns { known: &mut scan.columns, source: Some(source.as_ref()) };
        let place = |chosen: &ProjectionExpr| {
            let (column, path) = taken(&chosen.expr)?;
            columns.below(self.scan.projection[column], &path)
        };
        let Some(places) = projection.expr().iter().map(place).collect::<Option<Vec<_>>>() else { return Ok(None) };
        if projection.expr().iter().all(|chosen| chosen.expr.is::<Place>()) {
            return Ok(None);
        }
        // A field that is taken twice is read once: what is known of one is known of the other then.
        let mut read = Vec::new();
        let chosen: Vec<usize> = places.into_iter().map(|place| placed(&mut read, place)).collect();
        let Absorbed::Exact(scan) = source.absorb(&scan, &Op::Columns(read)) else { return Ok(None) };
        let statistics = Statistics::new_unknown(&scan.schema()).with_num_rows(self.statistics.num_rows);
        let exec: Arc<dyn ExecutionPlan> = Arc::new(self.absorbing(scan).with_statistics(statistics));
        let found = exec.schema();
        let named = projection.expr().iter().zip(chosen).map(|(wanted, at)| {
            (Arc::new(Place::new(found.field(at).name(), at)) as Arc<dyn PhysicalExpr>, wanted.alias.clone())
        });
        let named = ProjectionExec::try_new(named, exec)?;
        Ok((named.schema() == projection.schema()).then(|| Arc::new(named) as _))
    }

    /// The leaf for the join of its scan with another one's. The keys of that join, `made`, are not waited for.
    pub(crate) fn joined(&self, other: &Self, scan: Scan, rows: Option<usize>, made: &[u64]) -> Self {
        let remote = self.door.0.as_ref().and_then(|(source, _)| source.remote_text(&scan));
        let split = Split { rows: rows.map(|rows| rows as u64), ..Split::default() };
        let statistics = Statistics::new_unknown(&scan.schema());
        let rows = rows.map_or(Precision::Absent, Precision::Inexact);
        // The columns of the table are those that each of the two returned.
        let (before, after) = (self.scan.projection.len(), other.scan.projection.len());
        let keys = [(&self.keys, &self.scan, 0..before), (&other.keys, &other.scan, before..before + after)];
        let keys = keys.into_iter().filter_map(|(keys, scan, places)| {
            let moved = |at: &usize| places.clone().zip(&scan.projection).find(|(_, was)| *was == at).map(|(at, _)| at);
            keys.as_ref().and_then(|keys| keys.moved(made, moved))
        });
        let mut exec = Self::new(Arc::new(scan), deal(vec![split], 1)).with_remote(remote);
        exec.statistics = Arc::new(statistics.with_num_rows(rows));
        exec.keys = keys.reduce(Keys::and).map(Arc::new);
        exec.door = self.door.clone();
        exec.kept = self.kept.iter().chain(&other.kept).cloned().collect();
        exec
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

    /// How many readers are at work at once, at most.
    pub(crate) fn readers(&self) -> usize {
        let reads = |work: &Work| matches!(work, Work::Split(_));
        self.partitions.iter().filter(|partition| partition.iter().any(reads)).count()
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

/// Visits every scan of a plan, those of all its tasks.
pub(crate) fn each_scan(plan: &Arc<dyn ExecutionPlan>, mut visit: impl FnMut(&ScanExec)) -> Result<()> {
    let mut leaf = |node: &Arc<dyn ExecutionPlan>| {
        if let Some(scan) = node.downcast_ref::<ScanExec>() {
            visit(scan);
        }
    };
    let walked = plan.apply(|node| {
        match node.downcast_ref::<DistributedLeafExec>() {
            Some(tasks) => tasks.variants().iter().for_each(&mut leaf),
            None => leaf(node),
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map(|_| ())
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
        let name = |at: &usize| scan.columns[*at].name.as_str();
        match &scan.aggregation {
            None => write!(f, ", columns=[{}]", scan.projection.iter().map(name).collect::<Vec<_>>().join(", "))?,
            Some(made) => {
                let call = |call: &Call| {
                    let function = format!("{:?}", call.function).to_lowercase();
                    format!("{function}({})", call.column.as_ref().map_or("*", name))
                };
                let calls = made.calls.iter().map(call).collect::<Vec<_>>().join(", ");
                let group = made.group.iter().map(name).collect::<Vec<_>>().join(", ");
                write!(f, ", groups=[{group}], results=[{calls}]")?;
            }
        }
        if !scan.filters.is_empty() {
            write!(f, ", filters={}", scan.filters.len())?;
        }
        if !scan.order.is_empty() {
            let key = |key: &SortKey| {
                let direction = if key.descending { "DESC" } else { "ASC" };
                let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
                format!("{} {direction} NULLS {nulls}", name(&key.column))
            };
            write!(f, ", order=[{}]", scan.order.iter().map(key).collect::<Vec<_>>().join(", "))?;
        }
        if let Some(limit) = scan.limit {
            write!(f, ", limit={limit}")?;
        }
        if let Some(keys) = &self.keys {
            let names: Vec<String> = keys.exprs().flat_map(|(filter, _)| names(&filter)).collect();
            write!(f, ", join_keys=[{}]", names.join(", "))?;
        }
        if !self.kept.is_empty() {
            write!(f, ", kept=[{}]", self.kept.join("; "))?;
        }
        match &self.remote {
            Some(text) => write!(f, ", sent=[{text}]"),
            None => Ok(()),
        }
    }
}

/// The names of the columns that a filter is about.
fn names(filter: &Arc<dyn PhysicalExpr>) -> Vec<String> {
    let columns = filter.children().into_iter().cloned().flat_map(|key| collect_columns(&key));
    columns.map(|column| column.name().to_owned()).collect()
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
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        // A join finds out by this whether anybody waits for its keys.
        apply_expression_roots(self.keys.iter().flat_map(|keys| keys.exprs()).map(|(filter, _)| filter), visit)
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let places = &self.scan.projection;
        let filters = pushed.parent_filters.iter().map(|pushed| (Arc::clone(&pushed.filter), places.clone()));
        let wanted = phase == FilterPushdownPhase::Post && self.is_open() && self.scan.limit.is_none();
        let keys = wanted.then(|| Keys::of(filters)).flatten();
        // Each join filters again itself.
        let answer = FilterPushdownPropagation::all_unsupported(pushed);
        Ok(match keys {
            Some(keys) => answer.with_updated_node(Arc::new(self.clone().with_keys(Some(keys)))),
            None => answer,
        })
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        self.taking(projection)
    }

    /// A join that is run again, as in a recursive query, says its keys no more; what it said before is of other rows.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Arc::new(Self { metrics, ..(*self).clone().with_keys(None) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let counters = Arc::new(ReadCounters::default());
        let reader = Reader::new(self, partition, &context, &counters)?;
        let moved = Moved::new(&self.metrics, partition, &counters);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
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

/// The leaf below a projection to these of its columns.
pub(crate) fn project(exec: Arc<dyn ExecutionPlan>, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = exec.schema();
    let columns = columns.iter().map(|at| {
        let name = schema.field(*at).name();
        (Arc::new(Place::new(name, *at)) as Arc<dyn PhysicalExpr>, name.clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns, exec)?))
}
