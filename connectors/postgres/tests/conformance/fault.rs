//! What goes wrong, and what is left behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use connector_spi::{Error, ErrorKind, Retry, Source, TableName};
use futures::{StreamExt, TryStreamExt};

use crate::fixture::{Fixture, context, database, fixture, open, read, scan};

pub const ENDLESS: &str = "CREATE VIEW endless AS SELECT generate_series(1, 2000000000) AS id";

/// How many COPYs of the table run on the server.
async fn running(fixture: &Fixture, table: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY %{}%{table}%' AND pid <> pg_backend_pid()",
        fixture.schema
    );
    fixture.admin.query_typed_one(&sql, &[]).await.expect("a number").get(0)
}

async fn becomes(fixture: &Fixture, table: &str, wanted: i64) {
    becomes_within(fixture, table, wanted, 1).await;
}

pub async fn becomes_within(fixture: &Fixture, table: &str, wanted: i64, seconds: u64) {
    let start = Instant::now();
    while running(fixture, table).await != wanted {
        assert!(start.elapsed() < Duration::from_secs(seconds), "not {wanted} statements within {seconds} s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn texts(error: &Error) -> String {
    format!("{error:?} {:?} {:?}", error.hint_text(), error.detail_text())
}

async fn table_error(source: &dyn Source) -> Error {
    let error = source.table(&TableName::new("public", "t")).await.expect_err("an error");
    let listed = source.list().await.expect_err("an error");
    assert_eq!((error.kind(), error.message()), (listed.kind(), listed.message()));
    error
}

#[tokio::test]
async fn a_stream_that_is_dropped_cancels_its_statement() {
    let Some(fixture) = fixture("cancel").await else { return };
    fixture.run(ENDLESS).await;
    let scan = fixture.scan("endless").await;
    let mut stream = fixture.source.read(&scan, &Default::default(), context(1000)).await.expect("a stream");
    assert_eq!(stream.next().await.expect("a batch").expect("rows").num_rows(), 1000);
    becomes(&fixture, "endless", 1).await;
    drop(stream);
    becomes(&fixture, "endless", 0).await;
}

#[tokio::test]
async fn a_read_that_is_given_up_before_its_first_row_cancels_its_statement() {
    let Some(fixture) = fixture("given_up").await else { return };
    fixture.run("CREATE VIEW slow AS SELECT 1 AS id FROM pg_sleep(60)").await;
    for projection in [vec![0], Vec::new()] {
        let scan = fixture.scan("slow").await.with_projection(projection.clone());
        let read = async {
            let mut stream = fixture.source.read(&scan, &Default::default(), context(1000)).await.expect("a stream");
            stream.next().await
        };
        assert!(tokio::time::timeout(Duration::from_millis(500), read).await.is_err());
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%conformance_given_up%' AND pid <> pg_backend_pid()";
        let start = Instant::now();
        while fixture.admin.query_typed_one(sql, &[]).await.expect("a number").get::<_, i64>(0) > 0 {
            assert!(start.elapsed() < Duration::from_secs(1), "the statement goes on: {projection:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_login_that_is_refused_says_so_without_the_password() {
    let Some(fixture) = fixture("login").await else { return };
    for (user, password) in [("postgres", "sentinel-wrong"), ("nobody_of_this_name", "sentinel-wrong")] {
        let source = open(&fixture.url, &[("user", user), ("password", password)]);
        let error = table_error(&*source).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(error.message().ends_with(&format!(" refused the login of user \"{user}\"")), "{error:?}");
        assert!(!texts(&error).contains("sentinel"), "{error:?}");
        let hint = "Check the user and the password of catalog \"pg\", and the server's pg_hba.conf.";
        assert_eq!(error.hint_text(), Some(hint));
    }
    let other = open(&database(&fixture.url, "no_such_database"), &[]);
    assert_eq!(table_error(&*other).await.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_server_that_is_down_or_mute_is_an_error_in_time() {
    if fixture("down").await.is_none() {
        return;
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let start = Instant::now();
    let error = table_error(&*open(&format!("postgres://u:sentinel@{free}/d"), &[])).await;
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, Retry::Later), "{error:?}");
    assert!(error.message().starts_with(&format!("could not connect to Postgres at {free}: ")), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(2) && !texts(&error).contains("sentinel"));

    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("an address");
    let start = Instant::now();
    let source = open(&format!("postgres://u:sentinel@{address}/d"), &[]);
    let error = source.list().await.expect_err("an error");
    assert_eq!(error.message(), format!("could not connect to Postgres at {address}: no answer within 5 s"));
    assert!((4..8).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    drop(mute);

    let error = open("postgres://u:p@no-such-host.invalid/d", &[]).list().await.expect_err("an error");
    assert!(error.message().starts_with("could not connect to Postgres at no-such-host.invalid:5432: "), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear_where_tls_is_required() {
    let Some(fixture) = fixture("tls").await else { return };
    let tls: String = fixture.admin.query_typed_one("SHOW ssl", &[]).await.expect("a setting").get(0);
    let required = open(&fixture.url, &[("ssl_mode", "require")]).list().await;
    assert_eq!(required.is_ok(), tls == "on", "{required:?}");
    assert!(open(&fixture.url, &[("ssl_mode", "disable")]).list().await.is_ok());
    let error = open(&fixture.url, &[("ssl_mode", "verify-full"), ("ssl_root_cert", "/no/such/file.pem")])
        .list()
        .await
        .expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

/// Where the server has a certificate for `localhost`, and `TRIBUTARY_TEST_POSTGRES_CA` is a file of who signed it.
#[tokio::test]
async fn certificates_are_checked_as_ssl_mode_says() {
    let (Some(fixture), Ok(authority)) = (fixture("certificate").await, std::env::var("TRIBUTARY_TEST_POSTGRES_CA"))
    else {
        println!("ignored: TRIBUTARY_TEST_POSTGRES_CA is not set");
        return;
    };
    fixture.run("CREATE TABLE t AS SELECT 1 AS id").await;
    fixture.user("conformance_certificate", "SUPERUSER").await;
    let by_name = fixture.url.replace("127.0.0.1", "localhost");
    let authority = authority.as_str();
    for (url, mode, root, fine) in [
        (&fixture.url, "require", None, true),
        (&fixture.url, "require", Some(authority), true),
        (&fixture.url, "verify-ca", Some(authority), true),
        (&fixture.url, "verify-full", Some(authority), false),
        (&by_name, "verify-full", Some(authority), true),
        (&by_name, "verify-ca", None, false),
        (&by_name, "verify-full", None, false),
    ] {
        let mut options = vec![("ssl_mode", mode), ("user", "conformance_certificate"), ("password", "secret")];
        options.extend(root.map(|root| ("ssl_root_cert", root)));
        let source = open(url, &options);
        let listed = source.list().await;
        assert_eq!(listed.is_ok(), fine, "{mode} {root:?}: {listed:?}");
        match listed {
            Ok(_) => {
                let t = scan(&*source, fixture.name("t")).await;
                assert_eq!(read(&*source, &t).await.expect("rows").num_rows(), 1);
                let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'conformance_certificate'";
                assert_eq!(
                    fixture.admin.query_typed_one(sql, &[]).await.expect("a number").get::<_, i64>(0),
                    1,
                    "{mode}"
                );
            }
            Err(error) => assert!(error.message().contains("certificate"), "{error:?}"),
        }
        drop(source);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Cancelling goes over TLS too.
    fixture.run(ENDLESS).await;
    let source = open(&by_name, &[("ssl_mode", "verify-full"), ("ssl_root_cert", authority)]);
    let endless = scan(&*source, fixture.name("endless")).await;
    let mut stream = source.read(&endless, &Default::default(), context(1000)).await.expect("a stream");
    stream.next().await.expect("a batch").expect("rows");
    drop(stream);
    becomes(&fixture, "endless", 0).await;
}

#[tokio::test]
async fn a_table_that_changed_after_planning_is_an_error_and_not_other_rows() {
    let Some(fixture) = fixture("changed").await else { return };
    fixture
        .run("CREATE TABLE gone (id int4); CREATE TABLE less (id int4, n int4); CREATE TABLE other (id int4, n text)")
        .await;
    fixture.run("INSERT INTO less VALUES (1, 2); INSERT INTO other VALUES (1, 'x')").await;
    let (gone, less, other) = (fixture.scan("gone").await, fixture.scan("less").await, fixture.scan("other").await);
    fixture
        .run("DROP TABLE gone; ALTER TABLE less DROP n; ALTER TABLE other ALTER n TYPE int8 USING 7018986666877744431")
        .await;
    for (table, scan) in [("gone", &gone), ("less", &less)] {
        for scan in [scan.clone(), scan.with_projection(vec![scan.columns.len() - 1])] {
            let error = fixture.read(&scan).await.expect_err("an error");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            let text = format!("table \"pg.{}.{table}\" changed since it was planned: ", fixture.schema);
            assert!(error.message().starts_with(&text), "{error:?}");
        }
    }
    // As text, and not as the eight bytes of the number.
    let batch = fixture.read(&other).await.expect("rows");
    assert_eq!(crate::fixture::shown(batch.column(1), 0), "7018986666877744431");
}

#[tokio::test]
async fn a_table_and_a_column_without_select_are_named() {
    let Some(fixture) = fixture("denied").await else { return };
    let schema = &fixture.schema;
    fixture
        .run(&format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'conformance_reader') THEN
               CREATE ROLE conformance_reader LOGIN PASSWORD 'reader'; END IF; END $$;
             CREATE TABLE t (id int4, secret int4); GRANT USAGE ON SCHEMA {schema} TO conformance_reader;
             GRANT SELECT (id) ON t TO conformance_reader"
        ))
        .await;
    let source = open(&fixture.url, &[("user", "conformance_reader"), ("password", "reader")]);
    let whole = scan(&*source, fixture.name("t")).await;
    let error = read(&*source, &whole).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(
        error.message().starts_with(&format!("user \"conformance_reader\" may not read table \"pg.{schema}.t\": ")),
        "{error:?}"
    );
    let hint = "Leave the columns out that the user may not read, or ask for SELECT on them: \"secret\".";
    assert_eq!(error.hint_text(), Some(hint));
    assert_eq!(read(&*source, &whole.with_projection(vec![0])).await.expect("rows").num_rows(), 0);
    fixture.run("REVOKE SELECT (id) ON t FROM conformance_reader").await;
    let error = read(&*source, &whole).await.expect_err("an error");
    let hint = "Ask for SELECT on the table and USAGE on its schema for \"conformance_reader\".";
    assert_eq!(error.hint_text(), Some(hint));
    let schemas = source.list().await.expect("a list");
    assert!(schemas.iter().any(|found| found.name == *schema));
}

#[tokio::test]
async fn a_server_that_ends_the_connection_is_an_error_and_not_fewer_rows() {
    let Some(fixture) = fixture("ended").await else { return };
    fixture.run(ENDLESS).await;
    let scan = fixture.scan("endless").await;
    let mut stream = fixture.source.read(&scan, &Default::default(), context(1000)).await.expect("a stream");
    stream.next().await.expect("a batch").expect("rows");
    fixture
        .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %conformance_ended%' AND pid <> pg_backend_pid()")
        .await;
    let error = stream.try_for_each(async |_| Ok(())).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    // It may have been told so by the server, or find the connection gone.
    let text = " while table \"pg.conformance_ended.endless\" was read: ";
    assert!(error.message().contains(text), "{error:?}");
}

#[tokio::test]
async fn connections_are_used_again_and_dead_ones_replaced() {
    let Some(fixture) = fixture("again").await else { return };
    fixture.run("CREATE TABLE t AS SELECT 1 AS id").await;
    let user = "conformance_again";
    fixture.user(user, "").await;
    fixture.run("GRANT SELECT ON t TO conformance_again").await;
    let source = open(&fixture.url, &[("user", user), ("password", "secret")]);
    let scan = scan(&*source, fixture.name("t")).await;
    let pids = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{user}'");
    let mut seen = Vec::new();
    for _ in 0..5 {
        assert_eq!(read(&*source, &scan).await.expect("rows").num_rows(), 1);
        let rows = fixture.admin.query_typed(&pids, &[]).await.expect("pids");
        seen.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "one connection serves all: {seen:?}");
    for wait in [0, 50, 1200] {
        fixture.run(&format!("SELECT pg_terminate_backend(pid) FROM ({pids}) s")).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert_eq!(read(&*source, &scan).await.expect("rows").num_rows(), 1);
        assert_eq!(read(&*source, &scan.with_projection(Vec::new())).await.expect("rows").num_rows(), 1);
    }
    // An error of the statement leaves the connection usable.
    fixture.run("DROP TABLE t").await;
    assert!(read(&*source, &scan).await.is_err());
    assert!(source.list().await.is_ok());
}

#[tokio::test]
async fn no_more_connections_are_opened_than_allowed_and_waiting_ends() {
    let Some(fixture) = fixture("limit").await else { return };
    fixture.run(ENDLESS).await;
    fixture.run("CREATE TABLE t AS SELECT 1 AS id").await;
    let source = open(&fixture.url, &[("max_connections", "2")]);
    let endless = scan(&*source, fixture.name("endless")).await;
    let t = scan(&*source, fixture.name("t")).await;
    let first = source.read(&endless, &Default::default(), context(10)).await.expect("a stream");
    let second = source.read(&endless, &Default::default(), context(10)).await.expect("a stream");
    let start = Instant::now();
    let error = source.list().await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
    assert!(
        error.message().starts_with("all 2 connections to Postgres at ") && error.hint_text().is_some(),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(12));
    let waiting = tokio::spawn({
        let source = Arc::clone(&source);
        async move { read(&*source, &t).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.await.expect("a task").expect("rows").num_rows(), 1);
    drop(second);
    becomes(&fixture, "endless", 0).await;
}

#[tokio::test]
async fn many_reads_at_once_queue_and_none_fails() {
    let Some(fixture) = fixture("queue").await else { return };
    fixture.run("CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 5000) i").await;
    let source = open(&fixture.url, &[("max_connections", "3")]);
    let scan = scan(&*source, fixture.name("t")).await;
    let reads = (0..40).map(|_| {
        let (source, scan) = (Arc::clone(&source), scan.clone());
        tokio::spawn(async move {
            let stream = source.read(&scan, &Default::default(), context(100)).await?;
            let batches: Vec<RecordBatch> = stream.try_collect().await?;
            Ok::<_, Error>(batches.iter().map(RecordBatch::num_rows).sum::<usize>())
        })
    });
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.expect("a task").expect("rows"), 5000);
    }
}

#[tokio::test]
async fn limits_of_the_server_are_told_from_other_errors() {
    let Some(fixture) = fixture("server_limit").await else { return };
    fixture
        .run(
            "DROP ROLE IF EXISTS conformance_slow; DROP ROLE IF EXISTS conformance_few;
             CREATE ROLE conformance_slow LOGIN SUPERUSER PASSWORD 'x'; ALTER ROLE conformance_slow SET statement_timeout = '300ms';
             CREATE ROLE conformance_few LOGIN PASSWORD 'x' CONNECTION LIMIT 0;
             CREATE VIEW slow AS SELECT 1 AS id FROM pg_sleep(20);
             CREATE VIEW wrong AS SELECT 1 / (i - 5000) AS id FROM generate_series(1, 9999) i",
        )
        .await;
    let slow = open(&fixture.url, &[("user", "conformance_slow"), ("password", "x")]);
    let scan = scan(&*slow, fixture.name("slow")).await;
    let error = read(&*slow, &scan).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let table = format!("table \"pg.{}.slow\"", fixture.schema);
    assert!(error.message().starts_with(&format!("Postgres gave the read of {table} up: ")), "{error:?}");
    let few = open(&fixture.url, &[("user", "conformance_few"), ("password", "x")]);
    let error = few.list().await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
    let error = fixture.read(&fixture.scan("wrong").await).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Source, "{error:?}");
    let text = format!("Postgres could not read table \"pg.{}.wrong\": division by zero", fixture.schema);
    assert_eq!(error.message(), text);
    assert_eq!(error.detail_text(), Some("SQLSTATE 22012."));
    fixture.run("DROP ROLE conformance_slow; DROP ROLE conformance_few").await;
}
