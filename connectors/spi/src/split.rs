//! Splits: the independently readable pieces of a scan, and what a reader is given.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::Refusal;

/// One piece of a scan: a plain value that travels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Which piece, in a form private to the connector.
    pub token: Vec<u8>,
    /// About how many rows it returns, if known; absent where that does not count the scan's filters.
    pub rows: Option<u64>,
    /// About how many bytes, if known; decides how many workers take part.
    pub bytes: Option<u64>,
}

/// What the coordinator holds until a query ends.
pub type Guard = Arc<dyn Any + Send + Sync>;

/// All pieces of a scan.
#[derive(Clone)]
pub struct Splits {
    /// The pieces; at least one.
    pub splits: Vec<Split>,
    /// Held by the coordinator until the query ends, such as an exported snapshot; never travels.
    pub guard: Option<Guard>,
    /// Why there is one piece where several would have been read at once, for EXPLAIN.
    pub uncut: Option<Refusal>,
}

impl Splits {
    /// One split that is the whole scan.
    pub fn whole() -> Self {
        Self::of(vec![Split::default()])
    }

    /// These splits, nothing held.
    pub fn of(splits: Vec<Split>) -> Self {
        Self { splits, guard: None, uncut: None }
    }
}

impl fmt::Debug for Splits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Splits");
        shown.field("splits", &self.splits).field("guard", &self.guard.is_some()).field("uncut", &self.uncut).finish()
    }
}

/// What a reader is given beside scan and split.
#[derive(Debug, Clone)]
pub struct ReadContext {
    /// Rows a batch should have.
    pub batch_rows: usize,
    /// Where the reader counts what it moved.
    pub counters: Arc<ReadCounters>,
}

/// What a reader moved, for EXPLAIN ANALYZE.
#[derive(Debug, Default)]
pub struct ReadCounters {
    bytes: AtomicU64,
    requests: AtomicU64,
    misfits: AtomicU64,
}

impl ReadCounters {
    /// Counts bytes received from the source.
    pub fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts one request to the source.
    pub fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts values that became NULL because they are not of their column's type, where the catalog wants it so.
    pub fn add_misfits(&self, values: u64) {
        self.misfits.fetch_add(values, Ordering::Relaxed);
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Values that did not fit, so far.
    pub fn misfits(&self) -> u64 {
        self.misfits.load(Ordering::Relaxed)
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}
