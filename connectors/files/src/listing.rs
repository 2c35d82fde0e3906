//! Which tables a location holds, and which files a table is made of.

use std::collections::BTreeSet;

use connector_spi::{Error, ErrorKind, Result, SchemaEntry, TableEntry, TableKind, TableName};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::store::{Level, Root, hidden, join};

/// The one schema of a catalog whose location has no folders for schemas.
pub(crate) const MAIN: &str = "main";
const LISTINGS_AT_ONCE: usize = 16;

/// What a file holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    Parquet,
    Csv,
    Ndjson,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Ndjson => "NDJSON",
        }
    }
}

/// How a whole file is packed, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// The files of one table.
#[derive(Debug, Clone)]
pub(crate) struct Dataset {
    pub(crate) format: Format,
    /// In the order of their paths; at least one.
    pub(crate) files: Vec<(ObjectMeta, Packing)>,
}

/// A file name without its endings, and what the endings say; `None` for a name that says nothing.
pub(crate) fn kind(name: &str) -> Option<(&str, Format, Packing)> {
    let (rest, packing) = match ending(name) {
        Some((rest, "gz" | "gzip")) => (rest, Packing::Gzip),
        Some((rest, "zst" | "zstd")) => (rest, Packing::Zstd),
        _ => (name, Packing::Plain),
    };
    let (stem, format) = match ending(rest)? {
        (stem, "csv") => (stem, Format::Csv),
        (stem, "ndjson" | "jsonl" | "json") => (stem, Format::Ndjson),
        (stem, "parquet" | "pq") if packing == Packing::Plain => (stem, Format::Parquet),
        _ => return None,
    };
    (!stem.is_empty()).then_some((stem, format, packing))
}

/// The name before its last dot, and the ending in small letters where it is a known one.
fn ending(name: &str) -> Option<(&str, &'static str)> {
    const KNOWN: [&str; 9] = ["gz", "gzip", "zst", "zstd", "csv", "ndjson", "jsonl", "json", "parquet"];
    let (rest, end) = name.rsplit_once('.')?;
    KNOWN.into_iter().chain(["pq"]).find(|known| end.eq_ignore_ascii_case(known)).map(|known| (rest, known))
}

/// Every schema and table, by the names of files and folders alone.
pub(crate) async fn list(root: &Root, schemas: bool) -> Result<Vec<SchemaEntry>> {
    let top = root.level("").await?.unwrap_or_default();
    if !schemas {
        return Ok(vec![SchemaEntry { name: MAIN.to_owned(), tables: tables(&top) }]);
    }
    let mut names = top.folders;
    names.sort();
    futures::stream::iter(names)
        .map(|name| async move {
            let level = root.level(&name).await?.unwrap_or_default();
            Ok(SchemaEntry { tables: tables(&level), name })
        })
        .boxed()
        .buffered(LISTINGS_AT_ONCE)
        .try_collect()
        .await
}

fn tables(level: &Level) -> Vec<TableEntry> {
    let files = level.files.iter().filter_map(|file| kind(file.location.filename()?)).map(|(stem, ..)| stem.to_owned());
    let names = files.chain(level.folders.iter().cloned()).collect::<BTreeSet<_>>();
    names.into_iter().map(|name| TableEntry { name, kind: TableKind::Table }).collect()
}

