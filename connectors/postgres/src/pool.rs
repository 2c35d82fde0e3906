//! Connections: bounded, used again, and never left behind with work on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_spi::{Error, ErrorKind, Result};
use futures::future;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use crate::cancel::cancel;
use crate::config::Settings;
use crate::connect::{Failure, connect};
use crate::error::{Place, connecting, crowded, lost, running, unreached};
use crate::tls::{self, Tls};

/// How long a read waits for a free connection.
pub(crate) const WAIT: Duration = Duration::from_secs(30);
/// An idle connection is asked whether it lives after this long.
const TRUSTED: Duration = Duration::from_secs(1);
/// An idle connection older than this is closed, so that other processes may open theirs; but for one.
const IDLE: Duration = Duration::from_secs(5);
/// That one is closed after this long.
const LAST_IDLE: Duration = Duration::from_secs(300);
/// Where the server has no connection left, it is asked again after this long.
const AGAIN: Duration = Duration::from_millis(100);
/// How soon a statement that was cancelled should have ended; else it is cancelled again.
const HEARD: Duration = Duration::from_millis(100);
/// How long asking or cancelling may take.
const BRIEF: Duration = Duration::from_secs(5);

/// What the text of statements and of values rests on. Nothing of it needs privileges.
///
/// All of it is the transaction's own: a pooler may give the next one another session, and this session to others.
const SETTINGS: &str = "\
SET LOCAL standard_conforming_strings = on; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; \
SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; \
SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off";

/// The part of it that decides what names mean.
const PATH: &str = "SET LOCAL search_path = pg_catalog";

/// What follows them where one statement reads many pages by itself and filters rows: as the server's own settings allow,
/// its filters are compiled from a cost on that is far above that of compiling, which is 5 ms without optimization.
const COMPILED: &str = "\
SET LOCAL jit TO DEFAULT; SET LOCAL jit_above_cost = 20000; SET LOCAL jit_inline_above_cost = -1; \
SET LOCAL jit_optimize_above_cost = -1";

/// The statements that begin a transaction of one statement that reads.
pub(crate) fn begin_read() -> String {
    format!("BEGIN READ ONLY; {SETTINGS}; {PATH}")
}

/// The same for SQL of the user's own, which sees the user's own search path.
pub(crate) fn begin_own() -> String {
    format!("BEGIN READ ONLY; {SETTINGS}")
}

/// The statements that begin a transaction that reads in one snapshot; `given` is one of another transaction, quoted.
pub(crate) fn begin_snapshot(given: Option<&str>) -> String {
    let given = given.map(|given| format!("SET TRANSACTION SNAPSHOT {given}; ")).unwrap_or_default();
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {given}{SETTINGS}; {PATH}")
}

/// The same where the rows of some pages are filtered.
pub(crate) fn begin_filter(given: &str) -> String {
    format!("{}; {COMPILED}", begin_snapshot(Some(given)))
}

/// The statements that begin a transaction that writes.
pub(crate) fn begin_write() -> String {
    format!("BEGIN READ WRITE; {SETTINGS}; {PATH}")
}

/// What the first column of the rows holds that simple statements gave, but NULL.
pub(crate) fn first_column(answer: &[SimpleQueryMessage]) -> impl Iterator<Item = &str> {
    answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

/// The connections of one catalog in one process.
pub(crate) struct Pool {
    pub(crate) settings: Settings,
    tls: OnceCell<Tls>,
    slots: Arc<Semaphore>,
    /// Snapshots that may be held at once; each takes a slot as well, so that some are always left to readers.
    pub(crate) snapshots: Arc<Semaphore>,
    /// On the coordinator: the readers that all nodes together may have. Snapshots, readers, and one slot for questions
    /// are what the catalog allows.
    readers: Arc<Semaphore>,
    idle: Mutex<Vec<(Instant, Link)>>,
    /// Whether a task looks after those that are idle.
    tidied: AtomicBool,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({})", self.settings.address())
    }
}

/// One connection and the task that moves its bytes.
struct Link {
    client: Client,
    driver: AbortHandle,
}

