//! The connector "files": Parquet, CSV and NDJSON files of a local folder or an S3 prefix as tables.
#![doc = include_str!("../README.md")]

mod bounds;
mod cache;
mod config;
mod csv;
mod error;
mod listing;
mod ndjson;
mod parquet;
mod read;
mod record;
mod s3;
mod short_list;
mod source;
mod store;
mod text;
mod types;

use std::sync::Arc;

use connector_spi::{Connector, OptionSpec, Options, Result, Source};

pub use crate::bounds::FloatBounds;
use crate::config::Config;
pub use crate::short_list::with_short_lists;
use crate::source::FileSource;

/// The connector "files".
#[derive(Debug)]
pub struct Files;

impl Connector for Files {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn open(&self, catalog: &str, options: &Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(FileSource::open(catalog, &Config::parse(options)?)?))
    }
}
