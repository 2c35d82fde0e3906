//! The five verbs for reading.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Error, Op, ReadContext, Result, Scan, SchemaEntry, Source, Split, Splits, Table, TableEntry,
    TableKind, TableName, TableStatistics,
};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::generate::{Share, generate};
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
            _ => Absorbed::No("generated rows are filtered by the engine"),
        }
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits> {
        let table = table_of(scan)?;
        let rows = table.rows(scale_of(&scan.table.schema)?);
        let parts = match table {
            TpchTable::Nation | TpchTable::Region => 1,
            _ => rows.div_ceil(SPLIT_ROWS).max(wanted as u64).min(rows).max(1),
        };
        let split = |part: u64| {
            let token = [part, parts].iter().flat_map(|n| n.to_le_bytes()).collect();
            Split { token, rows: Some(rows / parts), bytes: Some(rows / parts * table.row_bytes()) }
        };
        Ok(Splits::of((1..=parts).map(split).collect()))
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
        let broken = || Error::internal("a split of generated rows is not readable");
        let number = |at: usize| {
            let bytes = split.token.get(at * 8..at * 8 + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes).and_then(|n| i32::try_from(n).ok()).ok_or_else(broken)
        };
        let (part, parts) = (number(0)?, number(1)?);
        let share = Share { table: table_of(scan)?, scale: scale_of(&scan.table.schema)?, part, parts };
        let (sender, receiver) = mpsc::channel::<Result<RecordBatch>>(2);
        let scan = scan.clone();
        let counters = Arc::clone(&context.counters);
        tokio::task::spawn_blocking(move || {
            // The generator stops when the receiver is dropped.
            let mut send = |batch: Result<RecordBatch>| {
                if let Ok(batch) = &batch {
                    counters.add_bytes(batch.get_array_memory_size());
                }
                sender.blocking_send(batch).is_ok()
            };
            generate(share, &scan, context.batch_rows.max(1), &mut send);
        });
        let next = |mut receiver: mpsc::Receiver<Result<RecordBatch>>| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        };
        Ok(futures::stream::unfold(receiver, next).boxed())
    }
}

fn table_of(scan: &Scan) -> Result<TpchTable> {
    TpchTable::named(&scan.table.table)
        .ok_or_else(|| Error::not_found(format!("table \"{}\" does not exist", scan.table)))
}
