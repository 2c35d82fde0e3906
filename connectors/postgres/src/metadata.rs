//! What the catalog of Postgres says of tables: one query for the list, one for the tables that a statement names.

use std::sync::Arc;
use std::time::Duration;

use connector_spi::{
    Column, ColumnStatistics, Error, Result, SchemaEntry, Table, TableEntry, TableKind, TableName, TableStatistics,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::pool::{Pool, Values, WAIT, begin_read};
use crate::types::{Choices, Collation, Described, Kind};

/// How long a question to the catalog may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Partitions are left out: their rows are the partitioned table's. They can be read by name.
const LIST: &str = "
SELECT n.nspname::text, c.relname::text, c.relkind IN ('v', 'm')
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c
  ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
ORDER BY n.nspname, c.relname";

/// One row a column, and one of NULL for a table without columns; first the place of the table in the arrays of names.
///
/// To plan this costs Postgres more than to run it, so it is asked once for all tables.
///
/// Domains are resolved to what they are made of. NOT NULL counts only where Postgres guarantees it: not for
/// foreign tables, not where a child table may allow NULL, not where a constraint is not validated.
/// Versions differ in `collisdeterministic` and in what `reltuples` says of a table never analyzed.
const TABLES: &str = "
WITH RECURSIVE target AS (
  SELECT w.at, c.oid, n.nspname, c.relname, c.relkind, c.relhassubclass,
    CASE
      WHEN c.relkind = 'p' THEN (
        SELECT CASE WHEN min(l.reltuples) >= 0 THEN sum(l.reltuples::float8) END
        FROM pg_catalog.pg_partition_tree(c.oid) p JOIN pg_catalog.pg_class l ON l.oid = p.relid WHERE p.isleaf)
      WHEN c.relkind NOT IN ('r', 'm', 'f') OR c.reltuples < 0 OR c.reltuples = 0 AND c.relpages = 0 THEN NULL
      ELSE c.reltuples::float8
    END AS tuples,
    CASE
      WHEN c.relkind = 'p' THEN (
        SELECT sum(l.relpages::int8)
        FROM pg_catalog.pg_partition_tree(c.oid) p JOIN pg_catalog.pg_class l ON l.oid = p.relid WHERE p.isleaf)
      WHEN c.relkind IN ('r', 'm') AND c.relpages > 0 THEN c.relpages::int8
      WHEN c.relkind IN ('r', 'm')
        THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
    END AS pages,
    (
      SELECT pg_catalog.array_agg(DISTINCT a.attname::text)
      FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
      JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree'
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typcollation = 0
      WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
    ) AS indexed
  FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) WITH ORDINALITY AS w (schema, name, at)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), resolved AS (
  SELECT c.oid, a.attnum, a.atttypid AS type, a.atttypmod AS modifier
  FROM target c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT r.oid, r.attnum, t.typbasetype, t.typtypmod
  FROM resolved r JOIN pg_catalog.pg_type t ON t.oid = r.type AND t.typtype = 'd'
)
SELECT c.at, a.attname::text,
  CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END,
  r.modifier,
  CASE WHEN t.typcategory = 'A' AND e.typnamespace = 'pg_catalog'::regnamespace AND t.oid = e.typarray
    THEN e.typname::text WHEN t.typcategory = 'A' THEN '' END,
  a.attnotnull AND (c.relkind IN ('m', 'p') OR c.relkind = 'r' AND NOT c.relhassubclass)
    AND NOT EXISTS (
      SELECT 1 FROM pg_catalog.pg_constraint k
      WHERE k.conrelid = c.oid AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY (k.conkey)),
  coalesce((pg_catalog.to_jsonb(l) ->> 'collisdeterministic')::bool, true),
  s.null_frac::float8, s.n_distinct::float8,
  c.tuples, (c.pages * pg_catalog.current_setting('block_size')::int8)::int8, c.relkind::text,
  pg_catalog.getdatabaseencoding()::text, c.indexed,
  pg_catalog.current_setting('server_version_num')::int4 >= 140000
FROM target c
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN (resolved r JOIN pg_catalog.pg_type t ON t.oid = r.type AND t.typtype <> 'd') ON r.oid = c.oid AND r.attnum = a.attnum
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typelem <> 0
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN LATERAL (
  SELECT p.null_frac, p.n_distinct FROM pg_catalog.pg_stats p
  WHERE p.schemaname = c.nspname AND p.tablename = c.relname AND p.attname = a.attname
  ORDER BY p.inherited DESC LIMIT 1
) s ON true
ORDER BY c.at, a.attnum";

