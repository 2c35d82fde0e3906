//! A split as raw batches of a cursor, decoded where they arrive: in a task of its own, a few batches ahead.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use bson::{RawBsonRef, RawDocument, RawDocumentBuf, doc};
use connector_spi::{BatchStream, Error, ErrorKind, ReadContext, Result, Scan, Split, rows_alone};
use futures::{StreamExt, stream};
use mongodb::options::{AggregateOptions, Collation, CursorType, FindOptions, Hint, SessionOptions};
use mongodb::raw_batch_cursor::{RawBatch, SessionRawBatchCursor};
use mongodb::{Client, ClientSession, Collection};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;

use crate::aggregate;
use crate::cell::Row;
use crate::client::Deployment;
use crate::decode::Decoder;
use crate::error::{Place, failed};
use crate::metadata::Facts;
use crate::request::Request;
use crate::split::Token;
use crate::types::Kind;

/// Batches that wait to be taken.
const AHEAD: usize = 2;
/// A server forgets a session after 30 minutes; while a reader waits, it is told of it more often.
const REFRESH: Duration = Duration::from_secs(300);
/// How long the server may take to end what a reader gave up.
const END: Duration = Duration::from_secs(10);

/// Reads a split. Dropping the stream ends its session, and with it what the server does for it.
pub(crate) async fn read(
    deployment: &Arc<Deployment>,
    scan: &Scan,
    split: &Split,
    context: ReadContext,
) -> Result<BatchStream> {
    // No limit at all would be LIMIT 0 there.
    if scan.limit == Some(0) {
        return Ok(stream::empty().boxed());
    }
    let Token { part, at } = Token::read(&split.token)?;
    let facts = Facts::read(&scan.native);
    let request = Request::of(scan, &part)?;
    let decoding = Decoding::of(scan, &facts, &context)?;
    let client = deployment.client().await?.clone();
    let (stored, collation) = (facts.stored, facts.collation());
    let (database, name) = facts.of.unwrap_or_else(|| (scan.table.schema.clone(), scan.table.table.clone()));
    let collection = client.database(&database).collection(&name);
    let place = deployment.place(Some(&scan.table));
    let (sender, receiver) = channel(AHEAD);
    let reader = Reader { client, collection, collation, place, context, sender };
    tokio::spawn(reader.run(request, at, decoding, stored));
    Ok(stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed())
}

/// What becomes of the documents.
enum Decoding {
    Rows(Decoder),
    /// Groups, of which one counts values that do not fit.
    Groups {
        decoder: Decoder,
        alone: Option<RecordBatch>,
    },
    /// One document that says how many.
    Number {
        scan: Box<Scan>,
        batch_rows: usize,
    },
}

impl Decoding {
    fn of(scan: &Scan, facts: &Facts, context: &ReadContext) -> Result<Self> {
        let (table, rows) = (scan.table.to_string(), context.batch_rows);
        if let Some(aggregation) = &scan.aggregation {
            let (named, cells) = aggregate::cells(scan, aggregation)?;
            let alone = aggregation.group.is_empty().then(|| nothing(scan)).transpose()?;
            let decoder = Decoder::new(Row::of(named, cells), scan.schema(), false, table, rows);
            return Ok(Self::Groups { decoder, alone });
        }
        if scan.projection.is_empty() {
            return Ok(Self::Number { scan: Box::new(scan.clone()), batch_rows: rows });
        }
        // A column that is wanted twice is read once for each.
        let mut kinds = Vec::with_capacity(scan.projection.len());
        let mut places = Vec::with_capacity(scan.projection.len());
        for at in &scan.projection {
            let column = &scan.columns[*at];
            let first = kinds.iter().position(|(name, _): &(String, Kind)| *name == column.name);
            places.push(first.unwrap_or(kinds.len()));
            if first.is_none() {
                kinds.push((column.name.clone(), Kind::of_column(column)?));
            }
        }
        let whole = facts.whole.as_ref().and_then(|whole| kinds.iter().position(|(name, _)| name == whole));
        let row = Row::new(kinds).with_whole(whole);
        Ok(Self::Rows(Decoder::new(row, scan.schema(), facts.lenient, table, rows).with_places(places)))
    }

