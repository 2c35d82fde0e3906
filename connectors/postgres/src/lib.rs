#![doc = include_str!("../README.md")]
//! Tables of a Postgres database.

mod aggregate;
mod cancel;
mod cell;
mod config;
mod connect;
mod copy;
mod encode;
mod error;
mod join;
mod like;
mod list;
mod metadata;
mod numeric;
mod passthrough;
mod pool;
mod pushdown;
mod read;
mod socket;
mod source;
mod split;
mod sql;
mod tls;
mod types;
mod wire;
mod write;

use std::sync::Arc;

use connector_spi::{Connector, OptionSpec, Options, Result, Source};

/// The connector "postgres".
#[derive(Debug)]
pub struct Postgres;

impl Connector for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn open(&self, catalog: &str, options: &Options) -> Result<Arc<dyn Source>> {
        let pool = pool::Pool::new(config::Settings::read(catalog, options)?);
        Ok(Arc::new(source::PostgresSource::new(Arc::new(pool))))
    }
}
