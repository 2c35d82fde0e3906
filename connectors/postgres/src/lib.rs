//! The postgres connector.

use std::sync::Arc;

use connector_spi::{Connector, Error, OptionSpec, Options, Result, Source};

/// The connector "postgres".
#[derive(Debug)]
pub struct Postgres;

impl Connector for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, _catalog: &str, _options: &Options) -> Result<Arc<dyn Source>> {
        Err(Error::unsupported("not built yet"))
    }
}
