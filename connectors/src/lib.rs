//! The engine's side of the boundary: catalogs, the one leaf plan node, its codec, and what both processes must agree on.

mod absorb;
mod admit;
pub mod catalog;
pub mod change;
pub mod channel;
mod codec;
mod config;
mod distribute;
pub mod error;
mod estimate;
mod field;
mod information;
mod join;
mod key_lists;
mod keys;
mod literal;
mod passthrough;
mod physical;
mod predicate;
mod read;
mod registry;
mod scan;
pub mod session;
mod settle;
mod sink;
mod store;

use std::sync::Arc;

use connector_spi::Connector;
use datafusion::physical_optimizer::PhysicalOptimizerRule;

pub use absorb::catalog_of;
pub use admit::admit;
pub use catalog::{CatalogList, Resolved, resolve};
pub use config::Definition;
pub use information::sql_type;
pub use key_lists::MOST_JOIN_KEYS;
pub use passthrough::{SCHEMA as PASSTHROUGH_SCHEMA, table as passthrough_table};
pub use registry::{Catalog, Catalogs};
pub use scan::ScanExec;
pub use settle::settle;
pub use sink::read_only;

/// Rules that connectors need behind the engine's own, so that what they read stays right.
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    vec![
        #[cfg(feature = "files")]
        Arc::new(connector_files::FloatBounds),
        Arc::new(absorb::Absorb),
    ]
}

/// Every connector that is built in: one line each.
pub fn builtin() -> Vec<Arc<dyn Connector>> {
    vec![
        #[cfg(feature = "files")]
        Arc::new(connector_files::Files),
        #[cfg(feature = "memory")]
        Arc::new(connector_memory::Memory),
        #[cfg(feature = "mongodb")]
        Arc::new(connector_mongodb::Mongodb),
        #[cfg(feature = "postgres")]
        Arc::new(connector_postgres::Postgres),
        #[cfg(feature = "tpch")]
        Arc::new(connector_tpch::Tpch),
    ]
}
