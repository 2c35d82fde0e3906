//! Splits: ranges of a table's pages, all read in one exported snapshot.

use std::sync::Arc;
use std::time::Duration;

use connector_spi::{Error, ErrorKind, Refusal, RefusalCode, Result, Scan, Split, Splits};
use futures::future;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::error::{is_crowded, lost, running};
use crate::metadata::Facts;
use crate::passthrough;
use crate::pool::{Lease, Pool, begin_read, begin_snapshot, first_column};
use crate::sql::{identifier, select};

/// How long the questions before a read may take.
const ANSWER: Duration = Duration::from_secs(30);
/// A stretch has a sample of one page in so many, if it has so many.
const SAMPLE: u32 = 128;
/// Ranges of `ctid` are read as ranges since this version.
const RANGES_SINCE: i32 = 140_000;

/// The snapshot, and one row a table that holds rows: the table itself, or the leaves of a partitioned one.
/// A leaf that the user may not read, or that filters rows by itself, is read by its parent alone; so is a table with
/// children that are no partitions. What was emptied or written anew after the snapshot was taken would be empty in it.
const RELATIONS: &str = "
SELECT (SELECT pg_catalog.pg_export_snapshot()), pg_catalog.current_setting('server_version_num')::int4,
  n.nspname::text, l.relname::text,
  (pg_catalog.pg_relation_size(l.oid) / pg_catalog.current_setting('block_size')::int8)::int8,
  coalesce(a.amname = 'heap', false),
  c.relkind = 'p' AND (c.relrowsecurity OR l.relrowsecurity OR NOT pg_catalog.has_table_privilege(l.oid, 'SELECT'))
    OR l.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(l.oid),
  pg_catalog.current_setting('block_size')::int8,
  pg_catalog.current_setting('max_parallel_workers_per_gather')::int4
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
JOIN LATERAL (
  SELECT c.oid AS relid WHERE c.relkind <> 'p'
  UNION ALL
  SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf AND c.relkind = 'p'
) p ON true
JOIN pg_catalog.pg_class l ON l.oid = p.relid
JOIN pg_catalog.pg_namespace n ON n.oid = l.relnamespace
LEFT JOIN pg_catalog.pg_am a ON a.oid = l.relam
WHERE s.nspname = $1 AND c.relname = $2 AND NOT (c.relkind = 'r' AND c.relhassubclass)
ORDER BY n.nspname, l.relname";

const UNEXPORTED: Refusal =
    Refusal::new(RefusalCode::Source, "the server exports no snapshot that several connections could read in")
        .remedy("let the user call pg_export_snapshot() there, or read a server that exports them");

/// What a split reads, as it travels; without a relation, the scan's own table whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// The snapshot to read in; without one, each statement has its own.
    pub(crate) snapshot: Option<String>,
    /// What to read, one after the other.
    pub(crate) parts: Vec<Part>,
    /// How many processes the server itself takes for a large statement.
    #[serde(default)]
    pub(crate) processes: usize,
}

/// Some pages of a relation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Schema and name; without one, the scan's own table.
    pub(crate) relation: Option<(String, String)>,
    /// The first page.
    pub(crate) from: u32,
    /// The page after the last; without one, all that follow.
    pub(crate) to: Option<u32>,
    /// The page after some at the start that are few and yet enough to tell what the first rows in an order are about.
    #[serde(default)]
    pub(crate) sample: Option<u32>,
}

impl Part {
    /// The condition on pages; empty for all of them.
    pub(crate) fn condition(&self) -> Vec<String> {
        let from = (self.from > 0).then(|| format!("ctid >= '({},0)'::tid", self.from));
        let to = self.to.map(|to| format!("ctid < '({to},0)'::tid"));
        from.into_iter().chain(to).collect()
    }

    /// The sample alone.
    pub(crate) fn sampled(&self) -> Option<Self> {
        self.sample.map(|sample| Self { to: Some(sample), sample: None, ..self.clone() })
    }

    /// `"schema"."name"`, or a query in parentheses.
    pub(crate) fn name(&self, scan: &Scan) -> String {
        let Facts { query, own, .. } = Facts::read(&scan.native);
        match query {
            Some(query) if own => return format!("({query}) AS part"),
            Some(query) => return passthrough::enclosed(&query),
            None => {}
        }
        let (schema, table) = match &self.relation {
            Some((schema, table)) => (schema, table),
            None => (&scan.table.schema, &scan.table.table),
        };
        format!("{}.{}", identifier(schema), identifier(table))
    }
}

impl Token {
    /// Errors: `INTERNAL` for a split that this connector did not make.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self { parts: vec![Part::default()], ..Self::default() });
        }
        serde_json::from_slice(bytes).map_err(|_| Error::internal("a split of Postgres is not readable"))
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|cause| Error::internal(format!("a split of Postgres cannot be kept: {cause}")))
    }
}

