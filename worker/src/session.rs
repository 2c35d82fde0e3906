//! Builds the session of each fragment: the same registrations as the coordinator's.

use std::sync::Arc;
use std::time::Duration;

use connector_spi::{Error, ErrorKind};
use connectors::Catalogs;
use connectors::channel::{BUILD, Channels};
use connectors::error::to_datafusion;
use connectors::session::{EngineSettings, register};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext};

/// How long a fragment waits for catalogs that the coordinator made a moment ago; below the
/// 10 s that the engine waits for a plan.
const CATALOG_WAIT: Duration = Duration::from_secs(5);

/// A worker that reads through these catalogs.
pub(crate) fn worker(catalogs: Arc<Catalogs>, channels: Channels, runtime: Arc<RuntimeEnv>) -> Worker {
    let build = move |context: WorkerQueryContext| fragment(context, Arc::clone(&catalogs), channels.clone());
    Worker::from_session_builder(build).with_runtime_env(runtime).with_version(BUILD)
}

async fn fragment(context: WorkerQueryContext, catalogs: Arc<Catalogs>, channels: Channels) -> Result<SessionState> {
    let mut sent = SessionConfig::new();
    sent.set_distributed_option_extension_from_headers::<EngineSettings>(&context.headers)?;
    let settings = EngineSettings::of(sent.options());
    let version = settings.catalogs_version;
    if tokio::time::timeout(CATALOG_WAIT, catalogs.reached(version)).await.is_err() {
        let text = format!("the worker did not receive version {version} of the catalogs within {CATALOG_WAIT:?}");
        return Err(to_datafusion(Error::new(ErrorKind::Unavailable, text)));
    }
    Ok(register(context.builder, &catalogs, &channels, settings).build())
}
