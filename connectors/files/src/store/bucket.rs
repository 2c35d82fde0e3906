//! Listing a prefix of a bucket.

use connector_spi::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::folder::MOST_FILES;
use super::{Level, Root, hidden};

pub(super) async fn level(root: &Root, relative: &str) -> Result<Level> {
    let prefix = root.full(relative)?;
    let answer = root
        .0
        .store
        .list_with_delimiter(Some(&prefix).filter(|prefix| !prefix.as_ref().is_empty()))
        .await
        .map_err(|error| root.error("", &error))?;
    let mut level = Level::default();
    for folder in answer.common_prefixes {
        level.folders.extend(folder.filename().filter(|name| !hidden(name)).map(str::to_owned));
    }
    for file in answer.objects {
        if let Some(file) = below(root, &prefix, file)?
            && !file.location.filename().is_some_and(hidden)
        {
            level.files.push(file);
        }
    }
    Ok(level)
}

pub(super) async fn walk(root: &Root, relative: &str) -> Result<Vec<ObjectMeta>> {
    let prefix = root.full(relative)?;
    let mut listing = root.0.store.list(Some(&prefix));
    let mut files = Vec::new();
    while let Some(file) = listing.try_next().await.map_err(|error| root.error("", &error))? {
        let Some(file) = below(root, &prefix, file)? else { continue };
        let path = root.relative(&file.location);
        let inside = path.strip_prefix(relative).unwrap_or(path).trim_start_matches('/');
        if !inside.split('/').any(hidden) {
            files.push(file);
        }
        if files.len() > MOST_FILES {
            let message =
                format!("folder \"{relative}\" of catalog \"{}\" has more than {MOST_FILES} files", root.catalog());
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
    }
    Ok(files)
}

/// The file as the catalog's store knows it; `None` for the empty object that marks a folder.
fn below(root: &Root, prefix: &Path, mut file: ObjectMeta) -> Result<Option<ObjectMeta>> {
    if file.location == *prefix {
        return Ok(None);
    }
    let key = file.location.as_ref();
    let relative = key.strip_prefix(root.0.prefix.as_str()).unwrap_or(key).trim_start_matches('/').to_owned();
    file.location = root.path(&relative)?;
    Ok(Some(file))
}
