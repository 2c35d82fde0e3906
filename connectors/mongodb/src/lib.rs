#![doc = include_str!("../README.md")]
//! Collections of a MongoDB deployment.

mod address;
mod aggregate;
mod cell;
mod client;
mod config;
mod decimal;
mod decode;
mod element;
mod encode;
mod error;
mod evidence;
mod fetch;
mod json;
mod like;
mod metadata;
mod passthrough;
mod pushdown;
mod read;
mod request;
mod sample;
mod schema;
mod shape;
mod source;
mod split;
mod types;
mod value;
mod write;

use std::sync::Arc;

use connector_spi::{Connector, OptionSpec, Options, Result, Source};

/// The connector "mongodb".
#[derive(Debug)]
pub struct Mongodb;

impl Connector for Mongodb {
    fn kind(&self) -> &'static str {
        "mongodb"
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn open(&self, catalog: &str, options: &Options) -> Result<Arc<dyn Source>> {
        let deployment = client::Deployment::new(config::Settings::read(catalog, options)?);
        Ok(Arc::new(source::MongodbSource::new(deployment)))
    }
}