/// The columns of a table that the user may not read; none where it may read none.
const DENIED: &str = "
SELECT a.attname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1 AND c.relname = $2 AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
  AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY a.attnum";

/// What of a table travels with every scan of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    /// The SQL that is read in place of a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<String>,
    /// Whether that SQL is the connector's and not a user's.
    pub(crate) own: bool,
    /// Postgres' own letter for table, view and so on.
    pub(crate) relkind: String,
    /// About how many rows, if known.
    pub(crate) rows: Option<u64>,
    /// About how many bytes, if known.
    pub(crate) bytes: Option<u64>,
    /// Columns with an index in their order, which is the engine's: not text.
    pub(crate) indexed: Vec<String>,
    /// Whether the server looks values of a long list up by their hash: since version 14.
    pub(crate) hashes_lists: bool,
    /// About how many different values each column has, if known.
    pub(crate) distinct: Vec<Option<u64>>,
}

impl Facts {
    /// The facts of a table of this connector; unknown ones are absent.
    pub(crate) fn read(native: &str) -> Self {
        serde_json::from_str(native).unwrap_or_default()
    }

    /// As they travel. Errors: `INTERNAL`.
    pub(crate) fn text(&self) -> Result<String> {
        let wrong = |cause| Error::internal(format!("the facts of a table cannot be kept: {cause}"));
        serde_json::to_string(self).map_err(wrong)
    }
}

/// Asks the catalog of Postgres for what a query needs; it waits in a line with the readers of others, on all nodes.
async fn ask(pool: &Arc<Pool>, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
    ask_within(pool, WAIT, sql, values).await
}

/// Asks when a connection is free.
async fn ask_within(pool: &Arc<Pool>, wait: Duration, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
    let place = pool.place(None);
    let mut lease = pool.lease(wait).await?;
    let begin = begin_read();
    match timeout(ANSWER, lease.ask(&begin, sql, values)).await.map_err(|_| pool.late(ANSWER))?? {
        Ok(rows) => {
            lease.finish().await;
            Ok(rows)
        }
        Err(error) => Err(lease.failed(&error, &place).await),
    }
}

fn cell<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
    row.try_get(at)
        .map_err(|cause| Error::internal(format!("the catalog of Postgres answered otherwise than expected: {cause}")))
}

/// Every schema with its tables.
pub(crate) async fn list(pool: &Arc<Pool>) -> Result<Vec<SchemaEntry>> {
    let mut schemas: Vec<SchemaEntry> = Vec::new();
    for row in ask_within(pool, ANSWER, LIST, &[]).await? {
        let name: String = cell(&row, 0)?;
        if schemas.last().is_none_or(|schema| schema.name != name) {
            schemas.push(SchemaEntry { name, tables: Vec::new() });
        }
        let table: Option<String> = cell(&row, 1)?;
        if let (Some(schema), Some(name)) = (schemas.last_mut(), table) {
            let kind = if cell(&row, 2)? { TableKind::View } else { TableKind::Table };
            schema.tables.push(TableEntry { name, kind });
        }
    }
    Ok(schemas)
}

/// The columns that the user may not read of a table of which it may read others.
pub(crate) async fn denied(pool: &Arc<Pool>, name: &TableName) -> Result<Vec<String>> {
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&name.schema, Type::TEXT), (&name.table, Type::TEXT)];
    ask(pool, DENIED, &values).await?.iter().map(|row| cell(row, 0)).collect()
}

/// One table with everything planning wants to know.
pub(crate) async fn table(pool: &Arc<Pool>, name: &TableName) -> Result<Option<Table>> {
    tables(pool, std::slice::from_ref(name)).await.pop().unwrap_or(Ok(None))
}

