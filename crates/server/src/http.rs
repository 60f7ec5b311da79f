//! HTTP: the routes of the public listener and of the operators' door, health and metrics.
//!
//! Enters: requests. Leaves: responses. Invariants: the browser rules (`guard.rs`) hold for every
//! request, the WebSocket upgrade included, except on a Unix socket; what only operators may use is
//! served at the door alone; every error is JSON.

mod append;
mod backup;
mod batch;
mod body;
mod entries;
mod events;
mod page;
mod query;
mod revoke;
mod rooms;

use std::{sync::Arc, thread};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode},
    middleware,
    routing::{any, delete, get, post},
};
use roomlog_auth::Operation;
use roomlog_protocol::{ErrorCode, Refusal};
use tokio::sync::oneshot;

use crate::{
    admission::{limit_requests, refuse_limited},
    auth::{
        caller::{Operators, authenticate, operators_only},
        cookie,
    },
    gateway::Gateway,
    guard::{Guard, browser_rules, safe_headers},
    upgrade::upgrade,
    wire::{bad, not_found, plain, refuse, refuse_as, respond},
};

const MOVED: &str = "metrics and backups are served on the operators' listener: --admin-listen";

/// The Prometheus text format, version 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the requests of a listener are checked by the browser rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    Browsers,
    None,
}

/// The routes of the public listener.
pub(crate) fn public(gateway: Arc<Gateway>) -> Router {
    let guard = Guard::new(&gateway.config.origins, gateway.config.tokens.is_none());
    let entries = get(entries::read_entries).post(entries::append);
    let of_callers = Router::new()
        .route("/v1/session", post(cookie::begin))
        .route("/v1/rooms", get(rooms::read_rooms))
        .route("/v1/rooms/{room}", get(rooms::read_head))
        .route("/v1/rooms/{room}/entries", entries)
        .route("/v1/rooms/{room}/events", get(events::events))
        .route_layer(middleware::from_fn_with_state(gateway.clone(), authenticate));
    let routes = Router::new()
        .merge(of_callers)
        .route("/v1/session", delete(cookie::end))
        .route("/", get(page::index))
        .route("/app/{file}", get(page::app))
        .route("/sdk/src/{file}", get(page::sdk))
        .route("/metrics", any(async || refuse(not_found(MOVED))))
        .route("/v1/ws", get(upgrade))
        .route("/v1/backup", any(async || refuse(not_found(MOVED))));
    let routes = finish(routes).layer(middleware::from_fn(refuse_limited));
    guarded(routes, Some(guard))
        .layer(middleware::from_fn(limit_requests))
        .layer(middleware::map_response(safe_headers))
        .with_state(gateway)
}

/// The routes of the operators' door.
pub(crate) fn door(gateway: Arc<Gateway>, rules: Rules) -> Router {
    let guard = (rules == Rules::Browsers).then(|| Guard::of_door(&gateway.config.origins));
    // A Unix socket is open to the server's user alone; at an address tokens say who may do what.
    let tokens = gateway.config.tokens.clone().filter(|_| rules == Rules::Browsers);
    let may = |operation| {
        let operators = Operators { tokens: tokens.clone(), operation };
        middleware::from_fn_with_state(operators, operators_only)
    };
    let routes = Router::new()
        .route("/metrics", get(metrics).layer(may(Operation::Metrics)))
        .route("/v1/backup", get(backup::backup).layer(may(Operation::Backup)))
        .route("/v1/revoke", post(revoke::post).layer(may(Operation::Revoke)));
    guarded(finish(routes), guard).layer(middleware::map_response(safe_headers)).with_state(gateway)
}

/// Adds what every listener has: health, and errors in JSON.
fn finish(routes: Router<Arc<Gateway>>) -> Router<Arc<Gateway>> {
    routes
        .route("/healthz", get(async || plain(StatusCode::OK, "alive\n")))
        .route("/readyz", get(ready))
        .fallback(async || refuse(not_found("there is nothing at this path")))
        .method_not_allowed_fallback(async || {
            let refusal = bad("this path does not support this method");
            refuse_as(StatusCode::METHOD_NOT_ALLOWED, refusal)
        })
}

/// Adds the browser rules, if they hold.
fn guarded(routes: Router<Arc<Gateway>>, guard: Option<Guard>) -> Router<Arc<Gateway>> {
    match guard {
        Some(guard) => routes.layer(middleware::from_fn_with_state(Arc::new(guard), browser_rules)),
        None => routes,
    }
}

async fn ready(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let unavailable = |why| refuse(Refusal::new(ErrorCode::Unavailable, why));
    if gateway.node.is_stalled() {
        return unavailable("not ready: the journal does not answer");
    }
    if gateway.node.is_ready() && !*gateway.stopping.borrow() {
        plain(StatusCode::OK, "ready\n")
    } else {
        unavailable("not ready: catching up, or stopping")
    }
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let (collected, text) = oneshot::channel();
    // A thread of its own: the runtime's may all be busy with what the public reads.
    let collecting = move || {
        let config = &gateway.config;
        let _operator_gone = collected.send(config.metrics.text(&gateway.node, &config.files));
    };
    // Without a thread the sender is dropped.
    let _thread = thread::Builder::new().name("metrics".into()).spawn(collecting);
    match text.await {
        Ok(text) => respond(StatusCode::OK, METRICS_TYPE, text.into()),
        Err(_) => refuse(Refusal::new(ErrorCode::Unavailable, "the metrics cannot be collected")),
    }
}
