//! Splits: together the table, once, in one snapshot; and what they leave behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use connector_spi::{
    Absorbed, Aggregation, Call, Comparison, ErrorKind, Function, Literal, Op, Predicate, Result, Scan, SortKey,
    Source, Split,
};
use futures::TryStreamExt;
use futures::future::try_join_all;

use crate::fixture::{Fixture, connect, context, fixture, open, read};

/// All splits at once, as the engine reads them.
pub async fn read_all(source: &Arc<dyn Source>, scan: &Scan, splits: &[Split]) -> Result<Vec<RecordBatch>> {
    let one = |split: &Split| {
        let (source, scan, split) = (Arc::clone(source), scan.clone(), split.clone());
        async move { source.read(&scan, &split, context(1000)).await?.try_collect::<Vec<RecordBatch>>().await }
    };
    Ok(try_join_all(splits.iter().map(one)).await?.into_iter().flatten().collect())
}

fn rows_and_sum(batches: &[RecordBatch]) -> (usize, i64) {
    let values =
        batches.iter().flat_map(|batch| batch.column_by_name("v").expect("v").as_primitive::<Int32Type>().iter());
    (batches.iter().map(RecordBatch::num_rows).sum(), values.flatten().map(i64::from).sum())
}

/// How many transactions of the user wait for nothing but their end.
async fn held(fixture: &Fixture, user: &str) -> i64 {
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}' AND state LIKE 'idle in transaction%'");
    fixture.admin.query_typed_one(&sql, &[]).await.expect("a number").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_under_concurrent_changes_are_one_snapshot() {
    let Some(fixture) = fixture("snapshot").await else { return };
    const ROWS: usize = 20_000;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, v int, filler text)").await;
    fixture.run("INSERT INTO t SELECT i, 100, repeat('x', 200) FROM generate_series(1, 20000) i; ANALYZE t").await;
    // Readers of eight splits, and the snapshot.
    let source = open(&fixture.url, &[("split_size", "8192"), ("max_connections", "20")]);
    let scan = crate::fixture::scan(&*source, fixture.name("t")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|seed| {
            let (url, schema, stop) = (fixture.url.clone(), fixture.schema.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let client = connect(&url.parse().expect("a url")).await;
                let mut turn: i32 = seed + 1;
                while !stop.load(Ordering::Relaxed) {
                    turn = (turn * 7919 + 13) % 19_000;
                    let (from, to) = (turn + 1, turn + 900);
                    // The sum and the number of rows stay: what one row loses another gets, what is deleted comes again.
                    let change = format!(
                        "BEGIN ISOLATION LEVEL REPEATABLE READ; \
                         UPDATE {schema}.t SET v = v + CASE id WHEN {from} THEN -1 ELSE 1 END \
                         WHERE id IN ({from}, {to}) AND (SELECT count(*) FROM {schema}.t WHERE id IN ({from}, {to})) = 2; \
                         WITH gone AS (DELETE FROM {schema}.t WHERE id = {from} + 1 RETURNING *) \
                         INSERT INTO {schema}.t SELECT 20000 + id * 100 + {seed}, v, filler FROM gone; COMMIT"
                    );
                    // Two writers may meet; then nothing is changed.
                    if client.batch_execute(&change).await.is_err() {
                        let _ = client.batch_execute("ROLLBACK").await;
                    }
                }
            })
        })
        .collect();
    let rounds = if std::env::var_os("TRIBUTARY_TEST_FULL").is_some() { 100 } else { 10 };
    for round in 0..rounds {
        let cut = source.splits(&scan, 8).await.expect("splits");
        assert_eq!(cut.splits.len(), 8);
        let batches = read_all(&source, &scan, &cut.splits).await.expect("rows");
        assert_eq!(rows_and_sum(&batches), (ROWS, 100 * ROWS as i64), "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_ends_with_its_guard_and_its_connection_is_used_again() {
    let Some(fixture) = fixture("guard").await else { return };
    let user = "conformance_guard";
    fixture
        .run(
            "CREATE TABLE t AS SELECT i AS id, i AS v FROM generate_series(1, 5000) i; ANALYZE t;
             DO $$ BEGIN CREATE ROLE conformance_guard LOGIN PASSWORD 'secret'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT USAGE ON SCHEMA conformance_guard TO conformance_guard; GRANT SELECT ON t TO conformance_guard",
        )
        .await;
    let source = open(&fixture.url, &[("split_size", "8192"), ("user", user), ("password", "secret")]);
    let scan = crate::fixture::scan(&*source, fixture.name("t")).await;
    let cut = source.splits(&scan, 4).await.expect("splits");
    assert!(cut.splits.len() > 1 && cut.guard.is_some());
    let batches = read_all(&source, &scan, &cut.splits).await.expect("rows");
    assert_eq!(rows_and_sum(&batches).0, 5000);
    assert_eq!(held(&fixture, user).await, 1);
    drop(cut.guard);
    let start = Instant::now();
    while held(&fixture, user).await > 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "a transaction stays open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Whoever comes later is told, and gets no rows of another moment.
    let error = read_all(&source, &scan, &cut.splits).await.expect_err("the snapshot is gone");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let again = source.splits(&scan, 4).await.expect("splits");
    assert_eq!(rows_and_sum(&read_all(&source, &scan, &again.splits).await.expect("rows")).0, 5000);
}

#[tokio::test]
async fn tables_of_every_form_are_read_once() {
    let Some(fixture) = fixture("forms").await else { return };
    fixture
        .run(
            "CREATE TABLE parted (id int, v int) PARTITION BY RANGE (id);
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (3000);
             CREATE TABLE parted_2 (v int, gone int, id int); ALTER TABLE parted_2 DROP COLUMN gone;
             ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (3000) TO (4000);
             CREATE TABLE parted_rest PARTITION OF parted DEFAULT PARTITION BY LIST (v);
             CREATE TABLE parted_rest_7 PARTITION OF parted_rest FOR VALUES IN (7);
             CREATE TABLE parted_rest_rest PARTITION OF parted_rest DEFAULT;
             INSERT INTO parted SELECT i, i % 10 FROM generate_series(1, 9000) i;
             CREATE TABLE parent (id int, v int); CREATE TABLE child () INHERITS (parent);
             INSERT INTO parent SELECT i, 1 FROM generate_series(1, 4000) i;
             INSERT INTO child SELECT i, 1 FROM generate_series(4001, 9000) i;
             CREATE MATERIALIZED VIEW kept AS SELECT id, v FROM parted;
             CREATE VIEW seen AS SELECT id, v FROM parted;
             CREATE UNLOGGED TABLE plain AS SELECT id, v FROM parted;
             CREATE TABLE never (id int, v int);
             ANALYZE",
        )
        .await;
    for (table, (first, last), cut) in [
        ("parted", (1, 9000), true),
        ("parted_2", (3000, 3999), true),
        ("parent", (1, 9000), false),
        ("kept", (1, 9000), true),
        ("seen", (1, 9000), false),
        ("plain", (1, 9000), true),
        ("never", (1, 0), false),
    ] {
        let scan = fixture.scan(table).await;
        let splits = fixture.source.splits(&scan, 4).await.expect("splits");
        assert_eq!(splits.splits.len() > 1, cut, "{table}: {:?}", splits.splits);
        let batches = read_all(&fixture.source, &scan, &splits.splits).await.expect("rows");
        let mut ids: Vec<i32> = batches
            .iter()
            .flat_map(|batch| batch.column_by_name("id").expect("id").as_primitive::<Int32Type>().values().to_vec())
            .collect();
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(first..=last), "{table}: other rows, {} of them", ids.len());
        // Only their number.
        let none = scan.with_projection(Vec::new());
        assert_eq!(read(&*fixture.source, &none).await.expect("a count").num_rows(), ids.len(), "{table}");
    }
}

