//! The rules of the house, checked on the files of the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sql_tests::cluster::root;

/// Lines above which a file needs a reason to be so long.
const LONG: usize = 500;
/// Files that may be longer, with the reason.
const LONG_FOR_A_REASON: [(&str, &str); 1] = [(
    "connectors/postgres/tests/conformance/grid.rs",
    "one entry for each type of Postgres and operator, best read side by side",
)];
const BANNED: [&str; 8] = ["utils", "util", "common", "helpers", "misc", "manager", "impl", "base"];

/// Which crates of ours a crate may depend on: the arrows of the house.
fn arrows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let sources = ["connector-files", "connector-memory", "connector-mongodb", "connector-postgres", "connector-tpch"];
    let mut arrows = BTreeMap::from([
        ("connector-spi", vec![]),
        ("connectors", [&sources[..], &["connector-spi"]].concat()),
        ("coordinator", vec!["connectors", "connector-spi"]),
        ("worker", vec!["connectors", "connector-spi"]),
        ("tributary", vec!["coordinator", "worker", "connectors", "connector-spi"]),
        (
            "sql-tests",
            vec!["coordinator", "worker", "connectors", "connector-spi", "connector-mongodb", "connector-postgres"],
        ),
    ]);
    for source in sources {
        arrows.insert(source, vec!["connector-spi"]);
    }
    arrows
}

/// The files that are in the repository, or would be with the next `git add`.
fn files() -> Result<Vec<PathBuf>> {
    let list = Command::new("git").current_dir(root()).args(["ls-files", "-co", "--exclude-standard"]).output();
    if let Ok(output) = list
        && output.status.success()
    {
        let text = String::from_utf8(output.stdout)?;
        return Ok(text.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect());
    }
    // A copy without git: everything but the build's output.
    let (mut found, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !["target", ".git"].contains(&name) {
                folders.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(root())?.to_owned());
            }
        }
    }
    Ok(found)
}

fn rust_files() -> Result<Vec<PathBuf>> {
    Ok(files()?.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.display().to_string())
}

/// Fails with every offence at once.
fn none(offences: Vec<String>, rule: &str) -> Result<()> {
    ensure!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
    Ok(())
}

/// The crate's name and its dependencies of every kind but those of tests.
fn manifests() -> Result<Vec<(String, BTreeSet<String>)>> {
    let mut found = Vec::new();
    for path in files()?.into_iter().filter(|path| path.ends_with("Cargo.toml") && path != Path::new("Cargo.toml")) {
        let (mut section, mut name, mut dependencies) = (String::new(), String::new(), BTreeSet::new());
        for line in read(&path)?.lines() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']').to_owned();
            } else if section == "package" && line.starts_with("name = ") {
                name = line.trim_start_matches("name = ").trim_matches('"').to_owned();
            } else if section == "dependencies"
                || (section.starts_with("target.") && section.ends_with(".dependencies"))
            {
                let key: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
                dependencies.insert(key);
            }
        }
        found.push((name, dependencies));
    }
    ensure!(found.len() > 5, "the crates were not found");
    Ok(found)
}

#[test]
fn each_file_says_first_what_it_is() -> Result<()> {
    let mut offences = Vec::new();
    for path in rust_files()? {
        let text = read(&path)?;
        // A connector's crate documentation is its manual page.
        if !text.starts_with("//! ") && !text.starts_with("#![doc = include_str!(\"../README.md\")]") {
            offences.push(path.display().to_string());
        }
    }
    none(offences, "a Rust file starts with one `//!` sentence")
}

#[test]
fn no_module_is_called_mod_or_by_a_word_that_says_nothing() -> Result<()> {
    let bad = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        stem == "mod" || BANNED.contains(&stem)
    };
    none(
        rust_files()?.iter().filter(|path| bad(path)).map(|path| path.display().to_string()).collect(),
        "rename these files",
    )
}

#[test]
fn files_stay_short_or_have_a_reason() -> Result<()> {
    let mut offences = Vec::new();
    for path in rust_files()? {
        let (lines, shown) = (read(&path)?.lines().count(), path.display().to_string());
        if lines > LONG && !LONG_FOR_A_REASON.iter().any(|(allowed, _)| *allowed == shown) {
            offences.push(format!("{shown}: {lines} lines"));
        }
    }
    none(offences, "split these files, or give the reason in tidy.rs")
}

#[test]
fn crates_depend_only_along_the_arrows() -> Result<()> {
    let arrows = arrows();
    let ours: BTreeSet<&str> = arrows.keys().copied().collect();
    let mut offences = Vec::new();
    for (name, dependencies) in manifests()? {
        let Some(allowed) = arrows.get(name.as_str()) else {
            offences.push(format!("{name} has no arrows; add it to tidy.rs"));
            continue;
        };
        for dependency in dependencies.iter().filter(|d| ours.contains(d.as_str()) && !allowed.contains(&d.as_str())) {
            offences.push(format!("{name} -> {dependency}"));
        }
    }
    none(offences, "these dependencies are against the arrows of the house")
}

#[test]
fn the_contract_knows_nothing_of_the_wire() -> Result<()> {
    let manifests = manifests()?;
    let (_, dependencies) = manifests.iter().find(|(name, _)| name == "connector-spi").context("connector-spi")?;
    let offences = ["tonic", "arrow-flight", "datafusion-distributed", "axum", "tokio-postgres"];
    none(
        offences.iter().filter(|name| dependencies.contains(**name)).map(|name| (*name).to_owned()).collect(),
        "connector-spi depends on",
    )
}

#[test]
fn only_config_modules_and_tests_read_the_environment() -> Result<()> {
    let mut offences = Vec::new();
    for path in rust_files()? {
        let shown = path.display().to_string();
        let allowed = shown.starts_with("sql-tests/")
            || shown.contains("/tests/")
            || shown.ends_with("/build.rs")
            || shown.contains("config");
        let text = read(&path)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if !allowed && ["env::var(", "env::var_os(", "env::vars("].iter().any(|call| code.contains(call)) {
            offences.push(shown);
        }
    }
    none(offences, "only config modules read the environment")
}

#[test]
fn every_connector_has_a_manual_page_that_the_readme_names() -> Result<()> {
    let readme = read(Path::new("README.md"))?;
    let mut offences = Vec::new();
    for entry in std::fs::read_dir(root().join("connectors"))? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !folder.join("Cargo.toml").is_file() || name == "spi" {
            continue;
        }
        if !folder.join("README.md").is_file() {
            offences.push(format!("connectors/{name} has no README.md"));
        }
        if !readme.contains(&format!("connectors/{name}")) {
            offences.push(format!("README.md does not name connectors/{name}"));
        }
    }
    none(offences, "connectors and their manual")
}

#[test]
fn no_text_names_a_folder_of_one_machine() -> Result<()> {
    // Written in two parts, so that this file does not offend.
    let machines = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut offences = Vec::new();
    for path in files()? {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (at, line) in text.lines().enumerate() {
            if machines.iter().any(|machine| line.contains(machine)) {
                offences.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    none(offences, "these lines name a folder of one machine")
}
