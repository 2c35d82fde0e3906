//! A scan as one binary COPY.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use connector_spi::{BatchStream, Error, ReadContext, Result, Scan};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio_postgres::CopyOutStream;

use crate::copy::Decoder;
use crate::error::{Place, lost, running};
use crate::pool::{Lease, Pool, WAIT};
use crate::sql::select;

/// Starts the COPY; its rows follow. Dropping the stream cancels it in Postgres.
pub(crate) async fn read(pool: &Arc<Pool>, scan: &Scan, context: ReadContext) -> Result<BatchStream> {
    let place = pool.place(Some(scan.table.to_string()));
    let sql = select(scan)?;
    let decoder = Decoder::new(scan, context.batch_rows)?;
    let mut lease = pool.lease(WAIT).await?;
    context.counters.add_request();
    if scan.projection.is_empty() {
        return count(lease, &sql, scan, &place, &context).await;
    }
    let statement = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
    let started = match lease.client()?.copy_out(&statement).await {
        Err(error) if lease.used_before() && lost(&error) => {
            lease.renew().await?;
            lease.client()?.copy_out(&statement).await
        }
        started => started,
    };
    let copy = match started {
        Ok(copy) => Box::pin(copy),
        Err(error) => return Err(failed(lease, &error, &place)),
    };
    let reading = Reading { copy, decoder, lease, place, context };
    let batches = stream::try_unfold(Some(reading), |reading| async move {
        let Some(reading) = reading else { return Ok::<_, Error>(None) };
        reading.step().await.map(Some)
    });
    Ok(batches.map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten().boxed())
}

/// Where only the number of rows matters, one number comes over the wire.
async fn count(mut lease: Lease, sql: &str, scan: &Scan, place: &Place, context: &ReadContext) -> Result<BatchStream> {
    let answered = match lease.client()?.query_typed(sql, &[]).await {
        Err(error) if lease.used_before() && lost(&error) => {
            lease.renew().await?;
            lease.client()?.query_typed(sql, &[]).await
        }
        answered => answered,
    };
    let rows = match answered {
        Ok(rows) => rows,
        Err(error) => return Err(failed(lease, &error, place)),
    };
    let count = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).and_then(|count| u64::try_from(count).ok());
    let mut left = count.ok_or_else(|| Error::internal("Postgres counted rows without a number"))?;
    context.counters.add_bytes(size_of::<i64>());
    lease.done();
    let (schema, most) = (scan.schema(), context.batch_rows.max(1));
    let batches = std::iter::from_fn(move || {
        let rows = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        left -= rows as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        (rows > 0).then(|| {
            RecordBatch::try_new_with_options(Arc::clone(&schema), Vec::new(), &options)
                .map_err(|cause| Error::internal(format!("a batch without columns is not whole: {cause}")))
        })
    });
    Ok(stream::iter(batches).boxed())
}

/// After an error of the statement the connection is as good as before; after its own it is not.
fn failed(lease: Lease, error: &tokio_postgres::Error, place: &Place) -> Error {
    if !lost(error) {
        lease.done();
    }
    running(error, place)
}

struct Reading {
    copy: Pin<Box<CopyOutStream>>,
    decoder: Decoder,
    lease: Lease,
    place: Place,
    context: ReadContext,
}

impl Reading {
    /// Reads until at least one batch is whole, or to the end.
    async fn step(mut self) -> Result<(Vec<RecordBatch>, Option<Self>)> {
        loop {
            match self.copy.next().await {
                Some(Ok(bytes)) => {
                    self.context.counters.add_bytes(bytes.len());
                    let batches = self.decoder.push(&bytes)?;
                    if !batches.is_empty() {
                        return Ok((batches, Some(self)));
                    }
                }
                Some(Err(error)) => return Err(failed(self.lease, &error, &self.place)),
                None => {
                    let last = self.decoder.end()?;
                    self.lease.done();
                    return Ok((last.into_iter().collect(), None));
                }
            }
        }
    }
}