impl Pool {
    pub(crate) fn new(settings: Settings) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (slots, snapshots) = (semaphore(settings.max_connections), semaphore(settings.snapshots()));
        let readers = semaphore(settings.readers());
        Self {
            settings,
            tls: OnceCell::new(),
            slots,
            snapshots,
            readers,
            idle: Mutex::default(),
            tidied: AtomicBool::new(false),
        }
    }

    /// Waits until so many readers may read, or as many as ever may. Queries come in their order.
    pub(crate) async fn admit(&self, readers: usize) -> Result<OwnedSemaphorePermit> {
        let readers = u32::try_from(readers.min(self.settings.readers())).unwrap_or(u32::MAX);
        let admitted = Arc::clone(&self.readers).acquire_many_owned(readers).await;
        admitted.map_err(|_| Error::internal("the pool of connections is closed"))
    }

    /// For error texts; `table` as `schema.table`.
    pub(crate) fn place(&self, table: Option<String>) -> Place {
        Place {
            catalog: self.settings.catalog.clone(),
            address: self.settings.address(),
            user: self.settings.user().to_owned(),
            table: table.map(|table| format!("{}.{table}", self.settings.catalog)),
        }
    }

    /// A connection that is this caller's until it is given back or dropped.
    ///
    /// Errors: `RESOURCE_EXHAUSTED` where none is free within `wait`, `UNAVAILABLE`, `UNAUTHENTICATED`.
    pub(crate) async fn lease(self: &Arc<Self>, wait: Duration) -> Result<Lease> {
        let slot = timeout(wait, Arc::clone(&self.slots).acquire_owned()).await.map_err(|_| {
            let (most, address) = (self.settings.max_connections, self.settings.address());
            let text = format!("all {most} connections to Postgres at {address} were in use for {} s", wait.as_secs());
            Error::new(ErrorKind::ResourceExhausted, text)
                .hint("Raise max_connections of the catalog, or run fewer queries at once.")
        })?;
        let slot = slot.map_err(|_| Error::internal("the pool of connections is closed"))?;
        let mut lease = Lease {
            pool: Arc::clone(self),
            link: None,
            slot: Some(slot),
            used_before: false,
            open: false,
            spent: false,
        };
        while let Some((since, link)) = self.idle() {
            if !link.client.is_closed()
                && since.elapsed() < LAST_IDLE
                && (since.elapsed() < TRUSTED || answers(&link.client).await)
            {
                lease.link = Some(link);
                lease.used_before = true;
                return Ok(lease);
            }
        }
        lease.link = Some(self.connect_within(wait).await?);
        Ok(lease)
    }

    /// A connection. Where the server has none left, others may give one back: connections here are, but for one, not
    /// kept for long.
    async fn connect_within(&self, wait: Duration) -> Result<Link> {
        let end = Instant::now() + wait;
        loop {
            match self.connect().await {
                Err(error) if error.kind() == ErrorKind::ResourceExhausted && Instant::now() + AGAIN < end => {
                    tokio::time::sleep(AGAIN).await;
                }
                made => return made,
            }
        }
    }

    /// The error of a question that was not answered within `limit`.
    pub(crate) fn late(&self, limit: Duration) -> Error {
        let text = format!("Postgres at {} did not answer within {} s", self.settings.address(), limit.as_secs());
        Error::new(ErrorKind::Timeout, text)
    }

    fn idle(&self) -> Option<(Instant, Link)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a connection for the next who needs one, and closes it later where nobody does.
    fn keep(self: &Arc<Self>, link: Link) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), link));
        if let Ok(runtime) = Handle::try_current()
            && !self.tidied.swap(true, Ordering::Relaxed)
        {
            let pool = Arc::downgrade(self);
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(IDLE).await;
                    if !pool.upgrade().is_some_and(|pool| pool.tidy()) {
                        return;
                    }
                }
            });
        }
    }

    /// Closes what has been idle for too long, and tells whether there is more; what was used last is kept longest.
    fn tidy(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let last = idle.len().saturating_sub(1);
        let mut at = 0..;
        idle.retain(|(since, link)| {
            let limit = if at.next() == Some(last) { LAST_IDLE } else { IDLE };
            since.elapsed() < limit && !link.client.is_closed()
        });
        self.tidied.store(!idle.is_empty(), Ordering::Relaxed);
        !idle.is_empty()
    }

    async fn tls(&self) -> Result<Tls> {
        // Reading a file of authorities blocks; it is small and read once.
        self.tls.get_or_try_init(|| async { tls::make(&self.settings.trust) }).await.cloned()
    }

    async fn connect(&self) -> Result<Link> {
        let place = self.place(None);
        let tls = self.tls().await?;
        let connect = async {
            match connect(&self.settings.config, &tls).await {
                Ok((client, driver)) => Ok(Link { client, driver }),
                Err(Failure::Driver(error)) => Err(connecting(&error, &place)),
                Err(Failure::Unreached(error)) => Err(unreached(&error, &place)),
            }
        };
        let patience = self.settings.patience();
        timeout(patience, connect).await.unwrap_or_else(|_| {
            let (address, seconds) = (&place.address, patience.as_secs());
            Err(Error::unavailable(format!("could not connect to Postgres at {address}: no answer within {seconds} s")))
        })
    }
}

async fn answers(client: &Client) -> bool {
    matches!(timeout(BRIEF, client.check_connection()).await, Ok(Ok(())))
}

/// Values of the parameters of a statement.
pub(crate) type Values<'a> = [(&'a (dyn ToSql + Sync), Type)];

