//! Runs a folder of sqllogictest files against any server over Flight SQL: `slt DIR --server HOST:PORT [--known FILE]`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use sql_tests::case;

struct Arguments {
    folder: PathBuf,
    server: String,
    /// A file of names, one a line, that are expected to fail.
    known: Option<PathBuf>,
}

fn arguments() -> Result<Arguments> {
    let (mut folder, mut server, mut known) = (None, "127.0.0.1:32010".to_owned(), None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--server" => {
                server = words.next().context("--server takes HOST:PORT")?.trim_start_matches("grpc://").to_owned()
            }
            "--known" => known = Some(PathBuf::from(words.next().context("--known takes a file")?)),
            other if other.starts_with('-') || folder.is_some() => {
                bail!("usage: slt DIR --server HOST:PORT [--known FILE]; \"{other}\" is not known")
            }
            other => folder = Some(PathBuf::from(other)),
        }
    }
    Ok(Arguments { folder: folder.context("usage: slt DIR --server HOST:PORT [--known FILE]")?, server, known })
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = arguments()?;
    let known: BTreeSet<String> = match &arguments.known {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            text.lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect()
        }
        None => BTreeSet::new(),
    };
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for path in case::find(&arguments.folder)? {
        let name = path.strip_prefix(&arguments.folder)?.with_extension("").display().to_string();
        match (case::run(&path, &name, &arguments.server, "remote").await, known.contains(&name)) {
            (Ok(()), false) => passed += 1,
            (Ok(()), true) => {
                failed += 1;
                println!("{name}: passes, but is listed as a known failure; take it off the list");
            }
            (Err(error), true) => {
                skipped += 1;
                println!("{name}: known failure: {}", error.to_string().lines().next().unwrap_or_default());
            }
            (Err(error), false) => {
                failed += 1;
                println!("{name}: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
