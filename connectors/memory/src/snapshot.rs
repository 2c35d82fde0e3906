//! Snapshots: the rows of a table as they were when a query was planned, cut into splits.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::record_batch::RecordBatch;
use connector_spi::{Error, Result, Scan, Split, Splits};

use crate::store::Stored;

/// The rows of one table at one moment; lives as long as the guard of its splits.
#[derive(Debug)]
struct Snapshot(Arc<Vec<RecordBatch>>);

/// The snapshots that queries hold.
#[derive(Debug)]
pub(crate) struct Snapshots {
    next: AtomicU64,
    held: Mutex<HashMap<u64, Weak<Snapshot>>>,
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        // A token must never be taken for one of another source: a catalog may be dropped and made
        // anew while a query runs, and another process has a source of the same name.
        let first = RandomState::new().hash_one("the first snapshot of a source");
        Self { next: AtomicU64::new(first), held: Mutex::default() }
    }

    /// Cuts a table's rows into at most `wanted` splits of about equal size; at least one.
    pub(crate) fn cut(&self, table: &Stored, wanted: usize) -> Splits {
        let snapshot = Arc::new(Snapshot(Arc::clone(&table.batches)));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.retain(|_, snapshot| snapshot.strong_count() > 0);
            held.insert(id, Arc::downgrade(&snapshot));
        }
        let rows = table.rows as u128;
        let pieces = wanted.clamp(1, table.rows.max(1));
        let split = |piece: usize| {
            let edge = |piece: usize| (rows * piece as u128 / pieces as u128) as u64;
            let (start, end) = (edge(piece), edge(piece + 1));
            let token = [id, start, end].iter().flat_map(|number| number.to_le_bytes()).collect();
            Split { token, rows: Some(end - start), bytes: Some((table.bytes / pieces) as u64) }
        };
        Splits { splits: (0..pieces).map(split).collect(), guard: Some(snapshot), uncut: None }
    }

    /// The rows of a split, with all columns of the table, sharing memory with it.
    ///
    /// Errors: `INTERNAL` for a split of a snapshot that is not held, or is not of this source.
    pub(crate) fn rows(&self, scan: &Scan, split: &Split) -> Result<Vec<RecordBatch>> {
        let name = || format!("\"{}.{}\"", scan.catalog, scan.table);
        let [id, start, end] =
            numbers(&split.token).ok_or_else(|| Error::internal(format!("a split of table {} is broken", name())))?;
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let snapshot = held.and_then(|snapshot| snapshot.upgrade()).ok_or_else(|| {
            Error::internal(format!("the rows of table {} are not in this process", name()))
                .detail("Rows in memory live with the query that was planned on them, on the coordinator.")
        })?;
        let (mut found, mut first) = (Vec::new(), 0);
        for batch in snapshot.0.iter() {
            let after = first + batch.num_rows() as u64;
            let (from, to) = (start.max(first), end.min(after));
            if from < to {
                found.push(batch.slice((from - first) as usize, (to - from) as usize));
            }
            if after >= end {
                break;
            }
            first = after;
        }
        Ok(found)
    }
}

fn numbers(token: &[u8]) -> Option<[u64; 3]> {
    let (numbers, rest) = token.as_chunks::<8>();
    let numbers: &[[u8; 8]; 3] = numbers.try_into().ok()?;
    rest.is_empty().then(|| numbers.map(u64::from_le_bytes))
}
