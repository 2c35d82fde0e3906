//! Statements with thousands of chained operators: answered or refused, and the server lives on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sql_tests::cluster::{Cluster, Plan, root};

/// Such a statement costs the planner the square of its length, which a debug build feels.
const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_chained_operators_do_not_end_the_process() -> Result<()> {
    let catalogs = Some(root().join("sql-tests/etc/catalogs"));
    let cluster = Cluster::start(&Plan { workers: 0, catalogs, spread: false }).await?;
    let mut client = cluster.client().await?;
    let sum = format!("SELECT {}1", "1 + ".repeat(2000));
    let terms: Vec<String> = (0..2000).map(|at| format!("r_regionkey = {at}")).collect();
    let any = format!("SELECT count(*) FROM tpch.tiny.region WHERE {}", terms.join(" OR "));
    for (sql, right) in [(sum, "2001"), (any, "5")] {
        let answer = tokio::time::timeout(LIMIT, client.query(&sql))
            .await
            .with_context(|| format!("no answer within {LIMIT:?}"))?;
        match answer {
            Ok(answer) => ensure!(answer.rows()? == [[right]], "wrong rows: {:?}", answer.rows()?),
            Err(error) => {
                ensure!(error.to_string().starts_with("RESOURCE_EXHAUSTED: "), "neither rows nor a refusal: {error}")
            }
        }
        ensure!(
            cluster.client().await?.query("SELECT 1").await?.rows()? == [["1"]],
            "the server does not answer any more"
        );
    }
    Ok(())
}
