//! The connector against the contract, and its rows against the generator's own text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use connector_spi::{
    Absorbed, BatchStream, Comparison, Connector, Error, ErrorKind, Literal, Op, Options, Predicate, ReadContext, Scan,
    Source, Split, TableName,
};
use connector_tpch::Tpch;
use futures::{StreamExt, TryStreamExt};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

const TABLES: [(&str, usize); 8] = [
    ("customer", 1500),
    ("lineitem", 60175),
    ("nation", 25),
    ("orders", 15000),
    ("part", 2000),
    ("partsupp", 8000),
    ("region", 5),
    ("supplier", 100),
];

fn source() -> Arc<dyn Source> {
    Tpch.open("tpch", &Options::check(&[], BTreeMap::new()).expect("options")).expect("opens")
}

async fn scan_of(schema: &str, table: &str) -> Scan {
    let name = TableName::new(schema, table);
    Scan::new("tpch", name.clone(), &source().table(&name).await.expect("asked").expect("there"))
}

async fn scan(table: &str) -> Scan {
    scan_of("tiny", table).await
}

async fn open(scan: &Scan, split: &Split, context: &ReadContext) -> BatchStream {
    source().read(scan, split, context.clone()).await.expect("opens")
}

fn context(batch_rows: usize) -> ReadContext {
    ReadContext { batch_rows, counters: Arc::default() }
}

async fn read(scan: &Scan, wanted: usize) -> Result<Vec<RecordBatch>, Error> {
    let mut all = Vec::new();
    for split in source().splits(scan, wanted).await?.splits {
        let rows: Vec<_> = open(scan, &split, &context(1000)).await.try_collect().await?;
        assert!(rows.iter().all(|batch| batch.num_rows() <= 1000 && batch.schema() == scan.schema()));
        all.extend(rows);
    }
    Ok(all)
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

async fn count(scan: &Scan, wanted: usize) -> usize {
    rows(&read(scan, wanted).await.expect("reads"))
}

/// Rows as text, values joined by `|`.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default();
    let mut lines = Vec::new();
    for batch in batches {
        let formatter = |column| ArrayFormatter::try_new(column, &options).expect("formatter");
        let columns: Vec<_> = batch.columns().iter().map(|column| formatter(column.as_ref())).collect();
        let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
        lines.extend((0..batch.num_rows()).map(line));
    }
    lines
}

/// The table as the generator prints it, without the bar at the end of a line.
fn published(table: &str) -> Vec<String> {
    fn printed(rows: impl Iterator<Item = impl ToString>) -> Vec<String> {
        rows.map(|row| row.to_string().trim_end_matches('|').to_owned()).collect()
    }
    // The generator prints a quantity without its decimals.
    let with_decimals = |line: &String| {
        let mut values: Vec<String> = line.split('|').map(str::to_owned).collect();
        values[4].push_str(".00");
        values.join("|")
    };
    match table {
        "customer" => printed(CustomerGenerator::new(0.01, 1, 1).iter()),
        "lineitem" => printed(LineItemGenerator::new(0.01, 1, 1).iter()).iter().map(with_decimals).collect(),
        "nation" => printed(NationGenerator::new(0.01, 1, 1).iter()),
        "orders" => printed(OrderGenerator::new(0.01, 1, 1).iter()),
        "part" => printed(PartGenerator::new(0.01, 1, 1).iter()),
        "partsupp" => printed(PartSuppGenerator::new(0.01, 1, 1).iter()),
        "region" => printed(RegionGenerator::new(0.01, 1, 1).iter()),
        _ => printed(SupplierGenerator::new(0.01, 1, 1).iter()),
    }
}

#[tokio::test]
async fn every_value_is_the_generators_own_whatever_the_number_of_splits() {
    for (table, size) in TABLES {
        let scan = scan(table).await;
        let mut expected = published(table);
        assert_eq!(expected.len(), size, "{table}");
        assert!(lines(&read(&scan, 1).await.expect("reads")) == expected, "{table} in one split has other rows");
        expected.sort_unstable();
        for wanted in [2, 7, 50] {
            let mut found = lines(&read(&scan, wanted).await.expect("reads"));
            found.sort_unstable();
            assert!(found == expected, "{table} in {wanted} splits has other rows");
        }
    }
}

