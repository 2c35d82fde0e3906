//! The front door: Flight SQL for clients and workers, HTTP for health and metrics.

mod auth;
mod client;
mod flight;
mod http;
mod metadata;
mod option;
mod sql_info;
mod status;

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use connector_spi::{Error, Result};
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server, Uri};

use crate::Coordinator;

pub(crate) use flight::FlightDoor;
pub(crate) use http::serve_http;

/// The largest message a client may send, in bytes.
const CLIENT_MESSAGE_BYTES: usize = 64 << 20;

/// The Flight SQL service of a coordinator. Errors: `INVALID` for a users file that cannot be used.
pub(crate) fn flight(coordinator: Coordinator) -> Result<Arc<FlightDoor>> {
    FlightDoor::new(coordinator).map(Arc::new)
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(32 << 20)
        .max_concurrent_streams(1024)
}

fn service(door: Arc<FlightDoor>) -> FlightServiceServer<FlightDoor> {
    FlightServiceServer::from_arc(door)
        .max_decoding_message_size(CLIENT_MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX)
}

/// Serves Flight SQL until `stop` ends.
pub(crate) async fn serve_flight(door: Arc<FlightDoor>, listener: TcpListener, stop: impl Future<Output = ()>) {
    // An answer that waits for the acknowledgement of the one before comes 40 ms late.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    if let Err(cause) = server().add_service(service(door)).serve_with_incoming_shutdown(incoming, stop).await {
        tracing::error!("the Flight SQL server ended: {cause}");
    }
}

/// A connection to the service that needs no socket; made anew as often as it is opened.
///
/// Errors: `INTERNAL` where the service does not answer.
pub(crate) async fn in_process(door: Arc<FlightDoor>) -> Result<Channel> {
    let (dial, answer) = tokio::sync::mpsc::channel::<DuplexStream>(8);
    let incoming = ReceiverStream::new(answer).map(Ok::<_, std::io::Error>);
    tokio::spawn(async move {
        if let Err(cause) = server().add_service(service(door)).serve_with_incoming(incoming).await {
            tracing::error!("the in-process server ended: {cause}");
        }
    });
    let connector = tower::service_fn(move |_: Uri| {
        let dial = dial.clone();
        async move {
            let (near, far) = tokio::io::duplex(4 << 20);
            dial.send(far).await.map_err(|_| std::io::Error::other("the coordinator has ended"))?;
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    });
    Endpoint::from_static("http://in-process")
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(32 << 20)
        .connect_with_connector(connector)
        .await
        .map_err(|cause| Error::internal(format!("could not connect in process: {cause}")))
}