/// Keeps the snapshot until the query ends.
struct Snapshot {
    lease: Option<Lease>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // Without a runtime the connection is closed, which ends the snapshot as well.
        if let (Some(lease), Ok(runtime)) = (self.lease.take(), Handle::try_current()) {
            runtime.spawn(lease.finish());
        }
    }
}

/// One piece, and several where the table is large enough to be read by several connections at once.
pub(crate) async fn cut(pool: &Arc<Pool>, scan: &Scan, wanted: usize) -> Result<Splits> {
    let facts = Facts::read(&scan.native);
    let least = pool.settings.split_bytes;
    let few = scan.limit.is_some_and(|limit| {
        let row = facts.bytes.unwrap_or(0) / facts.rows.unwrap_or(0).max(1);
        scan.filters.is_empty() && limit.saturating_mul(row.max(64)) < least
    });
    // The others are for the readers of other tables.
    let most = wanted.min(pool.settings.readers());
    // Until Postgres has said how many of them pass the filters.
    let mut rows = facts.rows.filter(|_| scan.filters.is_empty());
    let small = facts.bytes.is_some_and(|bytes| bytes < 2 * least);
    if most < 2 || few || small || !matches!(facts.relkind.as_str(), "r" | "m" | "p") {
        return Ok(one(&facts, scan.limit, rows));
    }
    if !scan.filters.is_empty() {
        let Some(estimate) = estimate(pool, scan).await? else { return Ok(one(&facts, scan.limit, rows)) };
        rows = estimate.rows;
        if !estimate.sequential {
            return Ok(one(&facts, scan.limit, rows));
        }
    }
    match hold(pool, scan).await? {
        Hold::Held(held) => held.cut(most, least, rows),
        Hold::None => Ok(one(&facts, scan.limit, rows)),
        Hold::Refused => Ok(Splits { uncut: Some(UNEXPORTED), ..one(&facts, scan.limit, rows) }),
    }
}

/// The pieces of a scan that has an order or groups by now: one, where an index gives the first rows, and where the server
/// itself takes as many processes to make the groups; its own share the memory of pages that are read once.
pub(crate) fn recut(scan: &Scan, splits: Vec<Split>) -> Vec<Split> {
    let facts = Facts::read(&scan.native);
    let served = scan.order.first().is_some_and(|key| {
        let column = &scan.columns[key.column];
        // An index has NULL at the end of its order, and is read in either direction.
        facts.indexed.contains(&column.name) && (!column.nullable || key.nulls_first == key.descending)
    });
    let Some(Ok(token)) = splits.first().map(|split| Token::read(&split.token)) else { return splits };
    let one = match scan.aggregation {
        None => served,
        Some(_) => facts.relkind == "r" && token.processes >= splits.len(),
    };
    if !one || splits.len() < 2 {
        return splits;
    }
    let bytes = splits.iter().map(|split| split.bytes).sum::<Option<u64>>();
    let (rows, bytes) = if scan.aggregation.is_some() { (None, bytes) } else { (scan.limit, Some(0)) };
    let whole = Token { parts: vec![Part::default()], ..token };
    whole.bytes().map_or(splits, |token| vec![Split { token, rows, bytes }])
}

fn one(facts: &Facts, limit: Option<u64>, rows: Option<u64>) -> Splits {
    let rows = match (rows, limit) {
        (Some(rows), Some(limit)) => Some(rows.min(limit)),
        (rows, limit) => rows.or(limit),
    };
    let bytes = match (facts.bytes, facts.rows, rows) {
        (Some(bytes), Some(all), Some(rows)) if all > 0 => Some((bytes as f64 * rows as f64 / all as f64) as u64),
        (bytes, ..) => bytes,
    };
    Splits::of(vec![Split { token: Vec::new(), rows, bytes }])
}

/// What Postgres would do for the scan.
struct Estimate {
    rows: Option<u64>,
    /// The whole table is read, no index serves.
    sequential: bool,
}

/// Asks for the plan of the scan; none where no connection is free.
async fn estimate(pool: &Arc<Pool>, scan: &Scan) -> Result<Option<Estimate>> {
    let Some(mut lease) = free(pool).await? else { return Ok(None) };
    let place = pool.place(Some(scan.table.to_string()));
    let text = format!("{}; EXPLAIN (FORMAT JSON) {}; ROLLBACK", begin_read(), select(scan, &Part::default())?);
    lease.begun();
    let answer = timeout(ANSWER, lease.client()?.simple_query(&text)).await.map_err(|_| pool.late(ANSWER))?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(lease.failed(&error, &place).await),
    };
    lease.ended();
    lease.finish().await;
    let json: String = first_column(&answer).collect();
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    let plan = &plan[0]["Plan"];
    // A count's own row says nothing of the table.
    let rows = (!scan.schema().fields().is_empty()).then(|| plan["Plan Rows"].as_f64()).flatten();
    Ok(Some(Estimate { rows: rows.map(|rows| rows as u64), sequential: has(plan, "Seq Scan") }))
}