#[tokio::test]
async fn leaves_that_are_guarded_are_read_by_their_parent() {
    let Some(fixture) = fixture("guarded").await else { return };
    fixture
        .run(
            "CREATE TABLE t (id int, v int) PARTITION BY RANGE (id);
             CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (3000);
             CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (3000) TO (9999);
             INSERT INTO t SELECT i, 1 FROM generate_series(1, 6000) i; ANALYZE t;
             DO $$ BEGIN CREATE ROLE conformance_leaf LOGIN PASSWORD 'secret'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT USAGE ON SCHEMA conformance_guarded TO conformance_leaf; GRANT SELECT ON t TO conformance_leaf",
        )
        .await;
    let source = open(&fixture.url, &[("split_size", "8192"), ("user", "conformance_leaf"), ("password", "secret")]);
    let rows = async || {
        let scan = crate::fixture::scan(&*source, fixture.name("t")).await;
        let cut = source.splits(&scan, 4).await.expect("splits");
        (cut.splits.len(), rows_and_sum(&read_all(&source, &scan, &cut.splits).await.expect("rows")).0)
    };
    // The user may read the table and not its leaves.
    assert_eq!(rows().await, (1, 6000));
    fixture.run("GRANT SELECT ON t_1, t_2 TO conformance_leaf").await;
    let (splits, all) = rows().await;
    assert!(splits > 1 && all == 6000, "{splits} splits, {all} rows");
    // Rows that a leaf hides are not hidden from a reader of the table.
    fixture.run("ALTER TABLE t_1 ENABLE ROW LEVEL SECURITY").await;
    assert_eq!(rows().await, (1, 6000));
    // Rows that the table hides are hidden.
    fixture.run("ALTER TABLE t_1 DISABLE ROW LEVEL SECURITY; ALTER TABLE t ENABLE ROW LEVEL SECURITY").await;
    fixture.run("CREATE POLICY first_ten ON t USING (id <= 10)").await;
    assert_eq!(rows().await, (1, 10));
}