/// What Postgres says of a statement.
pub(crate) type Answer<T> = std::result::Result<T, tokio_postgres::Error>;

/// A connection in use. Dropped before [`Lease::done`], its work is cancelled and it is closed.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    link: Option<Link>,
    slot: Option<OwnedSemaphorePermit>,
    used_before: bool,
    /// Whether a transaction is open.
    open: bool,
    /// Whether the session is not to be used again.
    spent: bool,
}

impl Lease {
    /// The connection. Errors: `INTERNAL` after its end.
    pub(crate) fn client(&self) -> Result<&Client> {
        let link = self.link.as_ref().ok_or_else(|| Error::internal("a connection was used after its end"))?;
        Ok(&link.client)
    }

    /// Takes a new connection in place of a dead one.
    async fn renew(&mut self) -> Result<()> {
        if let Some(link) = self.link.take() {
            link.driver.abort();
        }
        self.used_before = false;
        self.link = Some(self.pool.connect().await?);
        Ok(())
    }

    /// Begins a transaction by `begin` and works in it, both sent at once, so that the way there and back is taken once;
    /// once more where an idle connection turns out to be dead.
    ///
    /// Errors: `RESOURCE_EXHAUSTED` where it does not begin for long, as behind a pooler whose connections are all at work.
    pub(crate) async fn transact<T>(
        &mut self,
        begin: &str,
        work: impl AsyncFnOnce(&Client) -> Answer<T> + Copy,
    ) -> Result<Answer<T>> {
        loop {
            self.begun();
            let (client, place) = (self.client()?, self.pool.place(None));
            let begun = async { timeout(WAIT, client.batch_execute(begin)).await.map_err(|_| crowded(&place, WAIT)) };
            let (begun, answer) = future::try_join(begun, async { Ok(work(client).await) }).await?;
            match begun.and(answer) {
                Err(error) if self.used_before && lost(&error) => self.renew().await?,
                answer => return Ok(answer),
            }
        }
    }

    /// Asks one thing in a transaction of its own, all sent at once.
    pub(crate) async fn ask(&mut self, begin: &str, sql: &str, values: &Values<'_>) -> Result<Answer<Vec<Row>>> {
        let ask = async |client: &Client| {
            let both = future::join(client.query_typed(sql, values), client.batch_execute("ROLLBACK"));
            let (rows, ended) = both.await;
            ended.and(rows)
        };
        let answer = self.transact(begin, ask).await?;
        if answer.is_ok() {
            self.ended();
        }
        Ok(answer)
    }

    /// Says that a transaction is open from here on.
    pub(crate) fn begun(&mut self) {
        self.open = true;
    }

    /// Says that the transaction has ended.
    pub(crate) fn ended(&mut self) {
        self.open = false;
    }

    /// Says that SQL of the user's own runs: the connection is closed when its work is done, since the SQL may have
    /// changed the session.
    pub(crate) fn lend(&mut self) {
        self.spent = true;
    }

    /// Ends the transaction, if one is open, and gives the connection back; it has no work left.
    pub(crate) async fn finish(mut self) {
        if self.open {
            // It only read; where this fails, the connection is dropped and closed.
            let ended = match self.client() {
                Ok(client) => timeout(BRIEF, client.batch_execute("ROLLBACK")).await,
                Err(_) => return,
            };
            if !matches!(ended, Ok(Ok(()))) {
                return;
            }
            self.open = false;
        }
        self.done();
    }

    /// The error of a statement as the contract's. After an error of the statement the connection is as good as
    /// before; after its own it is not.
    pub(crate) async fn failed(self, error: &tokio_postgres::Error, place: &Place) -> Error {
        if !lost(error) {
            self.finish().await;
        }
        running(error, place)
    }

    /// Gives the connection back; it has no work left and no transaction is open.
    pub(crate) fn done(mut self) {
        if let Some(link) = self.link.take().filter(|link| !self.spent && !link.client.is_closed()) {
            self.pool.keep(link);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else { return };
        // Without a runtime the connection closes with its driver, and the server's next write fails.
        let (Ok(runtime), Some(tls), false) = (Handle::try_current(), self.pool.tls.get(), link.client.is_closed())
        else {
            return link.driver.abort();
        };
        let (token, tls, slot) = (link.client.cancel_token(), tls.clone(), self.slot.take());
        let pool = Arc::clone(&self.pool);
        runtime.spawn(async move {
            // A request to cancel may come before the statement does: it is sent until the statement has ended.
            let ended = async {
                while cancel(&token, &pool.settings.config, &tls).await {
                    if timeout(HEARD, link.client.check_connection()).await.is_ok() {
                        return true;
                    }
                }
                false
            };
            if !timeout(BRIEF, ended).await.unwrap_or(false) {
                tracing::warn!("a statement in Postgres could not be cancelled; its connection is closed");
            }
            link.driver.abort();
            drop(slot);
        });
    }
}
