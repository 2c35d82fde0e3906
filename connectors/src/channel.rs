//! Internal connections: bounded in time, kept alive, and carrying the cluster's secret.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use connector_spi::{Error, Secret};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    SetPlanRequest, WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;
use url::Url;

use crate::Definition;
use crate::error::{restored, to_datafusion, worker_lost};

/// The header of every internal call.
pub const SECRET_HEADER: &str = "x-tributary-cluster-secret";

/// The Flight action by which a worker joins, stays and leaves.
pub const HEARTBEAT_ACTION: &str = "tributary.worker.heartbeat";

/// How often a worker says that it lives.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// The largest message between nodes, in bytes.
pub const MESSAGE_BYTES: usize = 256 * 1024 * 1024;

/// What this build is; a worker of another build is not used. The number behind `wire` is raised with every change of what
/// nodes send each other, of our plan nodes and settings too.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "+wire-2+datafusion-55.2.0+distributed-4.0.0");

/// What a worker says once a second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Where the worker serves, `http://HOST:PORT`.
    pub url: String,
    /// Made anew by each process, so that a restart is seen.
    pub incarnation: String,
    /// What it was built from; see [`BUILD`].
    pub build: String,
    /// The version of the catalogs it has.
    pub catalogs_version: u64,
    /// True with the last one: the worker goes.
    pub leaving: bool,
}

/// What the coordinator answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// Whether the worker is used; if not, why.
    pub refused: Option<String>,
    /// The version of the coordinator's catalogs.
    pub catalogs_version: u64,
    /// The catalogs, if the worker's are of another version.
    pub catalogs: Option<Vec<Definition>>,
}

/// Whether the headers carry the secret; compared in constant time.
pub fn authorized(headers: &HeaderMap, secret: &Secret) -> bool {
    headers.get(SECRET_HEADER).is_some_and(|given| given.as_bytes().ct_eq(secret.expose().as_bytes()).into())
}

/// Connections to nodes, one a node, made when first used.
#[derive(Clone)]
pub struct Channels {
    secret: Option<HeaderValue>,
    open: Arc<Mutex<HashMap<String, Channel>>>,
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channels")
    }
}

impl Channels {
    /// Connections that carry this secret. Errors: `INVALID` for a secret that is no header value.
    pub fn new(secret: Option<&Secret>) -> connector_spi::Result<Self> {
        let header = |secret: &Secret| {
            let mut value = HeaderValue::from_str(secret.expose())
                .map_err(|_| Error::invalid("the cluster secret may hold visible ASCII characters only"))?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self { secret: secret.map(header).transpose()?, open: Arc::default() })
    }

    /// The connection to a node; it reconnects by itself, within bounds.
    pub fn channel(&self, url: &str) -> connector_spi::Result<Channel> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(url) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|cause| Error::internal(format!("node address \"{url}\" is not valid: {cause}")))?
            .connect_timeout(Duration::from_secs(3))
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(10)))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(64 << 20);
        let channel = endpoint.connect_lazy();
        open.insert(url.to_owned(), channel.clone());
        Ok(channel)
    }

    /// The secret as a header value, for calls made outside [`ChannelResolver`].
    pub fn secret(&self) -> Option<&HeaderValue> {
        self.secret.as_ref()
    }

    /// Closes the connection to a node that is gone.
    pub fn forget(&self, url: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(url);
    }
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let address = url.as_str().trim_end_matches('/').to_owned();
        let channel = self.channel(&address).map_err(to_datafusion)?;
        let secret = self.secret.clone();
        let signed = channel.map_request(move |mut request: http::Request<tonic::body::Body>| {
            if let Some(secret) = &secret {
                request.headers_mut().insert(SECRET_HEADER, secret.clone());
            }
            request
        });
        Ok(Box::new(Tagged { inner: create_worker_client(BoxCloneSyncChannel::new(signed)), address }))
    }
}

/// Turns a failure of the connection into `WORKER_LOST` that names the worker, at the node that saw it.
struct Tagged {
    inner: Box<dyn WorkerChannel>,
    address: String,
}

impl Tagged {
    fn tag(address: &str, error: DataFusionError) -> DataFusionError {
        if restored(&error).is_some() {
            return error;
        }
        let DataFusionError::External(inner) = &error else { return error };
        let Some(status) = inner.downcast_ref::<tonic::Status>() else { return error };
        let name = address.trim_start_matches("http://");
        match status.code() {
            tonic::Code::Unauthenticated => to_datafusion(
                Error::new(
                    connector_spi::ErrorKind::Unauthenticated,
                    format!("worker {name} refused the cluster secret"),
                )
                .hint("TRIBUTARY_CLUSTER_SECRET must be the same on every node."),
            ),
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::Cancelled => {
                to_datafusion(worker_lost(name).detail(status.message()).with("worker", name))
            }
            _ => error,
        }
    }
}

#[async_trait]
impl WorkerChannel for Tagged {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        plan: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let address = self.address.clone();
        let answer = self.inner.coordinator_channel(headers, plan, messages, metrics, context).await;
        let answer = answer.map_err(|error| Self::tag(&address, error))?;
        Ok(answer.map(move |message| message.map_err(|error| Self::tag(&address, error))).boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let address = self.address.clone();
        let streams = self.inner.execute_task(headers, request, metrics, context).await;
        let streams = streams.map_err(|error| Self::tag(&address, error))?;
        let tagged = |stream: BoxStream<'static, Result<RecordBatch>>| {
            let address = address.clone();
            stream.map(move |batch| batch.map_err(|error| Self::tag(&address, error))).boxed()
        };
        Ok(streams.into_iter().map(tagged).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await.map_err(|error| Self::tag(&self.address, error))
    }
}
