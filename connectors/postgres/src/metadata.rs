//! What the catalog of Postgres says of tables: one query for the list, one for a table.

use std::time::Duration;

use connector_spi::{
    Column, ColumnStatistics, Error, ErrorKind, Result, SchemaEntry, Table, TableEntry, TableKind, TableName, TableStatistics,
};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::error::{Place, running};
use crate::types::{Described, Kind};

/// How long a question to the catalog may take.
const ANSWER: Duration = Duration::from_secs(10);

const LIST: &str = "
SELECT n.nspname::text, c.relname::text, c.relkind::text
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT c.relispartition
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY 1, 2";

const TABLE: &str = "
SELECT a.attname::text, bt.typname::text, bt.typtype::text,
  CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, a.attnotnull,
  CASE WHEN bt.typcategory = 'A' THEN et.typname::text END, coalesce(co.collisdeterministic, true),
  s.null_frac, s.n_distinct, c.reltuples, c.relpages, pg_catalog.getdatabaseencoding()::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type bt ON bt.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_type et ON et.oid = bt.typelem
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN LATERAL (
  SELECT p.null_frac, p.n_distinct FROM pg_catalog.pg_stats p
  WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname ORDER BY p.inherited DESC LIMIT 1
) s ON true
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY a.attnum";

async fn ask(client: &Client, sql: &str, values: &[(&(dyn ToSql + Sync), Type)], place: &Place) -> Result<Vec<Row>> {
    let answered = tokio::time::timeout(ANSWER, client.query_typed(sql, values)).await;
    let late = || Error::new(ErrorKind::Timeout, format!("Postgres at {} did not answer within {} s", place.address, ANSWER.as_secs()));
    answered.map_err(|_| late())?.map_err(|error| running(&error, place))
}

fn cell<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|cause| Error::internal(format!("the catalog of Postgres answered otherwise than expected: {cause}")))
}

/// Every schema with its tables; partitions of a partitioned table are left out.
pub(crate) async fn list(client: &Client, place: &Place) -> Result<Vec<SchemaEntry>> {
    let mut schemas: Vec<SchemaEntry> = Vec::new();
    for row in ask(client, LIST, &[], place).await? {
        let name: String = cell(&row, 0)?;
        if schemas.last().is_none_or(|schema| schema.name != name) {
            schemas.push(SchemaEntry { name, tables: Vec::new() });
        }
        let table: Option<String> = cell(&row, 1)?;
        let kind: Option<String> = cell(&row, 2)?;
        if let (Some(schema), Some(name)) = (schemas.last_mut(), table) {
            let view = kind.is_some_and(|kind| kind == "v" || kind == "m");
            schema.tables.push(TableEntry { name, kind: if view { TableKind::View } else { TableKind::Table } });
        }
    }
    Ok(schemas)
}

/// One table with everything planning wants to know.
pub(crate) async fn table(client: &Client, name: &TableName, place: &Place) -> Result<Option<Table>> {
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&name.schema, Type::TEXT), (&name.table, Type::TEXT)];
    let rows = ask(client, TABLE, &values, place).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let tuples: f32 = cell(first, 9)?;
    let pages: i32 = cell(first, 10)?;
    // Minus one: never analyzed.
    let count = (tuples >= 0.0 && pages > 0).then_some(tuples as u64);
    let mut columns = Vec::with_capacity(rows.len());
    let mut statistics = Vec::with_capacity(rows.len());
    for row in &rows {
        let (type_name, class): (String, String) = (cell(row, 1)?, cell(row, 2)?);
        let element: Option<String> = cell(row, 5)?;
        let described = Described {
            name: &type_name,
            class: &class,
            modifier: cell(row, 3)?,
            element: element.as_deref(),
            deterministic: cell(row, 6)?,
        };
        let kind = Kind::of(&described);
        let required: bool = cell(row, 4)?;
        columns.push(Column::new(cell::<String>(row, 0)?, kind.data_type(), !required).with_native(kind.native()));
        let null_fraction: Option<f32> = cell(row, 7)?;
        let distinct: Option<f32> = cell(row, 8)?;
        statistics.push(ColumnStatistics {
            null_fraction: null_fraction.map(f64::from),
            distinct: distinct.and_then(|distinct| match distinct {
                // A negative number is a share of the rows.
                share if share < 0.0 => count.map(|count| (f64::from(-share) * count as f64) as u64),
                0.0 => None,
                number => Some(number as u64),
            }),
        });
    }
    let bytes = u64::try_from(pages).ok().filter(|pages| *pages > 0).map(|pages| pages * 8192);
    let mut table = Table::new(columns);
    table.native = cell(first, 11)?;
    table.statistics = TableStatistics { rows: count, bytes, columns: statistics };
    Ok(Some(table))
}
