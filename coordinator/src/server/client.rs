//! What a client has open: its session, prepared statements, and answers it has not fetched yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use connector_spi::{Error, ErrorKind, Result};
use datafusion::scalar::ScalarValue;

use crate::{Prepared, Session};

/// How long an answer waits to be fetched.
const FETCH_WITHIN: Duration = Duration::from_secs(60);
/// The most prepared statements, and the most answers not fetched, of one session.
const MOST: usize = 1_000;

/// A statement that a client prepared, with the values it bound last.
#[derive(Clone)]
pub(super) struct Statement {
    pub(super) prepared: Prepared,
    pub(super) values: Vec<ScalarValue>,
}

/// One client.
pub(super) struct Client {
    pub(super) session: Arc<Session>,
    statements: Mutex<HashMap<Bytes, Statement>>,
    pending: Mutex<HashMap<Bytes, (Instant, Statement)>>,
}

impl Client {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session, statements: Mutex::default(), pending: Mutex::default() }
    }

    /// Keeps a prepared statement and gives its handle. Errors: `RESOURCE_EXHAUSTED` past the limit.
    pub(super) fn keep(&self, prepared: Prepared) -> Result<Bytes> {
        let mut statements = lock(&self.statements);
        if statements.len() >= MOST {
            let text = format!("the session has {MOST} prepared statements; close some");
            return Err(Error::new(ErrorKind::ResourceExhausted, text));
        }
        let handle = handle();
        statements.insert(handle.clone(), Statement { prepared, values: Vec::new() });
        Ok(handle)
    }

    /// A prepared statement. Errors: `NOT_FOUND`.
    pub(super) fn statement(&self, handle: &Bytes) -> Result<Statement> {
        lock(&self.statements).get(handle).cloned().ok_or_else(no_statement)
    }

    /// Binds values to a prepared statement. Errors: `NOT_FOUND`.
    pub(super) fn bind(&self, handle: &Bytes, values: Vec<ScalarValue>) -> Result<()> {
        lock(&self.statements).get_mut(handle).map(|statement| statement.values = values).ok_or_else(no_statement)
    }

    pub(super) fn close(&self, handle: &Bytes) {
        lock(&self.statements).remove(handle);
    }

    /// Registers a statement to be run when its ticket is used, once.
    pub(super) fn await_fetch(&self, statement: Statement) -> Bytes {
        let mut pending = lock(&self.pending);
        pending.retain(|_, (made, _)| made.elapsed() < FETCH_WITHIN);
        if pending.len() >= MOST
            && let Some(oldest) = pending.iter().min_by_key(|(_, (made, _))| *made).map(|(handle, _)| handle.clone())
        {
            pending.remove(&oldest);
        }
        let ticket = handle();
        pending.insert(ticket.clone(), (Instant::now(), statement));
        ticket
    }

    /// The statement of a ticket; a ticket is good once. Errors: `NOT_FOUND`.
    pub(super) fn fetch(&self, ticket: &Bytes) -> Result<Statement> {
        let found = lock(&self.pending).remove(ticket);
        found.filter(|(made, _)| made.elapsed() < FETCH_WITHIN).map(|(_, statement)| statement).ok_or_else(|| {
            Error::not_found(
                "the ticket is not known: it was used already, is older than 60 s, or belongs to another session",
            )
        })
    }
}

fn no_statement() -> Error {
    Error::not_found("the prepared statement is not known: it was closed, or belongs to another session")
}

fn handle() -> Bytes {
    Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
