//! The worker's gRPC service: every call must carry the cluster's secret.

use std::time::Duration;

use connector_spi::Secret;
use connectors::channel::{MESSAGE_BYTES, authorized};
use datafusion_distributed::Worker;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};

/// Serves until told to stop, then until the last stream has ended.
pub(crate) async fn serve(worker: Worker, listener: TcpListener, secret: Secret, mut stopped: watch::Receiver<bool>) {
    let gate = InterceptorLayer::new(move |request: Request<()>| {
        match authorized(&request.metadata().clone().into_headers(), &secret) {
            true => Ok(request),
            false => Err(Status::unauthenticated("the call does not carry the cluster secret")),
        }
    });
    let service = worker.into_worker_server().max_decoding_message_size(MESSAGE_BYTES);
    // An answer that waits for the acknowledgement of the one before comes 40 ms late.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(64 << 20)
        .layer(gate)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, async move {
            // The sender lives as long as the worker; a dropped one means stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        })
        .await;
    if let Err(cause) = served {
        tracing::error!("the worker's server ended: {cause}");
    }
}
