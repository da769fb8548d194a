//! The admin endpoint: `/metrics` (OpenMetrics), `/healthz`, `/state` (what the core holds, as JSON).

use std::net::SocketAddr;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;

/// A question for the task that owns the core.
pub(crate) type StateRequest = oneshot::Sender<serde_json::Value>;

/// Serves until the process ends. Returns the address, which tells the port where 0 was asked for.
///
/// # Errors
/// The address cannot be bound.
pub(crate) async fn serve(
    listen: SocketAddr,
    metrics: Metrics,
    state: mpsc::Sender<StateRequest>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "admin endpoint");
    let ask = state.clone();
    let app = Router::new()
        .route(
            "/metrics",
            get(async move || ([(header::CONTENT_TYPE, "application/openmetrics-text")], metrics.encode())),
        )
        .route(
            "/healthz",
            get(async move || match core_state(&ask).await {
                Some(_) => (StatusCode::OK, "ok\n"),
                None => (StatusCode::SERVICE_UNAVAILABLE, "the core does not answer\n"),
            }),
        )
        .route(
            "/state",
            get(async move || match core_state(&state).await {
                Some(state) => {
                    ([(header::CONTENT_TYPE, "application/json")], state.to_string()).into_response()
                }
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }),
        );
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the admin endpoint ended");
        }
    });
    Ok(address)
}

async fn core_state(state: &mpsc::Sender<StateRequest>) -> Option<serde_json::Value> {
    let (answer, answered) = oneshot::channel();
    state.send(answer).await.ok()?;
    answered.await.ok()
}