/// Whether a node of the plan is of a type, such as "Parallel Seq Scan".
fn has(plan: &serde_json::Value, node: &str) -> bool {
    plan["Node Type"].as_str().unwrap_or_default().contains(node)
        || plan["Plans"].as_array().is_some_and(|plans| plans.iter().any(|plan| has(plan, node)))
}

/// A connection, if one is free at once.
async fn free(pool: &Arc<Pool>) -> Result<Option<Lease>> {
    match pool.lease(Duration::ZERO).await {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if error.kind() == ErrorKind::ResourceExhausted => Ok(None),
        Err(error) => Err(error),
    }
}

/// What came of opening a snapshot.
enum Hold {
    Held(Box<Held>),
    /// The table cannot be cut, or no connection is free.
    None,
    /// The server exports none.
    Refused,
}

/// A snapshot, and the relations to be read in it.
struct Held {
    snapshot: String,
    guard: Snapshot,
    relations: Vec<Relation>,
    page_bytes: u64,
    processes: usize,
}

#[derive(Debug, Clone)]
struct Relation {
    name: (String, String),
    pages: u32,
    /// Whether its pages can be read by ranges.
    ranges: bool,
}

/// Opens the snapshot.
async fn hold(pool: &Arc<Pool>, scan: &Scan) -> Result<Hold> {
    let Ok(permit) = Arc::clone(&pool.snapshots).try_acquire_owned() else { return Ok(Hold::None) };
    let Some(mut lease) = free(pool).await? else { return Ok(Hold::None) };
    let place = pool.place(Some(scan.table.to_string()));
    let names: [(&(dyn ToSql + Sync), Type); 2] = [(&scan.table.schema, Type::TEXT), (&scan.table.table, Type::TEXT)];
    // Its lock is held as long as the snapshot, so that nobody empties the table or makes it anew before it is read.
    let lock = format!("SELECT FROM {} LIMIT 0", Part::default().name(scan));
    let begin = begin_snapshot(None);
    let ask = async |client: &Client| {
        let (locked, rows) = future::join(client.batch_execute(&lock), client.query_typed(RELATIONS, &names)).await;
        Ok(locked.map(|()| rows))
    };
    let answer = timeout(ANSWER, lease.transact(&begin, ask)).await.map_err(|_| pool.late(ANSWER))??;
    let answer = match answer {
        Ok(Ok(rows)) => rows,
        // Its reader says best why it cannot be read.
        Ok(Err(error)) if !lost(&error) && error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            lease.finish().await;
            return Ok(Hold::None);
        }
        Ok(Err(error)) => return Err(lease.failed(&error, &place).await),
        Err(error) => Err(error),
    };
    let rows = match answer {
        Ok(rows) => rows,
        Err(error) => {
            let Some(answer) = error.as_db_error() else { return Err(lease.failed(&error, &place).await) };
            // A replica that exports no snapshots, a user who may not, a pooler without a connection for it.
            let full = is_crowded(answer.message());
            tracing::debug!("no snapshot of \"{}.{}\": {}", scan.catalog, scan.table, running(&error, &place));
            lease.finish().await;
            return Ok(if full { Hold::None } else { Hold::Refused });
        }
    };
    let read = rows.first().and_then(facts).zip(relations(&rows)).filter(|(_, relations)| !relations.is_empty());
    let Some(((snapshot, page_bytes, processes), relations)) = read else {
        lease.finish().await;
        return Ok(Hold::None);
    };
    let guard = Snapshot { lease: Some(lease), _permit: permit };
    Ok(Hold::Held(Box::new(Held { snapshot, guard, relations, page_bytes, processes })))
}

/// The snapshot, the bytes of a page, and how many processes the server takes for a statement.
fn facts(row: &Row) -> Option<(String, u64, usize)> {
    let page_bytes = u64::try_from(row.try_get::<_, i64>(7).ok()?).ok()?;
    let helpers = usize::try_from(row.try_get::<_, i32>(8).ok()?).ok()?;
    Some((row.try_get(0).ok()?, page_bytes, helpers + 1))
}

fn relations(rows: &[Row]) -> Option<Vec<Relation>> {
    let relation = |row: &Row| {
        let recent = row.try_get::<_, i32>(1).ok()? >= RANGES_SINCE;
        let closed: bool = row.try_get(6).ok()?;
        let pages = u32::try_from(row.try_get::<_, i64>(4).ok()?).ok()?;
        let relation = Relation {
            name: (row.try_get(2).ok()?, row.try_get(3).ok()?),
            pages,
            ranges: recent && row.try_get(5).ok()?,
        };
        (!closed).then_some(relation)
    };
    rows.iter().map(relation).collect()
}

