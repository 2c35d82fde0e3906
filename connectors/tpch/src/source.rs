//! The five verbs for reading.

use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Error, Op, ReadContext, Refusal, RefusalCode, Result, Scan, SchemaEntry, Source, Split,
    Splits, Table, TableEntry, TableKind, TableName, TableStatistics,
};

use crate::read::read;
use crate::share::Share;
use crate::table::{ALL, TpchTable, scale, scale_of};

/// Schemas that are listed; any other `sfN` can be named.
const LISTED: [&str; 5] = ["sf0_1", "sf1", "sf10", "sf100", "tiny"];

/// The most rows of one split.
const SPLIT_ROWS: u64 = 250_000;

/// Generates; holds nothing.
#[derive(Debug)]
pub(crate) struct TpchSource;

#[async_trait]
impl Source for TpchSource {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        let table = |table: TpchTable| TableEntry { name: table.name().to_owned(), kind: TableKind::Table };
        let schema = |name: &str| SchemaEntry { name: name.to_owned(), tables: ALL.into_iter().map(table).collect() };
        Ok(LISTED.into_iter().map(schema).collect())
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let (Some(scale), Some(found)) = (scale(&name.schema), TpchTable::named(&name.table)) else { return Ok(None) };
        let rows = found.rows(scale);
        let statistics =
            TableStatistics { rows: Some(rows), bytes: Some(rows * found.row_bytes()), columns: Vec::new() };
        Ok(Some(Table { statistics, ..Table::new(found.columns()) }))
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        match op {
            Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
            Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
            _ => Absorbed::No(Refusal::new(RefusalCode::Source, "generated rows are filtered by the engine")),
        }
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits> {
        let (table, scale) = (table_of(scan)?, scale_of(&scan.table.schema)?);
        let all = table.rows(scale);
        let parts = all.div_ceil(SPLIT_ROWS).max(wanted as u64).min(Share::most(table, scale)).max(1);
        let parts = i32::try_from(parts).unwrap_or(i32::MAX);
        let split = |part| {
            let share = Share { table, scale, part, parts };
            // To count the lines of a share takes as many steps as it has orders.
            let rows = if table == TpchTable::Lineitem { all / parts as u64 } else { share.rows() };
            Split { token: share.token(), rows: Some(rows), bytes: Some(rows * table.row_bytes()) }
        };
        Ok(Splits::of((1..=parts).map(split).collect()))
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
        let share = Share::of(table_of(scan)?, scale_of(&scan.table.schema)?, &split.token)?;
        Ok(read(share, scan.clone(), context))
    }
}

fn table_of(scan: &Scan) -> Result<TpchTable> {
    TpchTable::named(&scan.table.table)
        .ok_or_else(|| Error::not_found(format!("table \"{}\" does not exist", scan.table)))
}