#[tokio::test]
async fn a_table_is_cut_into_the_splits_wanted_but_none_of_them_is_empty() {
    for (table, size) in TABLES {
        let scan = scan(table).await;
        for wanted in [0, 1, 16, 1000, 1_000_000] {
            let splits = source().splits(&scan, wanted).await.expect("splits").splits;
            let most = match table {
                "nation" | "region" => 1,
                // Lines stay with their order, suppliers of a part with the part.
                "lineitem" => 15000,
                "partsupp" => 2000,
                _ => size,
            };
            assert_eq!(splits.len(), wanted.clamp(1, most), "{table}, {wanted} wanted");
            let rows: u64 = splits.iter().filter_map(|split| split.rows).sum();
            assert!(table == "lineitem" || rows == size as u64, "{table}: {rows} rows in splits");
        }
    }
}

#[tokio::test]
async fn a_large_table_is_cut_smaller_than_wanted() {
    for table in ["lineitem", "orders", "partsupp"] {
        let scan = scan_of("sf10", table).await;
        let splits = source().splits(&scan, 1).await.expect("splits").splits;
        assert!(splits.iter().all(|split| split.rows.is_some_and(|rows| rows <= 250_000)), "{table}");
    }
    let scan = scan_of("sf10", "lineitem").await.with_projection(Vec::new());
    let split = source().splits(&scan, 1).await.expect("splits").splits.remove(100);
    let found: Vec<_> = open(&scan, &split, &context(8192)).await.try_collect().await.expect("reads");
    assert!((240_000..260_000).contains(&rows(&found)), "{} rows", rows(&found));
}

#[tokio::test]
async fn columns_come_in_the_order_asked_for_and_may_repeat() {
    for (table, _) in TABLES {
        let scan = scan(table).await;
        let last = scan.columns.len() - 1;
        let projection = vec![last, 0, last];
        let whole = lines(&read(&scan, 1).await.expect("reads"));
        let chosen = |line: &String| {
            let values: Vec<&str> = line.split('|').collect();
            projection.iter().map(|at| values[*at]).collect::<Vec<_>>().join("|")
        };
        let expected: Vec<String> = whole.iter().map(chosen).collect();
        let found = lines(&read(&scan.with_projection(projection.clone()), 1).await.expect("reads"));
        assert!(found == expected, "{table}");
    }
}

#[tokio::test]
async fn no_columns_keep_the_number_of_rows() {
    for (table, size) in TABLES {
        let scan = scan(table).await.with_projection(Vec::new());
        for wanted in [1, 3, 17] {
            assert_eq!(count(&scan, wanted).await, size, "{table} in {wanted} splits");
        }
        let splits = source().splits(&scan, 3).await.expect("splits").splits.len();
        assert_eq!(count(&scan.with_limit(2), 3).await, 2 * splits, "{table}");
    }
}

#[tokio::test]
async fn each_split_read_without_columns_has_the_rows_it_has_with_them() {
    let with = scan("lineitem").await.with_projection(vec![0]);
    let without = with.with_projection(Vec::new());
    for split in source().splits(&with, 9).await.expect("splits").splits {
        let mut counts = Vec::new();
        for scan in [&with, &without] {
            let found: Vec<_> = open(scan, &split, &context(777)).await.try_collect().await.expect("reads");
            counts.push(rows(&found));
        }
        assert_eq!(counts[0], counts[1]);
    }
}

#[tokio::test]
async fn a_limit_holds_in_each_split() {
    let scan = scan("orders").await;
    for (limit, expected) in [(0, 0), (1, 3), (1001, 3003), (u64::MAX, 15000)] {
        assert_eq!(count(&scan.with_limit(limit), 3).await, expected, "limit {limit}");
    }
}

