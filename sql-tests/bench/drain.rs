//! Reads a whole table of Postgres into Arrow batches by the connector alone, all splits at once, and throws them away.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use connector_postgres::Postgres;
use connector_spi::{Connector, Options, ReadContext, ReadCounters, Scan, TableName};
use futures::{StreamExt, TryStreamExt};

/// Usage: drain URL SCHEMA.TABLE PIECES; prints rows and bytes received.
#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: drain URL SCHEMA.TABLE PIECES";
    let (url, table, pieces) = (args.next().context(usage)?, args.next().context(usage)?, args.next().context(usage)?);
    let (schema, table) = table.split_once('.').context(usage)?;
    let connector = Postgres;
    let options = Options::check(connector.options(), BTreeMap::from([("url".to_owned(), url.as_str().into())]))?;
    let source = connector.open("bench", &options)?;
    let name = TableName::new(schema, table);
    let described = source.table(&name).await?.context("no such table")?;
    let scan = Arc::new(Scan::new("bench", name, &described));
    let counters = Arc::new(ReadCounters::default());
    let cut = source.splits(&scan, pieces.parse()?).await?;
    let count = cut.splits.len();
    let reads = cut.splits.iter().cloned().map(|split| {
        let (source, scan) = (Arc::clone(&source), Arc::clone(&scan));
        let context = ReadContext { batch_rows: 8192, counters: Arc::clone(&counters) };
        tokio::spawn(async move {
            let mut batches = source.read(&scan, &split, context).await?;
            let mut rows = 0;
            while let Some(batch) = batches.try_next().await? {
                rows += batch.num_rows();
            }
            Ok::<_, connector_spi::Error>(rows)
        })
    });
    let reads: Vec<_> = reads.collect();
    let rows = futures::stream::iter(reads).then(|read| async { Ok::<_, anyhow::Error>(read.await??) });
    let rows: Vec<usize> = rows.try_collect().await?;
    println!("{} rows, {} bytes, {count} splits", rows.iter().sum::<usize>(), counters.bytes());
    Ok(())
}
