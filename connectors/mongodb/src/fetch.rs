//! The raw batches of a split's cursor: in a task of its own, one ahead of whoever decodes them.

use std::sync::Arc;
use std::time::Duration;

use bson::{RawDocumentBuf, doc};
use connector_spi::{Error, ReadCounters, Result};
use futures::StreamExt;
use mongodb::options::{AggregateOptions, Collation, CursorType, FindOptions, Hint, SessionOptions};
use mongodb::raw_batch_cursor::{RawBatch, SessionRawBatchCursor};
use mongodb::{Client, ClientSession, Collection};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::error::{Place, failed};
use crate::request::Request;

/// A server forgets a session after 30 minutes; while a reader waits, it is told of it more often.
const REFRESH: Duration = Duration::from_secs(300);
/// How long the server may take to end what a reader gave up.
const END: Duration = Duration::from_secs(10);

/// What the cursor gave.
pub(crate) enum Fetched {
    Batch(RawBatch),
    /// There is no more.
    End,
}

/// Why a reader stops early.
enum Stop {
    /// Nobody takes what it reads.
    Dropped,
    Failed(Error),
}

/// What fetches the documents of a split.
pub(crate) struct Fetch {
    pub(crate) client: Client,
    pub(crate) collection: Collection<RawDocumentBuf>,
    /// How texts compare, where it must be said.
    pub(crate) collation: Option<Collation>,
    pub(crate) place: Place,
    pub(crate) counters: Arc<ReadCounters>,
    pub(crate) sender: Sender<Result<Fetched>>,
}

impl Fetch {
    /// Fetches until the documents end, an error is told, or nobody takes them.
    pub(crate) async fn run(self, request: Request, at: Option<bson::Timestamp>, stored: bool) {
        let outcome = self.work(request, at, stored).await;
        let last = match outcome {
            Ok(()) => Ok(Fetched::End),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Dropped) => return,
        };
        // Whoever dropped the stream does not want it.
        let _ = self.sender.send(last).await;
    }

    async fn work(&self, request: Request, at: Option<bson::Timestamp>, stored: bool) -> std::result::Result<(), Stop> {
        let failed = |cause| Stop::Failed(failed(&cause, &self.place));
        let mut options = SessionOptions::builder().build();
        options.snapshot = at.map(|_| true);
        options.snapshot_time = at;
        let mut session = self.client.start_session().with_options(options).await.map_err(failed)?;
        let id = session.id().clone();
        self.counters.add_request();
        let opening = self.open(&request, &mut session);
        let mut cursor = self.unless_dropped(opening, &id).await?.map_err(failed)?;
        let mut empty = true;
        loop {
            let next = async { cursor.stream(&mut session).next().await };
            let Some(batch) = self.unless_dropped(next, &id).await? else { break };
            let batch = batch.map_err(failed)?;
            self.counters.add_bytes(batch.as_raw_document().as_bytes().len());
            empty &= batch.doc_slices().map_err(failed)?.is_empty();
            self.send(batch, &session).await?;
        }
        // A collection that was dropped reads like an empty one.
        if empty && stored && !self.is_there().await.map_err(failed)? {
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

    /// Hands a batch on; while nobody takes it, the session is kept alive.
    async fn send(&self, batch: RawBatch, session: &ClientSession) -> std::result::Result<(), Stop> {
        loop {
            match timeout(REFRESH, self.sender.reserve()).await {
                Ok(Ok(permit)) => {
                    permit.send(Ok(Fetched::Batch(batch)));
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
