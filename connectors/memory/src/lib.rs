#![doc = include_str!("../README.md")]
//! Tables in memory: the reference connector, to copy from.

mod pushdown;
mod read;
mod snapshot;
mod source;
mod store;
mod write;

use std::sync::Arc;

use connector_spi::{Connector, OptionSpec, Options, Result, Source};

use source::MemorySource;

/// The connector "memory".
#[derive(Debug)]
pub struct Memory;

impl Connector for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, catalog: &str, _: &Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(MemorySource::new(catalog)))
    }
}
