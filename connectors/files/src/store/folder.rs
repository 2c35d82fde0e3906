//! Listing a folder of this machine, without ever following a link out of it.

use std::fs;
use std::io;
use std::path::{Path as FsPath, PathBuf};

use connector_spi::{Error, ErrorKind, Result};
use object_store::ObjectMeta;

use super::{Level, Place, Root, hidden, join};
use crate::error;

/// A table of more files is refused, so that planning stays bounded.
pub(crate) const MOST_FILES: usize = 100_000;
const DEEPEST: usize = 32;

pub(super) async fn level(root: &Root, relative: &str) -> Result<Option<Level>> {
    let (root, relative) = (root.clone(), relative.to_owned());
    blocking(root.clone(), move || {
        let top = Top::of(&root)?;
        let Some(folder) = top.inside(&relative)? else { return Ok(None) };
        if !folder.is_dir() {
            return Ok(None);
        }
        let mut level = Level::default();
        for entry in top.entries(&folder, &relative)? {
            match entry.kind {
                Kind::Folder(_) => level.folders.push(entry.name),
                Kind::File(file) => level.files.push(*file),
                Kind::Refused(reason) => level.refused.push((entry.name, reason)),
            }
        }
        Ok(Some(level))
    })
    .await
}

pub(super) async fn walk(root: &Root, relative: &str) -> Result<Vec<ObjectMeta>> {
    let (root, relative) = (root.clone(), relative.to_owned());
    blocking(root.clone(), move || {
        let top = Top::of(&root)?;
        let mut files = Vec::new();
        if let Some(folder) = top.inside(&relative)? {
            top.collect(&folder, &relative, 0, &mut files)?;
        }
        Ok(files)
    })
    .await
}

/// Refuses a path that is not a plain file inside the location once all links are followed.
pub(super) async fn check(root: &Root, relative: &str) -> Result<()> {
    if !matches!(root.0.place, Place::Folder(_)) {
        return Ok(());
    }
    let (root, relative) = (root.clone(), relative.to_owned());
    blocking(root.clone(), move || {
        let top = Top::of(&root)?;
        match top.inside(&relative)? {
            Some(path) if path.is_file() => Ok(()),
            Some(_) => Err(top.refused(&relative, "it is not a plain file")),
            None => {
                Err(Error::not_found(format!("file \"{relative}\" of catalog \"{}\" does not exist", root.catalog())))
            }
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(root: Root, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::internal(format!("listing catalog \"{}\" was interrupted", root.catalog()))))
}

struct Entry {
    name: String,
    kind: Kind,
}

enum Kind {
    /// A folder, links followed.
    Folder(PathBuf),
    File(Box<ObjectMeta>),
    Refused(String),
}

/// The location with all links followed.
struct Top<'a> {
    root: &'a Root,
    real: PathBuf,
}

impl<'a> Top<'a> {
    fn of(root: &'a Root) -> Result<Self> {
        let Place::Folder(folder) = &root.0.place else {
            return Err(Error::internal("the location is not a folder"));
        };
        let real = folder.canonicalize().map_err(|cause| io_error(root, &root.subject(""), &cause))?;
        if !real.is_dir() {
            let message =
                format!("location \"{}\" of catalog \"{}\" is not a folder", folder.display(), root.catalog());
            return Err(Error::invalid(message));
        }
        Ok(Self { root, real })
    }

    /// The real path of something below the location; `None` where it does not exist.
    fn inside(&self, relative: &str) -> Result<Option<PathBuf>> {
        if relative.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(self.refused(relative, "it leads out of the location"));
        }
        match self.real.join(relative).canonicalize() {
            Ok(real) if real.starts_with(&self.real) => Ok(Some(real)),
            Ok(_) => Err(self.refused(relative, "it is a link that leads out of the location")),
            Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(cause) => Err(io_error(self.root, &self.root.subject(relative), &cause)),
        }
    }

    fn refused(&self, relative: &str, reason: &str) -> Error {
        let message = format!("cannot read file \"{relative}\" of catalog \"{}\": {reason}", self.root.catalog());
        Error::new(ErrorKind::PermissionDenied, message)
    }

    fn entries(&self, folder: &FsPath, relative: &str) -> Result<Vec<Entry>> {
        let failed = |cause: io::Error| io_error(self.root, &self.root.subject(relative), &cause);
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                entries.push(Entry {
                    name: name.to_string_lossy().into_owned(),
                    kind: Kind::Refused("its name is not valid UTF-8".to_owned()),
                });
                continue;
            };
            if !hidden(name) {
                let kind = self.kind(&entry.path(), &join(relative, name))?;
                entries.push(Entry { name: name.to_owned(), kind });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn kind(&self, path: &FsPath, relative: &str) -> Result<Kind> {
        let real = match path.canonicalize() {
            Ok(real) if real.starts_with(&self.real) => real,
            Ok(_) => return Ok(Kind::Refused("it is a link that leads out of the location".to_owned())),
            Err(_) => return Ok(Kind::Refused("it is a link that leads nowhere".to_owned())),
        };
        let facts = fs::metadata(&real).map_err(|cause| io_error(self.root, &self.root.subject(relative), &cause))?;
        if facts.is_dir() {
            return Ok(Kind::Folder(real));
        }
        if !facts.is_file() {
            return Ok(Kind::Refused("it is not a plain file".to_owned()));
        }
        let modified = facts.modified().map_err(|cause| io_error(self.root, &self.root.subject(relative), &cause))?;
        let Ok(location) = self.root.path(relative) else {
            return Ok(Kind::Refused("its name has characters that cannot be read".to_owned()));
        };
        let file =
            ObjectMeta { location, last_modified: modified.into(), size: facts.len(), e_tag: None, version: None };
        Ok(Kind::File(Box::new(file)))
    }

    fn collect(&self, folder: &FsPath, relative: &str, depth: usize, files: &mut Vec<ObjectMeta>) -> Result<()> {
        let catalog = self.root.catalog();
        if depth > DEEPEST {
            let message = format!("folder \"{relative}\" of catalog \"{catalog}\" is more than {DEEPEST} folders deep");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        for entry in self.entries(folder, relative)? {
            let path = join(relative, &entry.name);
            match entry.kind {
                Kind::File(file) => files.push(*file),
                // Files met twice would be rows counted twice.
                Kind::Folder(real) if folder.starts_with(&real) => {
                    return Err(self.refused(&path, "it is a link in a circle"));
                }
                Kind::Folder(real) => self.collect(&real, &path, depth + 1, files)?,
                Kind::Refused(reason) => return Err(self.refused(&path, &reason)),
            }
            if files.len() > MOST_FILES {
                let message =
                    format!("folder \"{relative}\" of catalog \"{catalog}\" has more than {MOST_FILES} files");
                return Err(Error::new(ErrorKind::ResourceExhausted, message));
            }
        }
        Ok(())
    }
}

fn io_error(root: &Root, subject: &str, cause: &io::Error) -> Error {
    error::of_io(root.catalog(), subject, cause.kind(), &cause.to_string())
}
