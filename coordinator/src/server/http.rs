//! Health and metrics over HTTP.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Coordinator;

/// Serves `/health`, `/ready` and `/metrics` until `stop` ends.
pub(crate) async fn serve_http(
    coordinator: Coordinator,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let routes = Router::new()
        .route("/health", get(ready))
        .route("/ready", get(ready))
        .route("/metrics", get(async |State(coordinator): State<Coordinator>| coordinator.metrics()))
        .with_state(coordinator);
    if let Err(cause) = axum::serve(listener, routes).with_graceful_shutdown(stop).await {
        tracing::error!("the HTTP server ended: {cause}");
    }
}

async fn ready(State(coordinator): State<Coordinator>) -> (StatusCode, &'static str) {
    match coordinator.is_stopping() {
        false => (StatusCode::OK, "ok\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}
