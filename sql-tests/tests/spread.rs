//! A coordinator and two workers as processes of their own share one query over Postgres and Parquet on S3.

use std::process::Command;

use anyhow::{Result, ensure};
use sql_tests::cluster::{Cluster, Plan, binary, root};

const JOIN: &str = "SELECT o.id, i.id, i.qty FROM pg.sales.orders o JOIN lake.main.item i ON i.order_id = o.id \
                    WHERE o.state = 'paid' AND i.qty < 7 ORDER BY o.id, i.id";

/// False, after saying so, where a person has not started the servers; an error in continuous integration.
fn servers() -> Result<bool> {
    let up = std::env::var_os("TRIBUTARY_TEST_POSTGRES_URL").is_some()
        && std::env::var_os("TRIBUTARY_TEST_S3_ENDPOINT").is_some();
    ensure!(up || std::env::var_os("CI").is_none(), "needs the servers: eval \"$(sql-tests/servers/up)\"");
    if !up {
        eprintln!("ignored: needs the servers: eval \"$(sql-tests/servers/up)\"");
    }
    Ok(up)
}

/// A coordinator and its workers, among which even small queries are spread.
async fn cluster(workers: usize) -> Result<Cluster> {
    let catalogs = Some(root().join("sql-tests/etc/catalogs"));
    Cluster::start(&Plan { workers, catalogs, spread: true }).await
}

/// Rows of text as one text.
fn text(rows: &[Vec<String>]) -> String {
    rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join("\n")
}

