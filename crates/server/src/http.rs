//! HTTP: the routes, health and metrics.
//!
//! Enters: requests. Leaves: responses. Invariant: the browser rules (`guard.rs`) hold for every
//! request, the WebSocket upgrade included.

mod append;
mod backup;
mod batch;
mod body;
mod entries;
mod events;
mod page;
mod query;
mod rooms;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode},
    middleware,
    routing::get,
};
use roomlog_protocol::{ErrorCode, Refusal};

use crate::{
    gateway::Gateway,
    guard::{Guard, browser_rules},
    upgrade::upgrade,
    wire::{bad, not_found, plain, refuse, refuse_as, respond},
};

/// The Prometheus text format, version 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes.
pub(crate) fn app(gateway: Arc<Gateway>) -> Router {
    let guard = Arc::new(Guard::new(&gateway.config.origins));
    let entries = get(entries::read_entries).post(entries::append);
    Router::new()
        .route("/", get(page::index))
        .route("/app/{file}", get(page::app))
        .route("/sdk/src/{file}", get(page::sdk))
        .route("/healthz", get(|| async { plain(StatusCode::OK, "alive\n") }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/ws", get(upgrade))
        .route("/v1/backup", get(backup::backup))
        .route("/v1/rooms", get(rooms::read_rooms))
        .route("/v1/rooms/{room}", get(rooms::read_head))
        .route("/v1/rooms/{room}/entries", entries)
        .route("/v1/rooms/{room}/events", get(events::events))
        .fallback(|| async { refuse(not_found("there is nothing at this path")) })
        .method_not_allowed_fallback(|| async {
            let refusal = bad("this path does not support this method");
            refuse_as(StatusCode::METHOD_NOT_ALLOWED, refusal)
        })
        .layer(middleware::from_fn_with_state(guard, browser_rules))
        .with_state(gateway)
}

async fn ready(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    if gateway.node.is_stalled() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "not ready: the journal does not answer\n");
    }
    if gateway.node.is_ready() && !*gateway.stopping.borrow() {
        plain(StatusCode::OK, "ready\n")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "not ready: catching up, or stopping\n")
    }
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let text = tokio::task::spawn_blocking(move || {
        let config = &gateway.config;
        config.metrics.text(&gateway.node, &config.files)
    });
    match text.await {
        Ok(text) => respond(StatusCode::OK, METRICS_TYPE, text.into()),
        Err(_) => refuse(Refusal::new(ErrorCode::Unavailable, "the metrics cannot be collected")),
    }
}
