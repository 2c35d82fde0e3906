//! Connections: bounded, used again, and never left behind with work on them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_spi::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{CancelToken, Client};

use crate::config::Settings;
use crate::error::{Place, connecting};
use crate::tls::Tls;

/// How long a read waits for a connection.
const WAIT: Duration = Duration::from_secs(30);
/// An idle connection is asked whether it lives after this long.
const TRUSTED: Duration = Duration::from_secs(1);
/// An idle connection older than this is closed.
const IDLE: Duration = Duration::from_secs(300);

/// The connections of one catalog on one node.
pub(crate) struct Pool {
    pub(crate) settings: Settings,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<(Instant, Client)>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({})", self.settings.address())
    }
}

impl Pool {
    pub(crate) fn new(settings: Settings) -> Self {
        let slots = Arc::new(Semaphore::new(settings.max_connections));
        Self { settings, slots, idle: Mutex::default() }
    }

    pub(crate) fn place(&self, table: Option<String>) -> Place {
        Place { address: self.settings.address(), user: self.settings.user().to_owned(), table }
    }

    /// A connection that is this caller's until it is given back or dropped.
    ///
    /// Errors: `RESOURCE_EXHAUSTED` where none is free within 30 s, `UNAVAILABLE`, `UNAUTHENTICATED`.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease> {
        let most = self.settings.max_connections;
        let slot = tokio::time::timeout(WAIT, Arc::clone(&self.slots).acquire_owned()).await.map_err(|_| {
            let text = format!("all {most} connections to Postgres at {} were in use for {} s", self.settings.address(), WAIT.as_secs());
            Error::new(ErrorKind::ResourceExhausted, text).hint("Raise max_connections of the catalog.")
        })?;
        let slot = slot.map_err(|_| Error::internal("the pool of connections is closed"))?;
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let client = match idle {
                None => self.connect().await?,
                Some((since, client)) => {
                    let lives = !client.is_closed()
                        && since.elapsed() < IDLE
                        && (since.elapsed() < TRUSTED || answers(&client).await);
                    if !lives {
                        continue;
                    }
                    client
                }
            };
            let cancel = client.cancel_token();
            return Ok(Lease { client: Some(client), cancel, tls: self.settings.tls.clone(), pool: Arc::clone(self), _slot: slot });
        }
    }

    async fn connect(&self) -> Result<Client> {
        let place = self.place(None);
        let connect = self.settings.config.connect(self.settings.tls.clone());
        let connected = tokio::time::timeout(Duration::from_secs(10), connect).await;
        let (client, connection) = connected
            .map_err(|_| Error::unavailable(format!("could not connect to Postgres at {}: no answer within 10 s", place.address)))?
            .map_err(|error| connecting(&error, &place))?;
        tokio::spawn(async move {
            // Whoever uses the connection sees its end as an error.
            if let Err(cause) = connection.await {
                tracing::debug!("a connection to Postgres ended: {cause}");
            }
        });
        Ok(client)
    }
}

async fn answers(client: &Client) -> bool {
    matches!(tokio::time::timeout(Duration::from_secs(2), client.check_connection()).await, Ok(Ok(())))
}

/// A connection in use. Dropped before [`Lease::done`], its work is cancelled and it is closed.
pub(crate) struct Lease {
    client: Option<Client>,
    cancel: CancelToken,
    tls: Tls,
    pool: Arc<Pool>,
    _slot: OwnedSemaphorePermit,
}

impl Lease {
    /// The connection. Errors: `INTERNAL` after its end.
    pub(crate) fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| Error::internal("a connection was used after its end"))
    }

    /// Gives the connection back; it has no work left.
    pub(crate) fn done(mut self) {
        if let Some(client) = self.client.take().filter(|client| !client.is_closed()) {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), client));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if client.is_closed() {
            return;
        }
        let (cancel, tls) = (self.cancel.clone(), self.tls.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let cancelled = tokio::time::timeout(Duration::from_secs(5), cancel.cancel_query(tls)).await;
                if !matches!(cancelled, Ok(Ok(()))) {
                    tracing::warn!("a read of Postgres could not be cancelled");
                }
                drop(client);
            });
        }
    }
}
