//! The connector against the contract: sizes, splits, projection, early end.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Decimal128Array, Int64Array, RecordBatch};
use connector_spi::{Connector, Options, ReadContext, Scan, Source, TableName};
use connector_tpch::Tpch;
use futures::{StreamExt, TryStreamExt};

fn source() -> Arc<dyn Source> {
    Tpch.open("tpch", &Options::check(&[], BTreeMap::new()).expect("options")).expect("opens")
}

async fn scan(table: &str) -> Scan {
    let name = TableName::new("tiny", table);
    Scan::new("tpch", name.clone(), &source().table(&name).await.expect("asked").expect("there"))
}

async fn read(scan: &Scan, wanted: usize) -> Vec<RecordBatch> {
    let mut all = Vec::new();
    for split in source().splits(scan, wanted).await.expect("splits").splits {
        let context = ReadContext { batch_rows: 1000, counters: Arc::default() };
        let rows: Vec<_> =
            source().read(scan, &split, context).await.expect("opens").try_collect().await.expect("reads");
        all.extend(rows);
    }
    all
}

#[tokio::test]
async fn every_table_has_its_size_at_scale_0_01() {
    let sizes = [
        ("customer", 1500),
        ("lineitem", 60175),
        ("nation", 25),
        ("orders", 15000),
        ("part", 2000),
        ("partsupp", 8000),
        ("region", 5),
        ("supplier", 100),
    ];
    for (table, size) in sizes {
        let rows = read(&scan(table).await, 3).await;
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), size, "{table}");
    }
}

#[tokio::test]
async fn any_number_of_splits_gives_the_same_rows() {
    let scan = scan("lineitem").await.with_projection(vec![5, 0]);
    let mut expected = None;
    for wanted in [1, 2, 7] {
        let batches = read(&scan, wanted).await;
        let mut rows: Vec<(i64, i128)> = Vec::new();
        for batch in &batches {
            let prices = batch.column(0).as_any().downcast_ref::<Decimal128Array>().expect("prices");
            let keys = batch.column(1).as_any().downcast_ref::<Int64Array>().expect("keys");
            rows.extend(keys.values().iter().copied().zip(prices.values().iter().copied()));
        }
        rows.sort_unstable();
        assert_eq!(rows, *expected.get_or_insert_with(|| rows.clone()), "{wanted} splits");
    }
}

#[tokio::test]
async fn no_columns_keep_the_number_of_rows_and_a_limit_ends_the_generator() {
    let scan = scan("orders").await.with_projection(Vec::new());
    assert_eq!(read(&scan, 1).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 15000);
    assert_eq!(read(&scan.with_limit(10), 1).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
}

#[tokio::test]
async fn a_stream_that_is_dropped_early_generates_no_more() {
    let scan = scan("lineitem").await;
    let split = source().splits(&scan, 1).await.expect("splits").splits.remove(0);
    let context = ReadContext { batch_rows: 100, counters: Arc::default() };
    let counters = Arc::clone(&context.counters);
    let mut rows = source().read(&scan, &split, context).await.expect("opens");
    rows.next().await.expect("a batch").expect("good");
    drop(rows);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let moved = counters.bytes();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(counters.bytes(), moved);
}
