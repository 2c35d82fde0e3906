//! The files of one catalog: an object store that begins at the location and cannot leave it.
//!
//! Paths start with a segment of the catalog's own, because DataFusion's cache of Parquet footers
//! knows a file by path, size and time alone: two catalogs, or one that was dropped and created
//! anew, must not share an entry.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use connector_spi::{Error, ErrorKind, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use crate::config::{Config, Location};
use crate::{error, s3};

mod bucket;
mod folder;

/// Where the location is, for messages.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket.
    Bucket {
        /// Its name.
        name: String,
        /// The server's URL, or what AWS is called.
        endpoint: String,
    },
}

/// One level of folders: what a listing shows of it.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// Names of the folders.
    pub(crate) folders: Vec<String>,
    /// The files; their locations are paths of the catalog's store.
    pub(crate) files: Vec<ObjectMeta>,
    /// Names that stand for nothing readable, and why.
    pub(crate) refused: Vec<(String, String)>,
}

/// The object store of a catalog. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Root(Arc<Inner>);

struct Inner {
    catalog: String,
    segment: String,
    place: Place,
    /// The whole disk or the whole bucket.
    store: Arc<dyn ObjectStore>,
    /// The location in that store, without slashes at its ends.
    prefix: String,
}

impl Root {
    pub(crate) fn open(catalog: &str, config: &Config) -> Result<Self> {
        let (place, store, prefix) = match &config.location {
            Location::Folder(folder) => {
                let prefix = folder.to_str().unwrap_or_default().trim_matches('/').to_owned();
                (Place::Folder(folder.clone()), Arc::new(LocalFileSystem::new()) as Arc<dyn ObjectStore>, prefix)
            }
            Location::Bucket(bucket) => {
                let endpoint = bucket.endpoint.clone().unwrap_or_else(|| format!("AWS {}", bucket.region));
                (Place::Bucket { name: bucket.name.clone(), endpoint }, s3::client(bucket)?, bucket.prefix.clone())
            }
        };
        let segment = format!("{catalog}-{:08x}", fingerprint(&format!("{place:?}/{prefix}")));
        Ok(Self(Arc::new(Inner { catalog: catalog.to_owned(), segment, place, store, prefix })))
    }

    pub(crate) fn catalog(&self) -> &str {
        &self.0.catalog
    }

    /// The location in words.
    fn subject(&self, relative: &str) -> String {
        match (&self.0.place, relative) {
            (Place::Folder(folder), "") => format!("folder \"{}\"", folder.display()),
            (Place::Bucket { name, .. }, "") => format!("bucket \"{name}\""),
            (_, relative) => format!("file \"{relative}\""),
        }
    }

    /// The path that the catalog's store knows a file by.
    pub(crate) fn path(&self, relative: &str) -> Result<Path> {
        Path::parse(format!("{}/{relative}", self.0.segment)).map_err(|_| {
            Error::invalid(format!(
                "the name of file \"{relative}\" of catalog \"{}\" has characters that cannot be read",
                self.0.catalog
            ))
        })
    }

    /// The path below the location, for messages.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a str {
        path.as_ref().split_once('/').map_or("", |(_, relative)| relative)
    }

    /// What is right in a folder; `None` where there is no such folder.
    pub(crate) async fn level(&self, relative: &str) -> Result<Option<Level>> {
        match &self.0.place {
            Place::Folder(_) => folder::level(self, relative).await,
            Place::Bucket { .. } => bucket::level(self, relative).await.map(Some),
        }
    }

    /// Every file of a folder and its folders, in the order of their paths.
    pub(crate) async fn walk(&self, relative: &str) -> Result<Vec<ObjectMeta>> {
        let mut files = match &self.0.place {
            Place::Folder(_) => folder::walk(self, relative).await?,
            Place::Bucket { .. } => bucket::walk(self, relative).await?,
        };
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(files)
    }

    /// Some bytes of a file, which must be the one that was listed.
    pub(crate) async fn bytes(&self, file: &ObjectMeta, range: Range<u64>) -> Result<Bytes> {
        let relative = self.relative(&file.location);
        let options = GetOptions::new().with_range(Some(range));
        let answer = self.get(&file.location, options).await?;
        let other_tag = matches!((&answer.meta.e_tag, &file.e_tag), (Some(now), Some(then)) if now != then);
        // S3 lists times in finer steps than it answers a GET with, so there the tag must do.
        let other_time = matches!(self.0.place, Place::Folder(_)) && answer.meta.last_modified != file.last_modified;
        if answer.meta.size != file.size || other_tag || other_time {
            return Err(error::changed(&self.0.catalog, relative));
        }
        answer.bytes().await.map_err(|error| self.error(relative, &error))
    }

    async fn get(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let relative = self.relative(path);
        folder::check(self, relative).await?;
        let mut answer = self
            .0
            .store
            .get_opts(&self.full(relative)?, options)
            .await
            .map_err(|error| self.error(relative, &error))?;
        answer.meta.location = path.clone();
        Ok(answer)
    }

    /// The path in the whole disk or bucket.
    fn full(&self, relative: &str) -> Result<Path> {
        let full = match (self.0.prefix.as_str(), relative) {
            ("", relative) => relative.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, relative) => format!("{prefix}/{relative}"),
        };
        Path::parse(full).map_err(|_| {
            Error::invalid(format!(
                "the name of file \"{relative}\" of catalog \"{}\" has characters that cannot be read",
                self.0.catalog
            ))
        })
    }

    fn error(&self, relative: &str, error: &object_store::Error) -> Error {
        error::of_store(&self.0.catalog, &self.0.place, &self.subject(relative), error)
    }
}

/// A number that is the same in every process for the same text (FNV-1a, folded to 32 bits).
fn fingerprint(text: &str) -> u32 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) as u32
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("catalog", &self.0.catalog).field("place", &self.0.place).finish()
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "files of catalog {}", self.0.catalog)
    }
}

fn wrapped(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "files", source: Box::new(error) }
}

fn read_only() -> object_store::Error {
    wrapped(Error::new(ErrorKind::Unsupported, "files catalogs cannot be written to"))
}

#[async_trait]
impl ObjectStore for Root {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.get(location, options).await.map_err(wrapped)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let relative = self.relative(location);
        folder::check(self, relative).await.map_err(wrapped)?;
        let full = self.full(relative).map_err(wrapped)?;
        self.0.store.get_ranges(&full, ranges).await.map_err(|error| wrapped(self.error(relative, &error)))
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        futures::stream::iter([Err(read_only())]).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (root, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        futures::stream::once(async move {
            let files = root.walk(root.relative(&prefix)).await.map_err(wrapped)?;
            Ok::<_, object_store::Error>(futures::stream::iter(files.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let relative = prefix.map(|prefix| self.relative(prefix).to_owned()).unwrap_or_default();
        let level = self.level(&relative).await.map_err(wrapped)?.unwrap_or_default();
        let path = |name: &String| self.path(&join(&relative, name)).map_err(wrapped);
        let common_prefixes = level.folders.iter().map(path).collect::<object_store::Result<_>>()?;
        Ok(ListResult { common_prefixes, objects: level.files })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(read_only())
    }
}

/// A name in a folder, where `""` is the location itself.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Whether a name is left out of every listing, as work files of writers are.
pub(crate) fn hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}
