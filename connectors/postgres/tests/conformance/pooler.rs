//! Through PgBouncer, which gives each transaction whatever session is free; its address is in `TRIBUTARY_TEST_PGBOUNCER_URL`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use connector_spi::conformance;
use connector_spi::{Comparison, ErrorKind, Literal, Op, Predicate, Result, Retry, Scan, Source, TableName};
use futures::StreamExt;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::fault::{ENDLESS, becomes_within};
use crate::fixture::{Fixture, connect, context, database, fixture, ids, open, read, scan};
use crate::split::read_all;

/// A schema, and the address of its database through the pooler, where it has a pool of its own.
async fn pooled(name: &str, pool: &str) -> Option<(Fixture, String)> {
    let fixture = fixture(name).await?;
    let Ok(url) = std::env::var("TRIBUTARY_TEST_PGBOUNCER_URL") else {
        assert!(std::env::var_os("CI").is_none(), "TRIBUTARY_TEST_PGBOUNCER_URL is not set, and this is CI");
        println!("ignored: TRIBUTARY_TEST_PGBOUNCER_URL is not set");
        return None;
    };
    Some((fixture, database(&url, pool)))
}

/// One value, asked for without a prepared statement.
async fn shown(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.expect("an answer");
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.iter().find_map(row).expect("a row")
}

