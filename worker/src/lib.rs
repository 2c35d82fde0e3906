//! Runs the fragments it is given: a Flight worker that joins a coordinator and leaves it again.

mod config;
mod heartbeat;
mod server;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use connector_spi::{Error, Result};
use connectors::Catalogs;
use connectors::channel::Channels;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config::Config;
use heartbeat::Heart;

/// A worker that serves. Dropping it ends it at once; [`Running::stop`] ends it cleanly.
pub struct Running {
    /// Where it serves.
    pub address: SocketAddr,
    heart: Heart,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// Starts a worker: it serves from now on, and joins the coordinator as soon as that answers.
///
/// Errors: `UNAVAILABLE` when the address cannot be bound, `INVALID` for a secret that is no header value.
pub async fn start(config: Config) -> Result<Running> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|cause| Error::unavailable(format!("could not listen on {}: {cause}", config.listen)))?;
    let address = listener.local_addr().map_err(|cause| Error::internal(cause.to_string()))?;
    let catalogs = Arc::new(Catalogs::open_all(None)?);
    let channels = Channels::new(Some(&config.secret))?;
    let runtime = connectors::session::runtime(&catalogs, config.memory_bytes)?;
    let worker = session::worker(Arc::clone(&catalogs), channels.clone(), runtime);
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(server::serve(worker, listener, config.secret.clone(), stopped));
    let heart = Heart::start(&config, address, catalogs)?;
    Ok(Running { address, heart, stop, server })
}

impl Running {
    /// Tells the coordinator, lets running fragments end for up to `grace`, then ends.
    pub async fn stop(self, grace: Duration) {
        self.heart.leave().await;
        self.stop.send_replace(true);
        // Open streams hold the server up; past the grace they are cut.
        if tokio::time::timeout(grace, self.server).await.is_err() {
            tracing::warn!("fragments were still running after the grace of {grace:?}");
        }
    }
}
