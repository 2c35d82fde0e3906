//! Reading a split: the rows of a snapshot, one batch at a time, with everything the scan absorbed.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::boolean::and_kleene;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use connector_spi::{BatchStream, Error, ReadContext, Result, Scan, evaluate};
use futures::{StreamExt, stream};

/// The batches of a split that are still to be read.
pub(crate) struct Reader {
    scan: Scan,
    batches: std::vec::IntoIter<RecordBatch>,
    /// Rows that the limit still allows.
    left: usize,
}

impl Reader {
    /// Reads `batches`, which have all columns of the table.
    pub(crate) fn new(scan: &Scan, batches: Vec<RecordBatch>) -> Self {
        let left = scan.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self { scan: scan.clone(), batches: batches.into_iter(), left }
    }

    /// What is wanted of the next batch, perhaps nothing; `None` at the end.
    fn step(&mut self) -> Option<Result<Option<RecordBatch>>> {
        if self.left == 0 {
            return None;
        }
        let batch = self.batches.next()?;
        let wanted = wanted(&self.scan, &batch).map_err(|cause| {
            Error::internal(format!("table \"{}.{}\" could not be read", self.scan.catalog, self.scan.table))
                .detail(format!("{cause}."))
        });
        Some(wanted.map(|batch| {
            let batch = if batch.num_rows() > self.left { batch.slice(0, self.left) } else { batch };
            self.left -= batch.num_rows();
            (batch.num_rows() > 0).then_some(batch)
        }))
    }

    /// All of it at once.
    pub(crate) fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut found = Vec::new();
        while let Some(batch) = self.step() {
            found.extend(batch?);
        }
        Ok(found)
    }

    /// All of it as it is asked for.
    pub(crate) fn stream(self, context: ReadContext) -> BatchStream {
        let next = move |mut reader: Self| {
            let counters = context.counters.clone();
            async move {
                loop {
                    // Rows in memory never make the task wait, so that it must give way by itself.
                    tokio::task::coop::consume_budget().await;
                    match reader.step().transpose()? {
                        None => return Ok(None),
                        Some(None) => {}
                        Some(Some(batch)) => {
                            counters.add_bytes(bytes(&batch));
                            return Ok(Some((batch, reader)));
                        }
                    }
                }
            }
        };
        stream::try_unfold(self, next).boxed()
    }
}

/// The columns of the scan and the rows for which every filter is true.
fn wanted(scan: &Scan, batch: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
    let columns = scan.projection.iter().map(|at| batch.column(*at).clone()).collect();
    // The number of rows stays even where there are no columns.
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let projected = RecordBatch::try_new_with_options(scan.schema(), columns, &options)?;
    let mut mask: Option<BooleanArray> = None;
    for filter in &scan.filters {
        let passes = evaluate(batch, filter)?;
        mask = Some(match mask {
            Some(mask) => and_kleene(&mask, &passes)?,
            None => passes,
        });
    }
    mask.map_or_else(|| Ok(projected.clone()), |mask| filter_record_batch(&projected, &mask))
}

/// The bytes of the batch's own rows; buffers it shares with others are not counted whole.
pub(crate) fn bytes(batch: &RecordBatch) -> usize {
    let of = |column: &arrow::array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(of).sum()
}