    /// Takes a document; what is ready of it. Errors: a value that does not fit.
    fn push(&mut self, document: &RawDocument) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Rows(decoder) => Ok(decoder.push(document)?.into_iter().collect()),
            Self::Groups { decoder, alone } => {
                *alone = None;
                if let Ok(Some(RawBsonRef::Int32(1..) | RawBsonRef::Int64(1..))) = document.get(aggregate::MISFIT) {
                    let text = format!("a column of table \"{}\" holds values of another type", decoder.table());
                    return Err(Error::new(ErrorKind::BadData, text).hint(
                        "Read the column to see which, declare its type in the catalog's option \"tables\", or set on_misfit = 'null'.",
                    ));
                }
                Ok(decoder.push(document)?.into_iter().collect())
            }
            Self::Number { scan, batch_rows } => {
                let rows = match document.get("rows") {
                    Ok(Some(RawBsonRef::Int32(rows))) => u64::try_from(rows).ok(),
                    Ok(Some(RawBsonRef::Int64(rows))) => u64::try_from(rows).ok(),
                    _ => None,
                };
                let rows = rows.ok_or_else(|| Error::internal("MongoDB counted documents without a number"))?;
                rows_alone(scan, rows, *batch_rows).collect()
            }
        }
    }

    /// What is left at the end.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::Rows(decoder) => decoder.finish(),
            Self::Groups { decoder, alone } => Ok(alone.take().or(decoder.finish()?)),
            Self::Number { .. } => Ok(None),
        }
    }

    fn misfits(&self) -> u64 {
        match self {
            Self::Rows(decoder) => decoder.misfits(),
            _ => 0,
        }
    }
}

/// The one group of no documents at all: counts are 0, everything else is NULL.
fn nothing(scan: &Scan) -> Result<RecordBatch> {
    let schema = scan.schema();
    let column = |field: &Arc<arrow::datatypes::Field>| match field.is_nullable() {
        true => new_null_array(field.data_type(), 1),
        false => Arc::new(arrow::array::Int64Array::from(vec![0])) as ArrayRef,
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns).map_err(|cause| Error::internal(format!("a batch is not whole: {cause}")))
}

/// Why a reader stops early.
enum Stop {
    /// Nobody takes what it reads.
    Dropped,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Reader {
    client: Client,
    collection: Collection<RawDocumentBuf>,
    /// How texts compare, where it must be said.
    collation: Option<Collation>,
    place: Place,
    context: ReadContext,
    sender: Sender<Result<RecordBatch>>,
}

impl Reader {
    async fn run(self, request: Request, at: Option<bson::Timestamp>, mut decoding: Decoding, stored: bool) {
        let outcome = self.work(request, at, &mut decoding, stored).await;
        self.context.counters.add_misfits(decoding.misfits());
        if let Err(Stop::Failed(error)) = outcome {
            // Whoever dropped the stream does not want it.
            let _ = self.sender.send(Err(error)).await;
        }
    }

    async fn work(
        &self,
        request: Request,
        at: Option<bson::Timestamp>,
        decoding: &mut Decoding,
        stored: bool,
    ) -> std::result::Result<(), Stop> {
        let failed = |cause| Stop::Failed(failed(&cause, &self.place));
        let mut options = SessionOptions::builder().build();
        options.snapshot = at.map(|_| true);
        options.snapshot_time = at;
        let mut session = self.client.start_session().with_options(options).await.map_err(failed)?;
        let id = session.id().clone();
        self.context.counters.add_request();
        let opening = self.open(&request, &mut session);
        let mut cursor = self.unless_dropped(opening, &id).await?.map_err(failed)?;
        let mut read = 0_u64;
        loop {
            let next = async { cursor.stream(&mut session).next().await };
            let Some(batch) = self.unless_dropped(next, &id).await? else { break };
            let batch = batch.map_err(failed)?;
            read += self.decode(&batch, decoding, &session).await?;
        }
        if let Some(batch) = decoding.finish()? {
            self.send(batch, &session).await?;
        }
        // A collection that was dropped reads like an empty one.
        if read == 0 && stored && !self.is_there().await.map_err(failed)? {
            let table = self.place.table.clone().unwrap_or_default();
            let text = format!("table \"{table}\" was dropped after the query was planned");
            return Err(Stop::Failed(Error::not_found(text).hint("Run the query again.")));
        }
        Ok(())
    }