/// Finds the files of a table; `None` where no file or folder has its name.
pub(crate) async fn resolve(root: &Root, schemas: bool, name: &TableName) -> Result<Option<Dataset>> {
    let odd = |part: &str| part.is_empty() || part.contains(['/', '\\', '\0']) || hidden(part);
    if odd(&name.schema) || odd(&name.table) || (!schemas && name.schema != MAIN) {
        return Ok(None);
    }
    let parent = if schemas { name.schema.as_str() } else { "" };
    let Some(level) = root.level(parent).await? else { return Ok(None) };
    let table = name.table.as_str();
    let catalog = root.catalog();

    let mut found = Vec::new();
    for file in level.files {
        let Some(file_name) = file.location.filename() else { continue };
        if let Some((stem, format, packing)) = kind(file_name)
            && stem == table
        {
            found.push((file_name.to_owned(), Some(Dataset { format, files: vec![(file, packing)] })));
        }
    }
    if level.folders.iter().any(|folder| folder == table) {
        found.push((table.to_owned(), None));
    }
    if let [(first, _), (second, _), ..] = found.as_slice() {
        let message = format!(
            "table \"{name}\" of catalog \"{catalog}\" is ambiguous: \"{first}\" and \"{second}\" both have this name"
        );
        return Err(Error::new(ErrorKind::BadData, message)
            .hint("Rename one of them, or move both into a folder if they are one table."));
    }
    match found.pop() {
        Some((_, Some(dataset))) => Ok(Some(dataset)),
        Some((_, None)) => folder(root, &join(parent, table)).await.map(Some),
        None => match level
            .refused
            .into_iter()
            .find(|(name, _)| name == table || kind(name).is_some_and(|(stem, ..)| stem == table))
        {
            Some((file, reason)) => {
                let message =
                    format!("cannot read file \"{}\" of catalog \"{catalog}\": {reason}", join(parent, &file));
                Err(Error::new(ErrorKind::PermissionDenied, message))
            }
            None => Ok(None),
        },
    }
}

async fn folder(root: &Root, path: &str) -> Result<Dataset> {
    let catalog = root.catalog();
    let mut files: Vec<(ObjectMeta, Packing)> = Vec::new();
    let mut first: Option<(Format, String)> = None;
    for file in root.walk(path).await? {
        let relative = root.relative(&file.location).to_owned();
        let inside = relative.strip_prefix(path).unwrap_or(&relative);
        if let Some(partition) = inside.split('/').rev().skip(1).find(|part| part.contains('=')) {
            let message = format!(
                "table folder \"{path}\" of catalog \"{catalog}\" has partition folders such as \"{partition}\""
            );
            return Err(Error::unsupported(message).hint("Partition columns in folder names are not supported yet."));
        }
        let Some((_, format, packing)) = kind(relative.rsplit('/').next().unwrap_or_default()) else {
            let message = format!(
                "table folder \"{path}\" of catalog \"{catalog}\" has file \"{relative}\", which is not Parquet, CSV or NDJSON by its name"
            );
            return Err(Error::new(ErrorKind::BadData, message)
                .hint("Remove the file, or let its name begin with \"_\" or \".\" so that it is left out."));
        };
        match &first {
            None => first = Some((format, relative)),
            Some((other, example)) if *other != format => {
                let message = format!(
                    "table folder \"{path}\" of catalog \"{catalog}\" mixes formats: \"{example}\" is {}, \"{relative}\" is {}",
                    other.name(),
                    format.name()
                );
                return Err(Error::new(ErrorKind::BadData, message).hint("Keep files of one format in a folder."));
            }
            Some(_) => {}
        }
        files.push((file, packing));
    }
    let Some((format, _)) = first else {
        let message = format!("table folder \"{path}\" of catalog \"{catalog}\" has no files");
        return Err(Error::new(ErrorKind::BadData, message).hint("Its columns are not known until there is a file."));
    };
    Ok(Dataset { format, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_format_and_packing() {
        assert_eq!(kind("orders.parquet"), Some(("orders", Format::Parquet, Packing::Plain)));
        assert_eq!(kind("orders.csv.gz"), Some(("orders", Format::Csv, Packing::Gzip)));
        assert_eq!(kind("orders.2024.jsonl.zst"), Some(("orders.2024", Format::Ndjson, Packing::Zstd)));
        assert_eq!(kind("ORDERS.CSV"), Some(("ORDERS", Format::Csv, Packing::Plain)));
    }

    #[test]
    fn a_name_that_says_nothing_is_no_table() {
        for name in ["README.md", "orders", ".csv", "orders.gz", "orders.parquet.gz", "csv"] {
            assert_eq!(kind(name), None, "{name}");
        }
    }
}
