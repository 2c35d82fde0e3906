//! The engine without us: plain DataFusion over a folder of Parquet files, as the measure of `bench/tpch`.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;

/// The longest that one statement may take.
const STATEMENT: Duration = Duration::from_secs(600);

/// Runs the statements of a file, which a line of `;` separates, and prints the number of rows of each when it has them all.
#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().context("usage: plain FOLDER SCRIPT")?;
    let script = std::fs::read_to_string(args.next().context("usage: plain FOLDER SCRIPT")?)?;
    // What any user of the library gets: its defaults, one partition a core.
    let context = SessionContext::new_with_config(SessionConfig::new());
    for entry in std::fs::read_dir(&folder).with_context(|| folder.clone())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            let name = path.file_stem().context("a file name")?.to_string_lossy().into_owned();
            context.register_parquet(name, path.to_string_lossy().into_owned(), ParquetReadOptions::default()).await?;
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;
    for sql in script.split("\n;\n").map(str::trim).filter(|sql| !sql.is_empty()) {
        let work = async {
            let mut stream = context.sql(sql).await?.execute_stream().await?;
            let mut rows = 0;
            while let Some(batch) = stream.next().await {
                rows += batch?.num_rows();
            }
            Ok::<_, datafusion::error::DataFusionError>(rows)
        };
        let rows = tokio::time::timeout(STATEMENT, work).await.with_context(|| format!("too slow: {sql}"))??;
        writeln!(out, "{rows}")?;
        out.flush()?;
    }
    Ok(())
}
