//! Finds the cases and runs one of them in a session and a schema of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use sqllogictest::{Record, Runner};

use crate::client::Client;
use crate::value::kinds_match;

/// Every `.slt` file under `folder`, sorted.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "slt") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The schema of catalog `memory` that a case starts in.
pub fn schema(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    format!("case_{}", name.chars().map(safe).collect::<String>())
}

/// One file to run.
pub struct Run {
    /// Where it is.
    pub path: PathBuf,
    /// What its schema is named after; another one for each run at a time.
    pub name: String,
    /// What `skipif` and `onlyif` see beside `tributary`.
    pub labels: Vec<&'static str>,
    /// Statements that each session starts with.
    pub start: Vec<String>,
}

impl Run {
    /// Runs the file against a server.
    pub async fn over(&self, address: &str) -> Result<()> {
        let schema = schema(&self.name);
        let mut setup = Client::connect(address).await?;
        setup
            .update(&format!("CREATE SCHEMA IF NOT EXISTS memory.{schema}"))
            .await
            .context("could not make the case's schema")?;
        let mut runner = Runner::new(|| async {
            let mut client = Client::connect(address).await?;
            client.update(&format!("USE memory.{schema}")).await?;
            for statement in &self.start {
                client.update(statement).await?;
            }
            Ok(client)
        });
        runner.with_column_validator(kinds_match);
        runner.add_label("tributary");
        self.labels.iter().for_each(|label| runner.add_label(label));
        let records: Vec<Record<_>> = sqllogictest::parse_file(&self.path).map_err(|error| anyhow!("{error}"))?;
        let checks =
            records.iter().filter(|record| matches!(record, Record::Query { .. } | Record::Statement { .. })).count();
        anyhow::ensure!(checks > 0, "the file holds no statement");
        let result = runner.run_multi_async(records).await;
        runner.shutdown_async().await;
        result.map_err(|error| anyhow!("{}", error.display(false)))
    }
}
