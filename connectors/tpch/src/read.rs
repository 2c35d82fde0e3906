//! Reading a share: one batch ahead of the reader, each made off the async threads.

use connector_spi::{BatchStream, Error, ErrorKind, ReadContext, Scan};
use futures::{StreamExt, stream};
use tokio::task::{JoinError, JoinSet};

use crate::generate::{Batches, batches};
use crate::share::Share;

/// The batches of a share.
///
/// Each batch is a blocking task of its own, so that a reader that waits for something else holds
/// no thread: a join may open any number of tables before it reads the first of them to its end.
pub(crate) fn read(share: Share, scan: Scan, context: ReadContext) -> BatchStream {
    let name = scan.table.to_string();
    let mut jobs = JoinSet::new();
    // The first generator of a process makes the pool of texts, which takes a while.
    jobs.spawn_blocking(move || {
        let counters = context.counters;
        let made = batches(share, &scan, context.batch_rows.max(1)).inspect(move |batch| {
            if let Ok(batch) = batch {
                counters.add_bytes(batch.get_array_memory_size());
            }
        });
        step(Box::new(made))
    });
    let next = move |mut jobs: JoinSet<_>| {
        let name = name.clone();
        async move {
            match jobs.join_next().await {
                Some(Ok(Some((batch, rest)))) => {
                    jobs.spawn_blocking(move || step(rest));
                    batch.map(|batch| Some((batch, jobs)))
                }
                Some(Err(cause)) => Err(stopped(&name, &cause)),
                Some(Ok(None)) | None => Ok(None),
            }
        }
    };
    stream::try_unfold(jobs, next).boxed()
}

fn step(mut rows: Batches) -> Option<(connector_spi::Result<arrow::array::RecordBatch>, Batches)> {
    rows.next().map(|batch| (batch, rows))
}

/// A generator that did not come to its end; without an error its rows would look complete.
fn stopped(name: &str, cause: &JoinError) -> Error {
    if cause.is_panic() {
        Error::internal(format!("the rows of table \"{name}\" could not be generated"))
    } else {
        Error::new(ErrorKind::Cancelled, format!("generating table \"{name}\" was stopped"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use connector_spi::{Table, TableName};
    use futures::TryStreamExt;

    use super::*;
    use crate::table::TpchTable;

    #[tokio::test]
    async fn a_generator_that_fails_ends_the_stream_with_an_error() {
        let table = TpchTable::Partsupp;
        // At this scale factor there is no supplier, and the generator divides by their number.
        let share = Share::whole(table, 0.00001);
        let scan = Scan::new("tpch", TableName::new("sf0_00001", table.name()), &Table::new(table.columns()));
        let rows = read(share, scan, ReadContext { batch_rows: 10, counters: Arc::default() });
        let error = rows.try_collect::<Vec<_>>().await.expect_err("the rows are not complete");
        assert_eq!(error.to_string(), "INTERNAL: the rows of table \"sf0_00001.partsupp\" could not be generated");
    }
}
