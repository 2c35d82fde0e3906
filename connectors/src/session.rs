//! What coordinator and worker must agree on: one function registers it for both.

use std::sync::Arc;

use connector_spi::{Error, Result};
use datafusion::common::extensions_options;
use datafusion::config::{ConfigExtension, ConfigNonZeroUsize, ConfigOptions};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::DistributedExt;

use crate::Catalogs;
use crate::channel::Channels;
use crate::codec::ScanCodec;
use crate::distribute::{desired_tasks, scale_up};

/// How much connectors may take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pushdown {
    /// Nothing: whole tables are read and everything is done in the engine.
    None,
    /// Filters are sent, and applied again in the engine.
    Inexact,
    /// What is proven exact is left to the source.
    #[default]
    Exact,
}

impl Pushdown {
    /// The setting's value. Errors: `INVALID`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "inexact" => Ok(Self::Inexact),
            "exact" => Ok(Self::Exact),
            other => {
                Err(Error::invalid(format!("\"{other}\" is not a value of pushdown"))
                    .hint("Values: none, inexact, exact."))
            }
        }
    }
}

extensions_options! {
    /// What travels with every task: settings that change what a fragment does.
    pub struct EngineSettings {
        /// The query's id.
        pub query_id: String, default = String::new()
        /// The session's time zone.
        pub time_zone: String, default = "UTC".to_owned()
        /// Rows a batch should have.
        pub batch_rows: usize, default = 8192
        /// Workers that are alive while the query is planned.
        pub workers: usize, default = 0
        /// Bytes of source data that make one more task worth while; 0: every piece.
        pub bytes_per_task: usize, default = 32 * 1024 * 1024
        /// The version of the catalogs that the plan was made with.
        pub catalogs_version: u64, default = 0
    }
}

impl ConfigExtension for EngineSettings {
    const PREFIX: &'static str = "tributary";
}

impl EngineSettings {
    /// The settings of a session; the defaults where it has none.
    pub fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Makes the session's DataFusion options say the same.
    pub fn apply(&self, config: &mut SessionConfig) {
        let options = config.options_mut();
        options.execution.time_zone = Some(self.time_zone.clone());
        if let Ok(rows) = ConfigNonZeroUsize::try_new(self.batch_rows) {
            options.execution.batch_size = rows;
        }
    }
}

/// Registers everything that both sides must have alike: codec, leaf handlers, catalogs, channels, settings.
pub fn register(
    builder: SessionStateBuilder,
    catalogs: &Arc<Catalogs>,
    channels: &Channels,
    settings: EngineSettings,
) -> SessionStateBuilder {
    let mut builder = builder
        .with_distributed_user_codec(ScanCodec { catalogs: Some(Arc::clone(catalogs)) })
        .with_distributed_desired_task_count_handler(desired_tasks)
        .with_distributed_scale_up_leaf_node_handler(scale_up)
        .with_distributed_channel_resolver(channels.clone());
    let config = builder.config().get_or_insert_default();
    settings.apply(config);
    config.set_distributed_option_extension(settings);
    config.set_extension(Arc::clone(catalogs));
    builder
}

/// A node's memory, spill space and object stores. Errors: `INTERNAL` where the spill folder cannot be made.
pub fn runtime(catalogs: &Arc<Catalogs>, memory_bytes: usize) -> Result<Arc<RuntimeEnv>> {
    let consumers = std::num::NonZeroUsize::new(3).unwrap_or(std::num::NonZeroUsize::MIN);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(memory_bytes), consumers)))
        .with_object_store_registry(Arc::new(crate::store::CatalogStores { catalogs: Arc::clone(catalogs) }))
        .build_arc()
        .map_err(|cause| Error::internal(format!("could not set up the memory pool: {cause}")))
}
