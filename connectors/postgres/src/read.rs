//! A split as binary COPY, one for each of its parts.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use connector_spi::{BatchStream, Error, ErrorKind, ReadContext, Result, Scan, Split, rows_alone};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio_postgres::{Client, CopyOutStream};

use crate::copy::Decoder;
use crate::error::Place;
use crate::metadata::{self, Facts};
use crate::pool::{Answer, Lease, Pool, WAIT, begin_filter, begin_own, begin_read, begin_snapshot, first_column};
use crate::split::{Part, Token};
use crate::sql::{quoted, sample, select, select_with};

/// Reads the parts of a split, one after the other. Dropping the stream cancels the read in Postgres.
pub(crate) async fn read(pool: &Arc<Pool>, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
    let Token { snapshot, parts, .. } = Token::read(&split.token)?;
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { return Ok(stream::empty().boxed()) };
    let reader = Parts { pool: Arc::clone(pool), scan: Arc::new(scan.clone()), snapshot, context };
    let head = reader.open(first).await?;
    if parts.len() == 0 {
        return Ok(head);
    }
    let tail = stream::iter(parts).then(move |part| {
        let reader = reader.clone();
        async move { reader.open(part).await }
    });
    Ok(head.chain(tail.try_flatten()).boxed())
}

/// Opens the parts of one split.
#[derive(Clone)]
struct Parts {
    pool: Arc<Pool>,
    scan: Arc<Scan>,
    snapshot: Option<String>,
    context: ReadContext,
}

impl Parts {
    /// Starts the COPY of one part; its rows follow.
    async fn open(&self, part: Part) -> Result<BatchStream> {
        let Self { pool, scan, snapshot, context } = self;
        let place = pool.place(Some(scan.table.to_string()));
        let facts = Facts::read(&scan.native);
        let lent = facts.query.is_some() && !facts.own;
        let begin = match snapshot {
            Some(snapshot) => {
                let snapshot = quoted(snapshot).map_err(|refusal| Error::internal(refusal.text))?;
                // Other statements gain nothing, and in processes that the server starts for one it takes long.
                match scan.filters.is_empty() || part.condition().is_empty() {
                    true => begin_snapshot(Some(&snapshot)),
                    false => begin_filter(&snapshot),
                }
            }
            None if lent => begin_own(),
            None => begin_read(),
        };
        let decoder = Decoder::new(scan, context.batch_rows)?;
        let mut lease = pool.lease(WAIT).await?;
        if lent {
            lease.lend();
        }
        context.counters.add_request();
        if scan.schema().fields().is_empty() {
            return count(lease, &begin, &select(scan, &part)?, scan, &place, context).await;
        }
        let copy = match self.start(&mut lease, &begin, &part).await? {
            Ok(copy) => Box::pin(copy),
            Err(error) => {
                let made = lease.failed(&error, &place).await;
                return Err(if made.kind() == ErrorKind::PermissionDenied {
                    denied(pool, scan, made).await
                } else {
                    made
                });
            }
        };
        let reading = Reading { copy, decoder, lease, place, context: context.clone() };
        let batches = stream::try_unfold(Some(reading), |reading| async move {
            let Some(reading) = reading else { return Ok::<_, Error>(None) };
            reading.step().await.map(Some)
        });
        Ok(batches.map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten().boxed())
    }

    /// Sends the COPY of one part; where its rows can be bounded, their sample is asked before.
    async fn start(&self, lease: &mut Lease, begin: &str, part: &Part) -> Result<Answer<CopyOutStream>> {
        let Self { scan, context, .. } = self;
        let Some(question) = sample(scan, part)? else {
            let statement = copied(&select(scan, part)?);
            return lease.transact(begin, async |client: &Client| client.copy_out(&statement).await).await;
        };
        let said = match lease.transact(begin, async |client: &Client| client.simple_query(&question).await).await? {
            Ok(said) => said,
            Err(error) => return Ok(Err(error)),
        };
        context.counters.add_request();
        let statement = copied(&select_with(scan, part, first_column(&said).next())?);
        Ok(lease.client()?.copy_out(&statement).await)
    }
}

fn copied(sql: &str) -> String {
    format!("COPY ({sql}) TO STDOUT (FORMAT binary)")
}

/// The same error with the columns that the user may not read, where there are others.
async fn denied(pool: &Arc<Pool>, scan: &Scan, made: Error) -> Error {
    match metadata::denied(pool, &scan.table).await {
        Ok(columns) if !columns.is_empty() => {
            let columns: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
            let columns = columns.join(", ");
            made.hint(format!(
                "Leave the columns out that the user may not read, or ask for SELECT on them: {columns}."
            ))
        }
        _ => made,
    }
}

/// Where only the number of rows matters, one number comes over the wire.
async fn count(
    mut lease: Lease,
    begin: &str,
    sql: &str,
    scan: &Scan,
    place: &Place,
    context: &ReadContext,
) -> Result<BatchStream> {
    let rows = match lease.ask(begin, sql, &[]).await? {
        Ok(rows) => rows,
        Err(error) => return Err(lease.failed(&error, place).await),
    };
    let count = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).and_then(|count| u64::try_from(count).ok());
    let rows = count.ok_or_else(|| Error::internal("Postgres counted rows without a number"))?;
    context.counters.add_bytes(size_of::<i64>());
    lease.finish().await;
    Ok(stream::iter(rows_alone(scan, rows, context.batch_rows)).boxed())
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
        // Rows come in many pieces, and the counters are shared with the other readers.
        let mut received = 0;
        loop {
            match self.copy.next().await {
                Some(Ok(bytes)) => {
                    received += bytes.len();
                    let batches = self.decoder.push(&bytes)?;
                    if !batches.is_empty() {
                        self.count(received);
                        return Ok((batches, Some(self)));
                    }
                }
                Some(Err(error)) => return Err(self.lease.failed(&error, &self.place).await),
                None => {
                    let last = self.decoder.end()?;
                    self.count(received);
                    self.lease.finish().await;
                    return Ok((last.into_iter().collect(), None));
                }
            }
        }
    }

    fn count(&mut self, received: usize) {
        self.context.counters.add_bytes(received);
        self.context.counters.add_misfits(self.decoder.take_misfits());
    }
}