/// All rows by all splits at once, and how many splits there were.
async fn whole(source: &Arc<dyn Source>, scan: &Scan, wanted: usize) -> Result<(RecordBatch, usize)> {
    let cut = source.splits(scan, wanted).await?;
    let batches = read_all(source, scan, &cut.splits).await?;
    Ok((conformance::whole(scan, &batches).expect("the scan's schema"), cut.splits.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_through_a_pooler_as_it_is_without_one() {
    let Some((fixture, url)) = pooled("pooled", "conformance").await else { return };
    fixture
        .run(
            "CREATE TYPE pair AS (f float8, i interval, z timestamptz, b bytea);
             CREATE TABLE t AS SELECT i AS id, repeat('x', 100) || i AS s, '2024-01-01 12:00+02'::timestamptz + i * '1 hour'::interval AS z,
               ARRAY['2024-02-03 01:00+02'::timestamptz] AS list, (0.1::float8 + i, '1 year 2 mons 3 days 04:05', '2024-02-03 00:00+00', '\\x00ff')::pair AS odd
             FROM generate_series(1, 20000) i; ANALYZE t",
        )
        .await;
    // Whoever used the pool's sessions before may have set them up as he liked.
    let others = futures::future::join_all((0..3).map(|_| async {
        let client = connect(&url.parse().expect("a url")).await;
        let settings = "BEGIN; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -5; SET bytea_output = 'escape'; SET search_path = nowhere;
                        SELECT pg_sleep(0.2); COMMIT";
        client.batch_execute(settings).await.expect("set");
        client
    }))
    .await;
    let wanted = fixture.read(&fixture.scan("t").await).await.expect("rows");
    let sorted = |batch: &RecordBatch| {
        let order = arrow::compute::sort_to_indices(batch.column(0), None, None).expect("an order");
        arrow::compute::take_record_batch(batch, &order).expect("rows")
    };
    let source = open(&url, &[("split_size", "8192")]);
    let t = scan(&*source, fixture.name("t")).await;
    for wanted_splits in [1, 4, 4, 4] {
        let (found, splits) = whole(&source, &t, wanted_splits).await.expect("rows");
        assert_eq!(splits, wanted_splits);
        assert!(sorted(&found) == sorted(&wanted), "other rows through the pooler");
    }
    assert_eq!(read(&*source, &t.with_projection(Vec::new())).await.expect("a count").num_rows(), 20_000);
    let few = Predicate::Compare { column: 0, op: Comparison::LtEq, value: Literal::Integer(7) };
    let connector_spi::Absorbed::Exact(few) = source.absorb(&t, &Op::Filter(few)) else { panic!("refused") };
    assert_eq!(ids(&whole(&source, &few, 4).await.expect("rows").0), (1..=7).collect::<Vec<_>>());
    assert!(source.list().await.expect("a list").iter().any(|schema| schema.name == fixture.schema));
    drop(others);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_through_a_small_pool_queue_and_none_fails() {
    let Some((fixture, url)) = pooled("small_pool", "conformance_four").await else { return };
    fixture
        .run("CREATE TABLE t AS SELECT i AS id, repeat('x', 100) AS s FROM generate_series(1, 20000) i; ANALYZE t")
        .await;
    let source = open(&url, &[("split_size", "8192"), ("max_connections", "4")]);
    let t = scan(&*source, fixture.name("t")).await;
    let reads = (0..20).map(|_| {
        let (source, t) = (Arc::clone(&source), t.clone());
        tokio::spawn(async move { whole(&source, &t, 4).await.map(|(rows, splits)| (rows.num_rows(), splits)) })
    });
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(reads)).await.expect("in time");
    let found: Vec<(usize, usize)> = all.into_iter().map(|read| read.expect("a task").expect("rows")).collect();
    assert!(found.iter().all(|(rows, _)| *rows == 20_000), "{found:?}");
    assert!(found.iter().any(|(_, splits)| *splits > 1), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_too_small_is_an_error_that_says_what_to_do_and_in_time() {
    let Some((fixture, url)) = pooled("one_pooled", "conformance_one").await else { return };
    fixture
        .run("CREATE TABLE t AS SELECT i AS id, repeat('x', 100) AS s FROM generate_series(1, 20000) i; ANALYZE t")
        .await;
    // The snapshot takes the only connection that the pool has, and its readers get none.
    let source = open(&url, &[("split_size", "8192")]);
    let t = scan(&*source, fixture.name("t")).await;
    let start = Instant::now();
    let error = whole(&source, &t, 4).await.expect_err("an error");
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::ResourceExhausted, Retry::Later), "{error:?}");
    let text = format!("could not read table \"pg.{}.t\": the pooler at 127.0.0.1:", fixture.schema);
    assert!(error.message().starts_with(&text), "{error:?}");
    let hint = "Lower max_connections of catalog \"pg\" to the size of the pooler's pool or less, or raise that.";
    assert_eq!(error.hint_text(), Some(hint));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // As it says.
    let source = open(&url, &[("split_size", "8192"), ("max_connections", "1"), ("passthrough", "true")]);
    let (rows, splits) = whole(&source, &t, 4).await.expect("rows");
    assert_eq!((rows.num_rows(), splits), (20_000, 1));
    fixture.run("CREATE TYPE mood AS ENUM ('sad', 'ok')").await;
    let text = format!("SELECT 'ok'::{}.mood AS mood", fixture.schema);
    assert_eq!(source.query(&[text]).await.expect("described").columns.len(), 1);
    // Who comes next finds a session as Postgres makes it, with nothing left in it.
    let client = connect(&url.parse().expect("a url")).await;
    assert_eq!(shown(&client, "SHOW default_transaction_read_only").await, "off");
    assert_eq!(shown(&client, "SHOW search_path").await, "\"$user\", public");
    assert_eq!(shown(&client, "SHOW lock_timeout").await, "0");
    assert_eq!(shown(&client, "SELECT count(*) FROM pg_prepared_statements").await, "0");
}

#[tokio::test]
async fn a_read_that_is_dropped_is_cancelled_through_a_pooler() {
    let Some((fixture, url)) = pooled("pooled_cancel", "conformance").await else { return };
    fixture.run(ENDLESS).await;
    fixture.run("CREATE VIEW slow AS SELECT 1 AS id FROM pg_sleep(60)").await;
    let source = open(&url, &[]);
    let endless = scan(&*source, fixture.name("endless")).await;
    let mut stream = source.read(&endless, &Default::default(), context(1000)).await.expect("a stream");
    assert_eq!(stream.next().await.expect("a batch").expect("rows").num_rows(), 1000);
    becomes_within(&fixture, "endless", 1, 5).await;
    drop(stream);
    becomes_within(&fixture, "endless", 0, 5).await;
    let slow = scan(&*source, fixture.name("slow")).await;
    let read = async { source.read(&slow, &Default::default(), context(1000)).await?.next().await.transpose() };
    assert!(tokio::time::timeout(Duration::from_millis(500), read).await.is_err());
    becomes_within(&fixture, "slow", 0, 5).await;
    assert!(source.list().await.is_ok(), "the next one is not disturbed");
}

#[tokio::test]
async fn writes_and_queries_of_the_users_own_work_through_a_pooler() {
    let Some((fixture, url)) = pooled("pooled_writes", "conformance").await else { return };
    fixture
        .run("CREATE TABLE t (id int4, doc jsonb); INSERT INTO t SELECT i, '{}' FROM generate_series(1, 3000) i")
        .await;
    fixture.run("CREATE TABLE copied (LIKE t)").await;
    let source = open(&url, &[("writable", "true"), ("passthrough", "true")]);
    let rows = read(&*source, &scan(&*source, fixture.name("t")).await).await.expect("rows");
    let writer = source.writer().expect("a writer");
    let stream = Box::pin(futures::stream::iter([Ok(rows)]));
    assert_eq!(writer.insert(&fixture.name("copied"), stream).await.expect("written"), 3000);
    let copied = scan(&*source, fixture.name("copied")).await;
    let odd = Predicate::Compare { column: 0, op: Comparison::Gt, value: Literal::Integer(1000) };
    assert_eq!(writer.delete(&copied.with_filter(odd)).await.expect("deleted"), 2000);
    assert_eq!(read(&*source, &copied).await.expect("rows").num_rows(), 1000);
    for _ in 0..3 {
        let text = format!("SELECT id, doc FROM {}.t WHERE id % 3 = 0", fixture.schema);
        let table = source.query(&[text]).await.expect("described");
        let query = Scan::new("pg", TableName::new("system", "query"), &table);
        assert_eq!(read(&*source, &query).await.expect("rows").num_rows(), 1000);
    }
}