#[tokio::test]
async fn columns_and_limits_are_absorbed_and_filters_are_not() {
    let scan = scan("orders").await;
    let source = source();
    assert_eq!(source.absorb(&scan, &Op::Columns(vec![3])), Absorbed::Exact(scan.with_projection(vec![3])));
    assert_eq!(source.absorb(&scan, &Op::Limit(3)), Absorbed::Exact(scan.with_limit(3)));
    let filter = Predicate::Compare { column: 0, op: Comparison::Eq, value: Literal::Integer(1) };
    assert!(matches!(source.absorb(&scan, &Op::Filter(filter)), Absorbed::No(_)));
}

#[tokio::test]
async fn the_smallest_scale_factor_has_rows_and_a_smaller_one_does_not_exist() {
    for (table, _) in TABLES {
        let scan = scan_of("sf0_0001", table).await;
        let rows = count(&scan, 4).await;
        assert!(rows > 0, "{table}");
        assert_eq!(count(&scan.with_projection(Vec::new()), 4).await, rows, "{table}");
    }
    for schema in ["sf0_00001", "sf0_00009", "sf0", "sf1001", "sf1_", "main"] {
        let found = source().table(&TableName::new(schema, "partsupp")).await.expect("asked");
        assert!(found.is_none(), "{schema}");
    }
}

#[tokio::test]
async fn a_split_that_is_not_one_of_ours_is_an_error() {
    let scan = scan("orders").await;
    let token = |part: i32, parts: i32| [part, parts].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    for token in [vec![], vec![1; 9], token(0, 1), token(2, 1), token(0, 0), token(-1, 3), token(1, -1)] {
        let split = Split { token, ..Split::default() };
        let error = source().read(&scan, &split, context(10)).await.err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_early_generates_no_more() {
    // A split has 2,500 batches of this size; a generator that goes on makes dozens of them in the time waited.
    let scan = scan_of("sf1", "lineitem").await;
    let split = source().splits(&scan, 1).await.expect("splits").splits.remove(0);
    let context = context(100);
    let mut rows = open(&scan, &split, &context).await;
    rows.next().await.expect("a batch").expect("good");
    let one = context.counters.bytes();
    assert!(one > 0);
    drop(rows);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let moved = context.counters.bytes();
    assert!(moved <= 5 * one, "{moved} bytes, {one} at the first batch");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(context.counters.bytes(), moved);
}

#[test]
fn streams_that_wait_for_their_readers_hold_no_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_time()
        .build()
        .expect("runtime");
    let finished = runtime.block_on(async {
        let scan = scan("orders").await;
        let split = source().splits(&scan, 1).await.expect("splits").splits.remove(0);
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let mut rows = open(&scan, &split, &context(10)).await;
            tokio::time::timeout(Duration::from_secs(60), rows.next()).await.map_err(drop)?;
            waiting.push(rows);
        }
        let last = open(&scan, &split, &context(1000)).await.try_collect::<Vec<_>>();
        let last = tokio::time::timeout(Duration::from_secs(60), last).await.map_err(drop)?.expect("reads");
        Ok::<_, ()>(rows(&last))
    });
    runtime.shutdown_background();
    assert_eq!(finished, Ok(15000));
}

#[tokio::test]
async fn the_suite_of_all_connectors_passes() {
    use connector_spi::conformance::{self, Subject};
    let source = source();
    for table in ["nation", "supplier"] {
        let subject = Subject::of(source.as_ref(), "tpch", &TableName::new("tiny", table)).await.expect("read");
        conformance::splits(&subject).await.expect("splits");
        conformance::limits(&subject).await.expect("limits");
        let filters = conformance::filters(&subject).await.expect("filters");
        let tops = conformance::tops(&subject).await.expect("tops");
        let groups = conformance::groups(&subject).await.expect("groups");
        println!("{table}: filters {filters:?}, tops {tops:?}, groups {groups:?}");
        assert!(filters.exact + filters.inexact + filters.refused > 500, "{filters:?}");
    }
}