#[tokio::test]
async fn what_an_index_serves_is_one_split() {
    let Some(fixture) = fixture("index").await else { return };
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, w int)").await;
    fixture
        .run("INSERT INTO t SELECT i, i % 100, i FROM generate_series(1, 20000) i; CREATE INDEX ON t (w); ANALYZE t")
        .await;
    let scan = fixture.scan("t").await;
    let with = |column, value| {
        let predicate = Predicate::Compare { column, op: Comparison::Eq, value: Literal::Integer(value) };
        match fixture.source.absorb(&scan, &Op::Filter(predicate)) {
            Absorbed::Exact(scan) => scan,
            other => panic!("{other:?}"),
        }
    };
    let by_key = fixture.source.splits(&with(0, 77), 4).await.expect("splits");
    assert_eq!((by_key.splits.len(), by_key.guard.is_none()), (1, true));
    assert!(by_key.splits[0].rows.is_some_and(|rows| rows < 10), "{:?}", by_key.splits);
    assert!(fixture.source.splits(&with(1, 7), 4).await.expect("splits").splits.len() > 1);
    // An order that an index gives is read by one connection, any other by all.
    let cut = fixture.source.splits(&scan, 4).await.expect("splits");
    let top = |column, descending, nulls_first| {
        let order = vec![SortKey { column, descending, nulls_first }];
        match fixture.source.absorb(&scan, &Op::Top { order, limit: 3 }) {
            Absorbed::Exact(scan) => scan,
            other => panic!("{other:?}"),
        }
    };
    for (scan, one) in [
        (top(0, true, false), true),
        (top(2, false, false), true),
        (top(2, true, true), true),
        (top(2, true, false), false),
        (top(1, true, true), false),
    ] {
        let again = fixture.source.recut(&scan, cut.splits.clone());
        assert_eq!(again.len() == 1, one, "{:?}", scan.order);
        let rows: usize =
            read_all(&fixture.source, &scan, &again).await.expect("rows").iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 3 * again.len());
    }
}

#[tokio::test]
async fn sums_wrap_as_the_engines_do_and_groups_of_all_splits_are_whole() {
    let Some(fixture) = fixture("sums").await else { return };
    fixture.run("CREATE TABLE t (id int, big int8, small int2)").await;
    fixture
        .run("INSERT INTO t SELECT i % 3, CASE WHEN i % 2 = 0 THEN 9223372036854775807 ELSE i END, i % 100 FROM generate_series(1, 9001) i; ANALYZE t")
        .await;
    let scan = fixture.scan("t").await;
    let call =
        |column| Call { function: Function::Sum, column: Some(column), data_type: arrow::datatypes::DataType::Int64 };
    let aggregation = Aggregation { group: Vec::new(), calls: vec![call(1), call(2)] };
    let Absorbed::Exact(sums) = fixture.source.absorb(&scan, &Op::Aggregate(aggregation)) else { panic!("taken") };
    let cut = fixture.source.splits(&scan, 4).await.expect("splits");
    assert!(cut.splits.len() > 1);
    let batches = read_all(&fixture.source, &sums, &cut.splits).await.expect("rows");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), cut.splits.len());
    let total = |at: usize| {
        let parts = batches.iter().flat_map(|batch| batch.column(at).as_primitive::<Int64Type>().iter());
        parts.flatten().fold(0_i64, i64::wrapping_add)
    };
    let (mut big, mut small) = (0_i64, 0_i64);
    for i in 1..=9001_i64 {
        big = big.wrapping_add(if i % 2 == 0 { i64::MAX } else { i });
        small += i % 100;
    }
    assert_eq!((total(0), total(1)), (big, small));
}
