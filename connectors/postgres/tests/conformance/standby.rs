//! A standby, whose address is in `TRIBUTARY_TEST_POSTGRES_STANDBY_URL`, and servers that export no snapshots.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use connector_spi::{Error, ErrorKind, Refusal, RefusalCode, Retry, TableName};
use futures::{StreamExt, TryStreamExt};

use crate::fixture::{Fixture, connect, context, database, fixture, ids, open, read, scan};
use crate::split::read_all;

/// A schema, and the address of its database on the standby.
async fn followed(name: &str) -> Option<(Fixture, String)> {
    let fixture = fixture(name).await?;
    let Ok(url) = std::env::var("TRIBUTARY_TEST_POSTGRES_STANDBY_URL") else {
        assert!(std::env::var_os("CI").is_none(), "TRIBUTARY_TEST_POSTGRES_STANDBY_URL is not set, and this is CI");
        println!("ignored: TRIBUTARY_TEST_POSTGRES_STANDBY_URL is not set");
        return None;
    };
    Some((fixture, url))
}

/// The address of the tests' database on the standby, once all that was done until now has arrived there.
async fn caught_up(fixture: &Fixture, url: &str) -> String {
    let now = "SELECT pg_current_wal_insert_lsn()::text";
    let place: String = fixture.admin.query_typed_one(now, &[]).await.expect("a place").get(0);
    let client = connect(&url.parse().expect("a url")).await;
    let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{place}'");
    let start = Instant::now();
    while !client.query_typed_one(&sql, &[]).await.expect("an answer").get::<_, bool>(0) {
        assert!(start.elapsed() < Duration::from_secs(60), "the standby does not catch up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    database(url, "conformance")
}

fn number(id: i32) -> RecordBatch {
    let ids = arrow::array::Int32Array::from(vec![id]);
    RecordBatch::try_from_iter_with_nullable([("id", std::sync::Arc::new(ids) as _, true)]).expect("a batch")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_read_whole_in_one_snapshot_and_takes_no_writes() {
    let Some((fixture, url)) = followed("standby").await else { return };
    fixture.run("CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 20000) i; ANALYZE t").await;
    let url = caught_up(&fixture, &url).await;
    let source = open(&url, &[("split_size", "8192"), ("writable", "true")]);
    let t = scan(&*source, fixture.name("t")).await;
    // Since Postgres 10 a standby exports snapshots too.
    let cut = source.splits(&t, 4).await.expect("splits");
    assert_eq!((cut.splits.len(), cut.uncut), (4, None));
    let batches = read_all(&source, &t, &cut.splits).await.expect("rows");
    let mut found: Vec<i32> = batches.iter().flat_map(ids).collect();
    found.sort_unstable();
    assert!(found.into_iter().eq(1..=20_000));
    assert_eq!(read(&*source, &t.with_projection(Vec::new())).await.expect("a count").num_rows(), 20_000);

    let writer = source.writer().expect("a writer");
    let rows = Box::pin(futures::stream::iter([Ok(number(7))]));
    let table = format!("table \"{}\"", t.table);
    let refused = [
        (writer.insert(&t.table, rows).await.map(drop), &*table),
        (writer.delete(&t).await.map(drop), &*table),
        (writer.drop_table(&t.table).await, &*table),
        (writer.create_schema("conformance_more").await, "schema \"conformance_more\""),
    ];
    for (refused, what) in refused {
        let error = refused.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        let text = format!("{what} cannot be changed: Postgres at 127.0.0.1:");
        assert!(error.message().starts_with(&text) && error.message().ends_with("a standby, which takes no writes"));
        assert_eq!(error.hint_text(), Some("Let the url of catalog \"pg\" name the primary."));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_a_standby_gives_up_for_a_change_says_so_and_can_be_run_again() {
    let Some((fixture, url)) = followed("conflict").await else { return };
    // A row a millisecond: while its client has yet to take rows, the standby can end the connection without a word.
    fixture
        .run(
            "CREATE TABLE t AS SELECT 1 AS one;
             CREATE VIEW endless AS SELECT id FROM (SELECT generate_series(1, 2000000000) AS id FROM t) all_of_them
               WHERE pg_sleep(0.001) IS NOT NULL",
        )
        .await;
    let url = caught_up(&fixture, &url).await;
    let source = open(&url, &[]);
    let endless = scan(&*source, fixture.name("endless")).await;
    let mut stream = source.read(&endless, &Default::default(), context(64)).await.expect("a stream");
    stream.next().await.expect("a batch").expect("rows");
    fixture.run("TRUNCATE t").await;
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.try_for_each(async |_| Ok(()))).await;
    let error: Error = ended.expect("in time").expect_err("an error, and not fewer rows");
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, Retry::Later), "{error:?}");
    let text = format!("the standby gave the read of table \"pg.{}.endless\" up: ", fixture.schema);
    assert!(error.message().starts_with(&text), "{error:?}");
    assert!(error.hint_text().is_some_and(|hint| hint.starts_with("Run the query again")), "{error:?}");
    assert!(error.detail_text().is_some_and(|detail| detail.starts_with("SQLSTATE 40001.")), "{error:?}");
    assert_eq!(read(&*source, &endless).await.expect("the truncated table").num_rows(), 0);
}

#[tokio::test]
async fn a_server_that_exports_no_snapshot_is_read_by_one_connection_and_says_so() {
    let Some(fixture) = fixture("unexported").await else { return };
    let user = "conformance_unexported";
    fixture.user(user, "").await;
    // Such as some replicas in the cloud. A database of its own: the right is one for all of a database.
    fixture.run("DROP DATABASE IF EXISTS conformance_unexported WITH (FORCE)").await;
    fixture.run("CREATE DATABASE conformance_unexported TEMPLATE template0").await;
    let url = database(&fixture.url, "conformance_unexported");
    let admin = connect(&url.parse().expect("a url")).await;
    admin
        .batch_execute(
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_export_snapshot() FROM PUBLIC;
             CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 20000) i; ANALYZE t;
             GRANT SELECT ON t TO conformance_unexported",
        )
        .await
        .expect("a table");
    let source = open(&url, &[("split_size", "8192"), ("user", user), ("password", "secret")]);
    let t = scan(&*source, TableName::new("public", "t")).await;
    let cut = source.splits(&t, 4).await.expect("splits");
    assert_eq!(cut.splits.len(), 1);
    let Some(Refusal { code: RefusalCode::Source, text, remedy: Some(_) }) = cut.uncut else { panic!("{cut:?}") };
    assert_eq!(text, "the server exports no snapshot that several connections could read in");
    assert_eq!(ids(&read(&*source, &t).await.expect("rows")), (1..=20_000).collect::<Vec<_>>());
    // Whoever may is read by several.
    let source = open(&url, &[("split_size", "8192")]);
    let cut = source.splits(&t, 4).await.expect("splits");
    assert_eq!((cut.splits.len(), cut.uncut), (4, None));
    drop((cut, source, admin));
    fixture.run("DROP DATABASE conformance_unexported WITH (FORCE)").await;
}
