//! What changes, ends or is taken away between planning and the last row.

use std::time::Duration;

use arrow::array::RecordBatch;
use connector_spi::{Error, ErrorKind, Retry};
use futures::{StreamExt, TryStreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::fault::ENDLESS;
use crate::fixture::{connect, context, fixture, open, read, scan, shown};
use crate::split::read_all;

/// An address that leads to the server of another one, until it is cut off.
async fn cable(url: &str) -> (String, AbortHandle) {
    let (login, rest) = url.split_once('@').expect("postgres://user:password@host:port/database");
    let (server, database) = rest.split_once('/').expect("a database");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = server.to_owned();
    let task = tokio::spawn(async move {
        // Dropped with the task, and both ends of each connection with it.
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let server = server.clone();
            connections.spawn(async move {
                let mut far = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (format!("{login}@{address}/{database}"), task.abort_handle())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_while_it_is_read_is_an_error_that_names_the_table_and_not_fewer_rows() {
    let Some(fixture) = fixture("stopped").await else { return };
    fixture.run(ENDLESS).await;
    fixture.run("CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 20000) i; ANALYZE t").await;
    let (url, cut_off) = cable(&fixture.url).await;
    let source = open(&url, &[("split_size", "8192")]);
    let (endless, t) = (scan(&*source, fixture.name("endless")).await, scan(&*source, fixture.name("t")).await);
    let cut = source.splits(&t, 4).await.expect("splits");
    let mut stream = source.read(&endless, &Default::default(), context(1000)).await.expect("a stream");
    stream.next().await.expect("a batch").expect("rows");
    cut_off.abort();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.try_for_each(async |_| Ok(()))).await;
    let error: Error = ended.expect("in time").expect_err("an error");
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, Retry::Later), "{error:?}");
    let text = format!(" was lost while table \"pg.{}.endless\" was read: ", fixture.schema);
    assert!(error.message().contains(&text), "{error:?}");
    // Splits that are read later find no server at all.
    let error = read_all(&source, &t, &cut.splits).await.expect_err("an error");
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, Retry::Later), "{error:?}");
    let error = source.list().await.expect_err("an error");
    assert!(error.message().starts_with("could not connect to Postgres at 127.0.0.1:"), "{error:?}");
}

#[tokio::test]
async fn a_password_that_changes_after_planning_is_an_error_that_names_the_user_and_the_catalog() {
    let Some(fixture) = fixture("password").await else { return };
    let user = "conformance_password";
    fixture.user(user, "").await;
    fixture.run("CREATE TABLE t AS SELECT 1 AS id; GRANT SELECT ON t TO conformance_password").await;
    let source = open(&fixture.url, &[("user", user), ("password", "secret")]);
    let t = scan(&*source, fixture.name("t")).await;
    assert_eq!(read(&*source, &t).await.expect("rows").num_rows(), 1);
    fixture.run("ALTER ROLE conformance_password PASSWORD 'another'").await;
    // Sessions stay; new ones are refused.
    assert_eq!(read(&*source, &t).await.expect("rows").num_rows(), 1);
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'conformance_password'";
    fixture.run(end).await;
    let error = read(&*source, &t).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(error.message().ends_with(" refused the login of user \"conformance_password\""), "{error:?}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("catalog \"pg\"")), "{error:?}");
}