    async fn is_there(&self) -> mongodb::error::Result<bool> {
        let database = self.client.database(&self.collection.namespace().db);
        Ok(!database.list_collection_names().filter(doc! { "name": self.collection.name() }).await?.is_empty())
    }

    async fn open(
        &self,
        request: &Request,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<SessionRawBatchCursor> {
        let by_id = || Hint::Keys(doc! { "_id": 1 });
        match request {
            Request::Find { filter, projection, sort, limit, part } => {
                let ranged = part.min.is_some() || part.max.is_some();
                let bound = |id: &Option<_>| id.clone().map(|id| doc! { "_id": id });
                let mut options = FindOptions::default();
                options.projection = projection.clone();
                options.sort = sort.clone();
                options.limit = *limit;
                options.min = bound(&part.min);
                options.max = bound(&part.max);
                options.hint = ranged.then(by_id);
                options.collation = self.collation.clone();
                options.cursor_type = Some(CursorType::NonTailable);
                options.allow_disk_use = sort.as_ref().map(|_| true);
                self.collection.find(filter.clone()).with_options(options).session(session).batch().await
            }
            Request::Aggregate { pipeline, by_id: ranged } => {
                let mut options = AggregateOptions::default();
                options.hint = ranged.then(by_id);
                options.collation = self.collation.clone();
                options.allow_disk_use = Some(true);
                self.collection.aggregate(pipeline.clone()).with_options(options).session(session).batch().await
            }
        }
    }

    /// Hands the documents of a batch on; how many they were.
    async fn decode(
        &self,
        batch: &RawBatch,
        decoding: &mut Decoding,
        session: &ClientSession,
    ) -> std::result::Result<u64, Stop> {
        let odd = |cause: String| {
            Stop::Failed(Error::new(ErrorKind::BadData, format!("MongoDB sent what is no batch: {cause}")))
        };
        self.context.counters.add_bytes(batch.as_raw_document().as_bytes().len());
        let mut documents = 0;
        for item in batch.doc_slices().map_err(|cause| odd(cause.to_string()))? {
            let RawBsonRef::Document(document) = item.map_err(|cause| odd(cause.to_string()))? else {
                return Err(odd("an item is no document".to_owned()));
            };
            documents += 1;
            for ready in decoding.push(document)? {
                self.send(ready, session).await?;
            }
        }
        Ok(documents)
    }

    /// Hands a batch on; while nobody takes it, the session is kept alive.
    async fn send(&self, batch: RecordBatch, session: &ClientSession) -> std::result::Result<(), Stop> {
        loop {
            match timeout(REFRESH, self.sender.reserve()).await {
                Ok(Ok(permit)) => {
                    permit.send(Ok(batch));
                    return Ok(());
                }
                Ok(Err(_)) => return Err(Stop::Dropped),
                Err(_) => {
                    let refresh = doc! { "refreshSessions": [session.id().clone()] };
                    // A server that does not know the command keeps sessions as long as it keeps cursors.
                    let _ = self.client.database("admin").run_command(refresh).await;
                }
            }
        }
    }

    /// Waits for the server. Where nobody waits for the rows any more, it is asked to end the session's work; the driver's
    /// future is not dropped before it has.
    async fn unless_dropped<T>(
        &self,
        work: impl Future<Output = T>,
        session: &bson::Document,
    ) -> std::result::Result<T, Stop> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return Ok(done),
            () = self.sender.closed() => {}
        }
        let kill = doc! { "killSessions": [session.clone()] };
        let end = async { self.client.database("admin").run_command(kill).await };
        let _ = timeout(END, futures::future::join(end, work)).await;
        Err(Stop::Dropped)
    }
}