impl Held {
    /// At most `most` splits of at least about `least` bytes each.
    fn cut(self, most: usize, least: u64, rows: Option<u64>) -> Result<Splits> {
        let pages: u64 = self.relations.iter().map(|relation| u64::from(relation.pages)).sum();
        let least_pages = (least / self.page_bytes.max(1)).max(1);
        let count = (pages / least_pages).clamp(1, most as u64);
        let pieces = deal(&self.relations, count);
        let split = |parts: Vec<Part>| {
            let token = Token { snapshot: Some(self.snapshot.clone()), parts, processes: self.processes };
            let share = |all: u64| all / count;
            Ok(Split { token: token.bytes()?, rows: rows.map(share), bytes: Some(share(pages * self.page_bytes)) })
        };
        let splits = pieces.into_iter().map(split).collect::<Result<Vec<_>>>()?;
        Ok(Splits { splits, guard: Some(Arc::new(self.guard)), uncut: None })
    }
}

/// Cuts the pages of all relations, laid end to end, into `count` stretches of about the same length.
/// The last range of a relation has no end: pages that were added since are read, and hold no row of the snapshot.
fn deal(relations: &[Relation], count: u64) -> Vec<Vec<Part>> {
    let all: u64 = relations.iter().map(|relation| u64::from(relation.pages)).sum();
    let each = all.div_ceil(count.max(1)).max(1);
    let mut pieces: Vec<Vec<Part>> = vec![Vec::new()];
    let mut room = each;
    for relation in relations {
        let name = Some(relation.name.clone());
        let mut from = 0;
        loop {
            let left = u64::from(relation.pages - from);
            let last = left <= room || !relation.ranges || pieces.len() as u64 == count;
            let take = if last { left } else { room };
            let end = from + u32::try_from(take).unwrap_or(u32::MAX);
            if let Some(piece) = pieces.last_mut() {
                let sample = (relation.ranges && take >= u64::from(SAMPLE)).then(|| from + (end - from) / SAMPLE);
                piece.push(Part { relation: name.clone(), from, to: (!last).then_some(end), sample });
            }
            room = room.saturating_sub(take);
            if room == 0 && (pieces.len() as u64) < count {
                pieces.push(Vec::new());
                room = each;
            }
            if last {
                break;
            }
            from = end;
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(name: &str, pages: u32, ranges: bool) -> Relation {
        Relation { name: ("s".into(), name.into()), pages, ranges }
    }

    #[test]
    fn every_page_is_in_one_part() {
        let shapes: [&[(u32, bool)]; 7] = [
            &[(0, true)],
            &[(1, true)],
            &[(10, true)],
            &[(7, true), (0, true), (13, true)],
            &[(100, false), (3, true)],
            &[(5, true), (5, true), (5, true), (5, true)],
            &[(4_000_000_000, true)],
        ];
        for shape in shapes {
            let names = ["a", "b", "c", "d"];
            let relations: Vec<Relation> =
                shape.iter().zip(names).map(|((pages, ranges), name)| relation(name, *pages, *ranges)).collect();
            for count in 1..9 {
                let pieces = deal(&relations, count);
                assert!(pieces.len() as u64 <= count && !pieces.is_empty(), "{shape:?} in {count}: {pieces:?}");
                for relation in &relations {
                    let mut next = Some(0);
                    for part in pieces.iter().flatten().filter(|part| part.relation.as_ref() == Some(&relation.name)) {
                        assert_eq!(Some(part.from), next, "{shape:?} in {count}: {pieces:?}");
                        assert!(part.to.is_none_or(|to| to > part.from && relation.ranges));
                        next = part.to;
                    }
                    assert_eq!(next, None, "{shape:?} in {count}: the end of {relation:?} is missing in {pieces:?}");
                }
            }
        }
    }

    #[test]
    fn pieces_are_about_as_large() {
        let pieces = deal(&[relation("a", 1_000, true), relation("b", 10, true)], 4);
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().flatten().all(|part| part.to.is_none_or(|to| to - part.from <= 253)), "{pieces:?}");
    }

    #[test]
    fn a_plan_is_sequential_wherever_it_reads_a_whole_table() {
        let plan = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("json");
        assert!(has(&plan(r#"{"Node Type": "Gather", "Plans": [{"Node Type": "Parallel Seq Scan"}]}"#), "Seq Scan"));
        assert!(has(&plan(r#"{"Node Type": "Seq Scan"}"#), "Seq Scan"));
        assert!(!has(&plan(r#"{"Node Type": "Index Scan"}"#), "Seq Scan"));
        assert!(!has(&plan("null"), "Seq Scan"));
    }
}
