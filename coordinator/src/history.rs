//! The queries that run, and the last ones that ended.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use connector_spi::Error;
use tokio::sync::watch;

use crate::workers::Crew;

/// Ended queries that are remembered.
const REMEMBERED: usize = 500;

/// One query as others see it.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) sql: String,
    started: SystemTime,
    clock: Instant,
    rows: AtomicU64,
    cancel: watch::Sender<bool>,
    rest: Mutex<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    running: bool,
    crew: Option<Crew>,
    ended: Option<(Duration, Result<(), Error>)>,
}

impl Query {
    pub(crate) fn started_micros(&self) -> i64 {
        self.started.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.rest().ended.as_ref().map_or_else(|| self.clock.elapsed(), |(elapsed, _)| *elapsed)
    }

    pub(crate) fn state(&self) -> &'static str {
        let rest = self.rest();
        match &rest.ended {
            None if rest.running => "RUNNING",
            None => "PLANNING",
            Some((_, Ok(()))) => "FINISHED",
            Some((_, Err(error))) if error.kind() == connector_spi::ErrorKind::Cancelled => "CANCELLED",
            Some((_, Err(_))) => "FAILED",
        }
    }

    pub(crate) fn error(&self) -> Option<String> {
        self.rest().ended.as_ref().and_then(|(_, end)| end.as_ref().err().map(ToString::to_string))
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Counts rows that went to the client and returns how many there are now.
    pub(crate) fn add_rows(&self, rows: usize) -> u64 {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64
    }

    pub(crate) fn routes(&self) -> Vec<Vec<String>> {
        self.rest().crew.as_ref().map(Crew::routes).unwrap_or_default()
    }

    pub(crate) fn run_by(&self, crew: Crew) {
        let mut rest = self.rest();
        rest.running = true;
        rest.crew = Some(crew);
    }

    pub(crate) fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// Ends when the query is cancelled from elsewhere.
    pub(crate) async fn cancelled(self: Arc<Self>) -> Error {
        let mut cancel = self.cancel.subscribe();
        // The sender lives in the query, which this future holds.
        let _ = cancel.wait_for(|cancelled| *cancelled).await;
        Error::new(connector_spi::ErrorKind::Cancelled, "the query was cancelled")
    }

    fn end(&self, end: Result<(), Error>) {
        let elapsed = self.clock.elapsed();
        self.rest().ended.get_or_insert((elapsed, end));
    }

    fn is_running(&self) -> bool {
        self.rest().ended.is_none()
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All queries of this coordinator since it started, the oldest ended ones forgotten.
#[derive(Debug, Default)]
pub(crate) struct History {
    queries: Mutex<VecDeque<Arc<Query>>>,
}

impl History {
    /// A query begins; it ends when the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>, user: &str, sql: &str) -> Life {
        let query = Arc::new(Query {
            id: uuid::Uuid::new_v4().to_string(),
            user: user.to_owned(),
            sql: redact(sql),
            started: SystemTime::now(),
            clock: Instant::now(),
            rows: AtomicU64::new(0),
            cancel: watch::channel(false).0,
            rest: Mutex::default(),
        });
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if queries.len() >= REMEMBERED
            && let Some(oldest) = queries.iter().position(|query| !query.is_running())
        {
            queries.remove(oldest);
        }
        queries.push_back(Arc::clone(&query));
        Life(query)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Query>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Query>> {
        self.all().into_iter().find(|query| query.id == id && query.is_running())
    }

    pub(crate) fn running(&self) -> usize {
        self.all().iter().filter(|query| query.is_running()).count()
    }
}

/// Text that may hold a password is not kept.
fn redact(sql: &str) -> String {
    let is_secret = sql.trim_start().get(..14).is_some_and(|start| start.eq_ignore_ascii_case("create catalog"));
    match (is_secret, sql.to_ascii_lowercase().find("with")) {
        (true, Some(at)) => format!("{}WITH (***)", &sql[..at]),
        _ => sql.chars().take(10_000).collect(),
    }
}

/// A query's life: dropped before its end, the query counts as cancelled.
pub(crate) struct Life(pub(crate) Arc<Query>);

impl Life {
    pub(crate) fn end(&self, end: Result<(), Error>) {
        self.0.end(end);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(connector_spi::ErrorKind::Cancelled, "the client went away")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_create_catalog_are_not_kept() {
        let text = redact("CREATE CATALOG pg USING postgres WITH (url 'postgres://u:sentinel@h')");
        assert!(!text.contains("sentinel"), "{text}");
    }

    #[test]
    fn a_dropped_life_is_a_cancelled_query() {
        let history = Arc::new(History::default());
        let life = history.begin("u", "SELECT 1");
        assert_eq!((history.running(), life.0.state()), (1, "PLANNING"));
        let query = Arc::clone(&life.0);
        drop(life);
        assert_eq!((history.running(), query.state()), (0, "CANCELLED"));
    }
}
