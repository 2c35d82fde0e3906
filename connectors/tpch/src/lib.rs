#![doc = include_str!("../README.md")]
//! TPC-H data generated on the fly.

mod cell;
mod generate;
mod read;
mod share;
mod source;
mod table;

use std::sync::Arc;

use connector_spi::{Connector, OptionSpec, Options, Result, Source};

/// The connector "tpch".
#[derive(Debug)]
pub struct Tpch;

impl Connector for Tpch {
    fn kind(&self) -> &'static str {
        "tpch"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, _: &str, _: &Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(source::TpchSource))
    }
}