#[tokio::test]
async fn a_column_of_another_type_than_planned_gives_the_planned_values_or_an_error_that_names_the_table() {
    let Some(fixture) = fixture("retyped").await else { return };
    let cases = [
        ("int8", "5", "int2", "'7'", Ok("7")),
        ("int4", "5", "text", "'12'", Ok("12")),
        ("date", "'2024-01-01'", "timestamp", "'2024-02-03 04:05'", Ok("2024-02-03")),
        ("int2", "5", "int8", "70000", Err((ErrorKind::Source, "smallint out of range"))),
        ("int4", "5", "text", "'many'", Err((ErrorKind::Source, "invalid input syntax for type integer: \"many\""))),
        ("int4", "5", "date", "'2024-01-01'", Err((ErrorKind::NotFound, "cannot cast type date to integer"))),
        ("numeric(5,2)", "5", "numeric(9,4)", "'1.2345'", Err((ErrorKind::BadData, "has more decimals than its type"))),
    ];
    for (at, (before, first, after, second, wanted)) in cases.into_iter().enumerate() {
        fixture.run(&format!("CREATE TABLE t{at} (id int4, n {before}); INSERT INTO t{at} VALUES (1, {first})")).await;
        let t = fixture.scan(&format!("t{at}")).await;
        fixture.run(&format!("ALTER TABLE t{at} ALTER n TYPE {after} USING {second}")).await;
        let found = fixture.read(&t).await;
        match wanted {
            Ok(value) => assert_eq!(shown(found.expect("rows").column(1), 0), value, "{before} to {after}"),
            Err((kind, why)) => {
                let error = found.expect_err(why);
                assert_eq!(error.kind(), kind, "{error:?}");
                let table = format!("table \"pg.{}.t{at}\"", fixture.schema);
                assert!(error.message().contains(&table) && error.message().ends_with(why), "{error:?}");
                assert!(kind != ErrorKind::BadData || error.message().contains("column \"n\""), "{error:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_while_it_is_read_is_read_to_its_end() {
    let Some(fixture) = fixture("dropped").await else { return };
    fixture.run("CREATE TABLE t AS SELECT i AS id, repeat('x', 1000) AS s FROM generate_series(1, 20000) i").await;
    let t = fixture.scan("t").await;
    let mut stream = fixture.source.read(&t, &Default::default(), context(100)).await.expect("a stream");
    let first = stream.next().await.expect("a batch").expect("rows").num_rows();
    // Postgres makes the change wait.
    let (admin, schema) = (fixture.admin, fixture.schema);
    let dropping = tokio::spawn(async move { admin.batch_execute(&format!("DROP TABLE {schema}.t")).await });
    let rest: Vec<RecordBatch> = stream.try_collect().await.expect("rows");
    assert_eq!(first + rest.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    dropping.await.expect("a task").expect("dropped");
    let error = read(&*fixture.source, &t).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(
        error.message().starts_with("table \"pg.conformance_dropped.t\" changed since it was planned: "),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_not_emptied_or_made_anew_between_its_snapshot_and_its_readers() {
    let Some(fixture) = fixture("emptied").await else { return };
    let changes = [
        "TRUNCATE t",
        "ALTER TABLE t ALTER v TYPE int8",
        "DROP TABLE t; CREATE TABLE t AS SELECT i AS id, i AS v FROM generate_series(1, 5) i",
        "TRUNCATE leaf",
    ];
    for (change, table) in changes.into_iter().zip(["t", "t", "t", "parted"]) {
        fixture
            .run(
                "DROP TABLE IF EXISTS t, parted; CREATE TABLE t AS SELECT i AS id, i AS v FROM generate_series(1, 20000) i;
                 CREATE TABLE parted (id int4, v int4) PARTITION BY RANGE (id);
                 CREATE TABLE leaf PARTITION OF parted DEFAULT; INSERT INTO parted SELECT * FROM t; ANALYZE t, parted",
            )
            .await;
        let scan = fixture.scan(table).await;
        let cut = fixture.source.splits(&scan, 4).await.expect("splits");
        assert!(cut.splits.len() > 1, "{change}");
        let admin = connect(&fixture.url.parse().expect("a url")).await;
        let sql = format!("SET search_path = {}; {change}", fixture.schema);
        let mut changing = tokio::spawn(async move { admin.batch_execute(&sql).await });
        // In the snapshot it would be empty: it waits for the query's end.
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut changing).await.is_err(), "{change}");
        drop(cut.guard);
        changing.await.expect("a task").expect("changed");
        let error = read_all(&fixture.source, &scan, &cut.splits).await.expect_err("the snapshot is gone");
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound), "{change}: {error:?}");
    }
}
