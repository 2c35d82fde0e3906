//! Snapshots: the rows of a table as they were when a query was planned, cut into splits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::record_batch::RecordBatch;
use connector_spi::{Error, Result, Split, Splits};

use crate::store::Stored;

/// The rows of one table at one moment; lives as long as the guard of its splits.
type Snapshot = Arc<Vec<RecordBatch>>;

/// The snapshots that queries hold.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    next: AtomicU64,
    held: Mutex<HashMap<u64, Weak<Vec<RecordBatch>>>>,
}

impl Snapshots {
    /// Cuts a table's rows into at most `wanted` splits of about equal size; at least one.
    pub(crate) fn cut(&self, table: Stored, wanted: usize) -> Splits {
        let (rows, bytes) = (table.rows(), table.bytes());
        let snapshot: Snapshot = Arc::new(table.batches);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, snapshot| snapshot.strong_count() > 0);
        held.insert(id, Arc::downgrade(&snapshot));
        let pieces = wanted.clamp(1, rows.max(1));
        let split = |piece: usize| {
            let (start, end) = (rows * piece / pieces, rows * (piece + 1) / pieces);
            let token = [id, start as u64, end as u64].iter().flat_map(|n| n.to_le_bytes()).collect();
            Split { token, rows: Some((end - start) as u64), bytes: Some((bytes / pieces) as u64) }
        };
        Splits { splits: (0..pieces).map(split).collect(), guard: Some(snapshot) }
    }

    /// The rows of a split, sharing memory with the table.
    pub(crate) fn rows(&self, split: &Split) -> Result<Vec<RecordBatch>> {
        let gone = || Error::internal("the snapshot of a table in memory is gone");
        let number = |at: usize| {
            let bytes = split.token.get(at * 8..at * 8 + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes).ok_or_else(|| Error::internal("a split of a table in memory is not readable"))
        };
        let (id, start, end) = (number(0)?, number(1)? as usize, number(2)? as usize);
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let snapshot = held.and_then(|snapshot| snapshot.upgrade()).ok_or_else(gone)?;
        let mut found = Vec::new();
        let mut first = 0;
        for batch in snapshot.iter() {
            let (from, to) = (start.max(first), end.min(first + batch.num_rows()));
            if from < to {
                found.push(batch.slice(from - first, to - from));
            }
            first += batch.num_rows();
        }
        Ok(found)
    }
}
