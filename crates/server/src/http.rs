//! HTTP: the routes, the browser rules, health and metrics.
//!
//! Enters: requests. Leaves: responses. Invariant: the browser rules hold for every request, the
//! WebSocket upgrade included.

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
    extract::{Request, State},
    http::{HeaderValue, Method, Response, StatusCode, header},
    middleware::{self, Next},
    routing::get,
};
use roomlog_protocol::{ErrorCode, Refusal};

use crate::{
    gateway::Gateway,
    upgrade::upgrade,
    wire::{bad, not_found, plain, refuse, refuse_as, respond},
};

/// What a page of a listed origin may send: appends, one or many, and where to resume events.
const CORS_HEADERS: &str = "content-type, idempotency-key, last-event-id";

/// What such a page may read of an answer besides its body: the log's id, and when to retry.
const CORS_EXPOSED: &str = "roomlog-log, retry-after";

/// How long a browser may cache this, in seconds; none keeps it for longer than two hours.
const CORS_MAX_AGE: &str = "7200";

/// The Prometheus text format, version 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes.
pub(crate) fn app(gateway: Arc<Gateway>) -> Router {
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
        .layer(middleware::from_fn_with_state(gateway.clone(), browser_rules))
        .with_state(gateway)
}

async fn browser_rules(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let listed = gateway.guard.listed_origin(request.headers());
    let mut response = match gateway.guard.check(&request) {
        Ok(()) if listed.is_some() && request.method() == Method::OPTIONS => preflight(),
        Ok(()) => next.run(request).await,
        Err(refusal) => refuse(refusal),
    };
    let headers = response.headers_mut();
    if let Some(origin) = listed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static(CORS_EXPOSED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn preflight() -> Response<Body> {
    let mut response = plain(StatusCode::NO_CONTENT, "");
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
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
