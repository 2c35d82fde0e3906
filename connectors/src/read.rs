//! Reading the work of a leaf: through the catalog's source, narrowed by join keys, and counted for EXPLAIN ANALYZE.

use std::sync::Arc;

use connector_spi::{Error, ReadContext, ReadCounters, Scan, Source};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::Catalogs;
use crate::error::to_datafusion;
use crate::keys::Keys;
use crate::scan::{ScanExec, Work};

/// Copies what the reader counted into the plan's metrics.
pub(crate) struct Moved {
    bytes: Count,
    requests: Count,
    /// Values that became NULL because they are not of their column's type.
    misfits: Count,
    counters: Arc<ReadCounters>,
}

impl Moved {
    /// What a reader counts from now on, for one partition of a plan.
    pub(crate) fn new(metrics: &ExecutionPlanMetricsSet, partition: usize, counters: &Arc<ReadCounters>) -> Self {
        let counter = |name| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            bytes: counter("bytes_received"),
            requests: counter("requests"),
            misfits: counter("misfits"),
            counters: Arc::clone(counters),
        }
    }

    pub(crate) fn record(&self) {
        self.bytes.add((self.counters.bytes() as usize).saturating_sub(self.bytes.value()));
        self.requests.add((self.counters.requests() as usize).saturating_sub(self.requests.value()));
        self.misfits.add((self.counters.misfits() as usize).saturating_sub(self.misfits.value()));
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.record();
    }
}

/// Reads pieces of a scan's work for one partition.
#[derive(Clone)]
pub(crate) struct Reader {
    catalogs: Arc<Catalogs>,
    scan: Arc<Scan>,
    keys: Option<Arc<Keys>>,
    /// How many join keys the source was sent.
    sent: Count,
    /// About how many rows did not come because of them.
    saved: Count,
    context: ReadContext,
}

impl Reader {
    /// A reader on this node. Errors: the node has no catalogs.
    pub(crate) fn new(
        exec: &ScanExec,
        partition: usize,
        task: &TaskContext,
        counters: &Arc<ReadCounters>,
    ) -> Result<Self> {
        let catalogs = task.session_config().get_extension::<Catalogs>();
        let catalogs = catalogs.ok_or_else(|| to_datafusion(Error::internal("this node has no catalogs")))?;
        let counter = |name| MetricBuilder::new(&exec.metrics).counter(name, partition);
        Ok(Self {
            catalogs,
            scan: Arc::clone(&exec.scan),
            keys: exec.keys.clone(),
            sent: counter("join_keys_sent"),
            saved: counter("rows_saved"),
            context: ReadContext { batch_rows: task.session_config().batch_size(), counters: Arc::clone(counters) },
        })
    }

    /// The rows of one piece. Errors: those of the source, with the table's place.
    pub(crate) async fn open(&self, work: Work) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let split = match work {
            Work::Rows(rows) => return Ok(stream::iter(rows).map(Ok).boxed()),
            Work::Split(split) => split,
        };
        let scan = Arc::clone(&self.scan);
        let place = move |error: Error| to_datafusion(error.with("catalog", &scan.catalog).with("table", &scan.table));
        let source: Arc<dyn Source> =
            self.catalogs.get(&self.scan.catalog).and_then(|catalog| catalog.source()).map_err(&place)?;
        let mut scan = Arc::clone(&self.scan);
        // Groups are no rows of the split.
        let mut expected = split.rows.filter(|_| scan.aggregation.is_none());
        if let Some(keys) = &self.keys {
            let Some(narrowed) = keys.narrow(&scan, source.as_ref()).await else {
                self.saved.add(expected.map_or(0, rows_of));
                return Ok(stream::empty().boxed());
            };
            self.sent.add(narrowed.keys);
            scan = narrowed.scan;
            expected = expected.filter(|_| narrowed.keys > 0);
        } else {
            expected = None;
        }
        let rows = source.read(&scan, &split, self.context.clone()).await.map_err(&place)?;
        let rows = rows.map_err(place);
        Ok(match expected {
            Some(expected) => counted(rows, rows_of(expected), self.saved.clone()).boxed(),
            None => rows.boxed(),
        })
    }
}

fn rows_of(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// The same rows; at their end, what was expected beyond them is counted as saved.
fn counted(
    rows: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    expected: usize,
    saved: Count,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    stream::unfold((Box::pin(rows), expected), move |(mut rows, left)| {
        let saved = saved.clone();
        async move {
            let Some(batch) = rows.next().await else {
                saved.add(left);
                return None;
            };
            let came = batch.as_ref().map_or(left, RecordBatch::num_rows);
            Some((batch, (rows, left.saturating_sub(came))))
        }
    })
}
