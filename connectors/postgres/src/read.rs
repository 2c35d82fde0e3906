//! A scan as one binary COPY.

use std::pin::Pin;
use std::sync::Arc;

use connector_spi::{BatchStream, Error, ReadContext, Result, Scan};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio_postgres::CopyOutStream;

use crate::copy::Decoder;
use crate::error::{Place, running};
use crate::pool::{Lease, Pool};
use crate::text::select;

/// Starts the COPY; its rows follow. Dropping the stream cancels it in Postgres.
pub(crate) async fn read(pool: Arc<Pool>, scan: &Scan, context: ReadContext) -> Result<BatchStream> {
    let place = pool.place(Some(scan.table.to_string()));
    let sql = select(scan).ok_or_else(|| Error::internal("a scan has no text for Postgres"))?;
    let decoder = Decoder::new(scan, context.batch_rows)?;
    let lease = pool.lease().await?;
    context.counters.add_request();
    let statement = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
    let copy = lease.client()?.copy_out(&statement).await.map_err(|error| running(&error, &place))?;
    let reading = Reading { copy: Box::pin(copy), decoder, lease, place, context };
    let batches = stream::try_unfold(Some(reading), |reading| async move {
        let Some(reading) = reading else { return Ok::<_, Error>(None) };
        reading.step().await.map(Some)
    });
    Ok(batches.map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten().boxed())
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
    async fn step(mut self) -> Result<(Vec<arrow::array::RecordBatch>, Option<Self>)> {
        loop {
            match self.copy.next().await {
                Some(Ok(bytes)) => {
                    self.context.counters.add_bytes(bytes.len());
                    let batches = self.decoder.push(&bytes)?;
                    if !batches.is_empty() {
                        return Ok((batches, Some(self)));
                    }
                }
                Some(Err(error)) => return Err(running(&error, &self.place)),
                None => {
                    let last = self.decoder.end()?;
                    self.lease.done();
                    return Ok((last.into_iter().collect(), None));
                }
            }
        }
    }
}
