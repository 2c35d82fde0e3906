//! Workers that die or freeze in the middle of a query: a clear error in time, and the rest goes on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sql_tests::client::{Client, Failure};
use sql_tests::cluster::{Cluster, Plan, root};
use tokio::task::JoinHandle;

/// Long enough to be hit in the middle, and needs every worker.
const LONG: &str = "SELECT count(*), sum(l_extendedprice) FROM tpch.sf10.lineitem";
const SHORT: &str = "SELECT count(*), sum(o_totalprice) FROM tpch.tiny.orders";

async fn cluster() -> Result<Cluster> {
    let catalogs = Some(root().join("sql-tests/etc/catalogs"));
    Cluster::start(&Plan { workers: 3, catalogs, spread: true }).await
}

async fn one(client: &mut Client, sql: &str) -> Result<Vec<String>> {
    let rows = client.query(sql).await?.rows()?;
    rows.into_iter().next().with_context(|| format!("{sql} gave no row"))
}

/// Starts the long query and waits until the worker at `address` has a task of it.
async fn start_long(cluster: &Cluster, address: &str) -> Result<JoinHandle<Result<(), Failure>>> {
    let mut client = cluster.client().await?;
    let query = tokio::spawn(async move { client.query(LONG).await.map(|_| ()) });
    let mut watch = cluster.client().await?;
    let end = Instant::now() + Duration::from_secs(20);
    let busy = format!("SELECT count(*) FROM system.runtime.tasks WHERE worker LIKE '%{address}%'");
    while one(&mut watch, &busy).await? == ["0"] {
        ensure!(Instant::now() < end, "no task reached worker {address} within 20 s");
        ensure!(!query.is_finished(), "the long query ended before it could be disturbed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Well into the reading.
    tokio::time::sleep(Duration::from_millis(700)).await;
    ensure!(!query.is_finished(), "the long query ended before it could be disturbed");
    Ok(query)
}

/// The error of a query that must fail within `limit`.
async fn error_within(query: JoinHandle<Result<(), Failure>>, limit: Duration) -> Result<String> {
    let start = Instant::now();
    let ended = tokio::time::timeout(limit, query).await;
    let result = ended.with_context(|| format!("no answer within {limit:?} of the fault"))??;
    let error = result.err().context("the query succeeded although a worker was lost")?;
    eprintln!("after {:?}: {error}", start.elapsed());
    Ok(error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_named_and_the_rest_goes_on() -> Result<()> {
    let mut cluster = cluster().await?;
    let mut client = cluster.client().await?;
    let right = one(&mut client, SHORT).await?;
    let victim = cluster.workers.remove(1);
    let address = victim.address("worker")?.to_string();
    let query = start_long(&cluster, &address).await?;
    victim.signal("KILL")?;
    let error = error_within(query, Duration::from_secs(5)).await?;
    ensure!(
        error.starts_with("WORKER_LOST: ") && error.contains(&address),
        "the error does not name {address}: {error}"
    );
    ensure!(one(&mut client, SHORT).await? == right, "the next query gives other rows");
    cluster.wait_for_workers(2).await?;
    ensure!(one(&mut client, SHORT).await? == right, "a query on two workers gives other rows");
    cluster.add_worker()?;
    cluster.wait_for_workers(3).await?;
    ensure!(one(&mut client, SHORT).await? == right, "a query with the new worker gives other rows");
    let new = cluster.workers.last().context("no worker")?.address("worker")?;
    let used =
        one(&mut client, &format!("SELECT count(*) FROM system.runtime.tasks WHERE worker LIKE '%{new}%'")).await?;
    ensure!(used != ["0"], "the new worker {new} got no task");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_is_given_up_within_fifteen_seconds() -> Result<()> {
    let cluster = cluster().await?;
    let mut client = cluster.client().await?;
    let right = one(&mut client, SHORT).await?;
    let victim = cluster.workers.first().context("no worker")?;
    let address = victim.address("worker")?.to_string();
    let query = start_long(&cluster, &address).await?;
    victim.signal("STOP")?;
    let error = error_within(query, Duration::from_secs(15)).await;
    let next = tokio::time::timeout(Duration::from_secs(15), one(&mut client, SHORT)).await;
    victim.signal("CONT")?;
    let error = error?;
    ensure!(
        error.starts_with("WORKER_LOST: ") && error.contains(&address),
        "the error does not name {address}: {error}"
    );
    ensure!(next.context("the next query had no answer within 15 s")?? == right, "the next query gives other rows");
    cluster.wait_for_workers(3).await?;
    ensure!(one(&mut client, SHORT).await? == right, "a query with the thawed worker gives other rows");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_its_workers_end_cleanly_when_asked_to() -> Result<()> {
    let mut cluster = cluster().await?;
    let mut worker = cluster.workers.remove(0);
    worker.signal("TERM")?;
    ensure!(worker.ended(Duration::from_secs(10))?.success(), "the worker ended with an error\n{}", worker.tail());
    cluster.wait_for_workers(2).await?;
    cluster.server.signal("TERM")?;
    ensure!(
        cluster.server.ended(Duration::from_secs(10))?.success(),
        "the server ended with an error\n{}",
        cluster.server.tail()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_query() -> Result<()> {
    let cluster = cluster().await?;
    let address = cluster.workers.first().context("no worker")?.address("worker")?.to_string();
    let query = start_long(&cluster, &address).await?;
    query.abort();
    let mut client = cluster.client().await?;
    let end = Instant::now() + Duration::from_secs(10);
    let running = "SELECT count(*) FROM system.runtime.queries WHERE sql LIKE '%sf10%' AND sql NOT LIKE '%runtime%' AND state = 'running'";
    while one(&mut client, running).await? != ["0"] {
        ensure!(Instant::now() < end, "the query still runs 10 s after its client went away");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