/// Several tables, each with everything planning wants to know.
pub(crate) async fn tables(pool: &Arc<Pool>, names: &[TableName]) -> Vec<Result<Option<Table>>> {
    // No name in Postgres has this character, and no statement may.
    let possible = |name: &&TableName| !name.schema.contains('\0') && !name.table.contains('\0');
    let (schemas, tables): (Vec<_>, Vec<_>) =
        names.iter().filter(possible).map(|name| (name.schema.as_str(), name.table.as_str())).unzip();
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)];
    let rows = match schemas.is_empty() {
        true => Ok(Vec::new()),
        false => ask(pool, TABLES, &values).await.and_then(|rows| {
            let at = |row: Row| Ok((cell::<i64>(&row, 0)?, row));
            rows.into_iter().map(at).collect::<Result<Vec<_>>>()
        }),
    };
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return names.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut at = 0;
    let mut answers = Vec::with_capacity(names.len());
    for name in names {
        if !possible(&name) {
            answers.push(Ok(None));
            continue;
        }
        at += 1;
        let first = rows.partition_point(|(of, _)| *of < at);
        let own = &rows[first..rows.partition_point(|(of, _)| *of <= at)];
        answers.push(described(pool, own));
    }
    answers
}

/// A table from its rows, each behind the table's place; none where there is no row.
fn described(pool: &Pool, rows: &[(i64, Row)]) -> Result<Option<Table>> {
    let Some((_, first)) = rows.first() else { return Ok(None) };
    let tuples: Option<f64> = cell(first, 9)?;
    let bytes: Option<i64> = cell(first, 10)?;
    let mut facts = Facts {
        query: None,
        own: false,
        relkind: cell(first, 11)?,
        rows: tuples.map(|tuples| tuples as u64),
        bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        indexed: cell::<Option<Vec<String>>>(first, 13)?.unwrap_or_default(),
        hashes_lists: cell(first, 14)?,
        distinct: Vec::new(),
    };
    let unicode = cell::<String>(first, 12)? == "UTF8";
    let mut columns = Vec::with_capacity(rows.len());
    let mut statistics = Vec::with_capacity(rows.len());
    for (_, row) in rows {
        let Some(name) = cell::<Option<String>>(row, 1)? else { continue };
        columns.push(column(name, row, unicode, &pool.settings.choices)?);
        statistics.push(ColumnStatistics {
            null_fraction: cell(row, 7)?,
            distinct: cell::<Option<f64>>(row, 8)?.and_then(|distinct| different(distinct, facts.rows)),
        });
    }
    facts.distinct = statistics.iter().map(|column| column.distinct).collect();
    let mut table = Table::new(columns);
    table.native = facts.text()?;
    table.statistics = TableStatistics { rows: facts.rows, bytes: facts.bytes, columns: statistics };
    Ok(Some(table))
}

fn column(name: String, row: &Row, unicode: bool, choices: &Choices) -> Result<Column> {
    let type_name: Option<String> = cell(row, 2)?;
    let element: Option<String> = cell(row, 4)?;
    let described = Described {
        name: type_name.as_deref().unwrap_or_default(),
        modifier: cell::<Option<i32>>(row, 3)?.unwrap_or(-1),
        element: element.as_deref(),
        collation: match (unicode, cell(row, 6)?) {
            (false, _) => Collation::Foreign,
            (true, true) => Collation::Bytes,
            (true, false) => Collation::Loose,
        },
    };
    let kind = Kind::of(&described, choices);
    let required: bool = cell(row, 5)?;
    let nullable = !required || matches!(kind, Kind::Finite(_));
    Ok(Column::new(name, kind.data_type(), nullable).with_native(kind.native()?))
}

/// Different values; a negative number is a share of the rows, zero is unknown.
fn different(distinct: f64, rows: Option<u64>) -> Option<u64> {
    match distinct {
        share if share < 0.0 => rows.map(|rows| (-share * rows as f64).round() as u64),
        number if number > 0.0 => Some(number as u64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_number_of_values_is_a_share_of_the_rows() {
        assert_eq!(different(-0.5, Some(1000)), Some(500));
        assert_eq!(different(-1.0, None), None);
        assert_eq!(different(7.0, None), Some(7));
        assert_eq!(different(0.0, Some(9)), None);
    }

    #[test]
    fn facts_that_are_missing_are_unknown() {
        assert_eq!(Facts::read("").rows, None);
        let text =
            serde_json::to_string(&Facts { relkind: "r".into(), rows: Some(3), ..Facts::default() }).expect("text");
        assert_eq!((Facts::read(&text).rows, Facts::read(&text).relkind), (Some(3), "r".to_owned()));
    }
}