fn embedded(sql: &str) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new(binary()?);
    command.current_dir(root()).args(["sql", "--catalogs", "sql-tests/etc/catalogs", "--format", "tsv", "-e", sql]);
    let output = command.output()?;
    ensure!(output.status.success(), "embedded: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_of_postgres_and_parquet_runs_on_both_workers() -> Result<()> {
    if !servers()? {
        return Ok(());
    }
    let cluster = cluster(2).await?;
    let mut client = cluster.client().await?;

    let text = text(&client.query(&format!("EXPLAIN ANALYZE {JOIN}")).await?.rows()?);
    for worker in &cluster.workers {
        let address = worker.address("worker")?.to_string();
        ensure!(text.contains(&address), "EXPLAIN ANALYZE shows no task on {address}:\n{text}");
    }

    let rows = client.query(JOIN).await?.rows()?;
    ensure!(rows.len() > 100, "only {} rows", rows.len());
    ensure!(rows == embedded(JOIN)?, "the cluster and the embedded engine give different rows");

    let tasks = "SELECT count(DISTINCT worker) FROM system.runtime.tasks";
    let tasks = client.query(tasks).await?.rows()?;
    ensure!(tasks == [["2"]], "tasks ran on {tasks:?} workers");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_spread_is_planned_for_the_workers() -> Result<()> {
    let cluster = cluster(2).await?;
    let mut client = cluster.client().await?;
    for sql in [
        "SELECT count(*) FROM tpch.tiny.lineitem",
        "SELECT o_orderpriority, count(*) FROM tpch.tiny.orders GROUP BY o_orderpriority",
        "SELECT * FROM tpch.tiny.orders ORDER BY o_orderkey LIMIT 5",
        "SELECT count(*) FROM shop.main.customer c JOIN archive.main.sale s ON s.customer_id = c.id",
    ] {
        let text = text(&client.query(&format!("EXPLAIN {sql}")).await?.rows()?);
        ensure!(text.contains("tasks=2"), "no stage of {sql} has two tasks:\n{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_join_on_a_worker_reach_postgres_one_by_one() -> Result<()> {
    if !servers()? {
        return Ok(());
    }
    let cluster = cluster(2).await?;
    let mut client = cluster.client().await?;
    let sql =
        "SELECT count(*), sum(m.kind) FROM lake.main.item i JOIN pg.sales.many m ON m.id = i.id * 13 WHERE i.id <= 700";
    let text = text(&client.query(&format!("EXPLAIN ANALYZE {sql}")).await?.rows()?);
    let number = |text: &str| {
        let number = text.split([',', ']']).next()?;
        match number.strip_suffix(" K") {
            Some(thousands) => Some(thousands.parse::<f64>().ok()? * 1000.0),
            None => number.parse().ok(),
        }
    };
    let sent: Vec<f64> = text.split("join_keys_sent=").skip(1).filter_map(number).collect();
    ensure!(sent.iter().any(|keys| *keys >= 700.0), "{sent:?} keys were sent:\n{text}");
    ensure!(client.query(sql).await?.rows()? == embedded(sql)?, "the cluster gives other rows");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_written_to_postgres_and_read_again() -> Result<()> {
    if !servers()? {
        return Ok(());
    }
    let cluster = cluster(2).await?;
    let mut client = cluster.client().await?;
    let url = std::env::var("TRIBUTARY_TEST_POSTGRES_URL")?;
    let create = format!("CREATE CATALOG written USING postgres WITH (url '{url}', writable true, split_size 8192)");
    for sql in [
        create.as_str(),
        "CREATE SCHEMA IF NOT EXISTS written.spread",
        "DROP TABLE IF EXISTS written.spread.o",
        "CREATE TABLE written.spread.o AS SELECT o_orderkey AS k, o_totalprice AS price, o_comment AS line, o_orderdate AS day FROM tpch.tiny.orders",
        "INSERT INTO written.spread.o (line, k) VALUES ('it''s', 0), (NULL, -1)",
    ] {
        client.query(sql).await?;
    }
    let found = "SELECT count(*), sum(k), sum(price), count(line), min(day) FROM";
    let found = client.query(&format!("{found} written.spread.o")).await?.rows()?;
    let right = "SELECT count(*) + 2, sum(o_orderkey) - 1, sum(o_totalprice), count(*) + 1, min(o_orderdate) FROM tpch.tiny.orders";
    ensure!(found == client.query(right).await?.rows()?, "other rows were written: {found:?}");
    let refused = client.query("INSERT INTO pg.sales.empty VALUES (1, 'x')").await.err().map(|error| error.to_string());
    ensure!(
        refused.as_deref().is_some_and(|text| text.starts_with("PERMISSION_DENIED: catalog \"pg\" is read only")),
        "a read-only catalog was written: {refused:?}"
    );
    for (sql, rows) in [
        ("UPDATE written.spread.o SET line = 'it''s', price = 1, day = NULL WHERE k IN (1, 2, 3) OR k = -1", 4),
        ("UPDATE written.spread.o SET line = lower('X') || '!' WHERE day IS NULL AND k > 0", 3),
        ("UPDATE written.spread.o SET k = 5 WHERE false", 0),
        ("DELETE FROM written.spread.o WHERE k BETWEEN 4 AND 100 AND day >= DATE '1992-01-01' + INTERVAL '1' DAY", 25),
    ] {
        ensure!(client.update(sql).await? == Some(rows), "{sql} changed other rows than {rows}");
    }
    let found =
        "SELECT count(*) FILTER (WHERE line = 'x!'), count(*) FILTER (WHERE k < 0 AND line = 'it''s'), count(*)";
    let found = client.query(&format!("{found} FROM written.spread.o")).await?.rows()?;
    ensure!(found == [["3", "1", "14977"]], "other rows were left: {found:?}");
    for (sql, error) in [
        ("DELETE FROM written.spread.o WHERE upper(line) = 'X'", "UNSUPPORTED: the condition"),
        (
            "DELETE FROM written.spread.o WHERE k IN (SELECT o_orderkey FROM tpch.tiny.orders)",
            "UNSUPPORTED: the condition",
        ),
        (
            "DELETE FROM written.spread.o WHERE price = (SELECT max(price) FROM written.spread.o)",
            "UNSUPPORTED: the condition",
        ),
        ("UPDATE written.spread.o SET price = price * 2", "UNSUPPORTED: column \"price\" is set to what is calculated"),
        ("UPDATE written.spread.o SET prise = 2", "NOT_FOUND: column \"prise\" does not exist"),
        ("UPDATE written.spread.o SET k = 1, k = 2", "INVALID: column \"k\" is set twice"),
        ("UPDATE tpch.tiny.orders SET o_orderkey = 1", "UNSUPPORTED: catalog \"tpch\" cannot be written"),
        ("DELETE FROM pg.sales.orders", "PERMISSION_DENIED: catalog \"pg\" is read only"),
    ] {
        let refused = client.update(sql).await.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(refused.starts_with(error), "{sql}: {refused}");
    }
    for sql in ["DROP TABLE written.spread.o", "DROP SCHEMA written.spread", "DROP CATALOG written"] {
        client.query(sql).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_queries_at_once_wait_for_twenty_connections_and_none_fails() -> Result<()> {
    if !servers()? {
        return Ok(());
    }
    let url = std::env::var("TRIBUTARY_TEST_POSTGRES_URL")?;
    let cluster = cluster(3).await?;
    let mut client = cluster.client().await?;
    let with = "user 'crowded', password 'crowded', max_connections 20, split_size 8192";
    client.query(&format!("CREATE CATALOG crowded USING postgres WITH (url '{url}', {with})")).await?;
    let sql = "SELECT count(*), sum(a.id), max(b.line), count(DISTINCT c.kind) FROM crowded.sales.many a \
               JOIN crowded.sales.many b ON a.id = b.id JOIN crowded.sales.many c ON c.id = b.id + 1";
    let right = "SELECT count(*) - 1, sum(id) - 20000, max(line), count(DISTINCT kind) FROM pg.sales.many";
    let right = client.query(right).await?.rows()?;
    for workers in ["3", "0"] {
        let mut running = Vec::new();
        for _ in 0..50 {
            let mut client = cluster.client().await?;
            client.query(&format!("SET workers = {workers}")).await?;
            running.push(tokio::spawn(async move { client.query(sql).await?.rows() }));
        }
        for query in running {
            ensure!(query.await?? == right, "other rows than {right:?}");
        }
    }
    Ok(())
}
