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
mod erase;
mod events;
mod page;
mod query;
mod revoke;
mod rooms;

use std::{sync::Arc, thread};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Response, StatusCode, header},
    middleware::{self, Next},
    routing::{any, get, post},
};
use roomlog_auth::Operation;
use roomlog_protocol::{ErrorCode, Refusal};
use tokio::sync::oneshot;

use crate::{
    admission::admit_request,
    auth::{
        caller::{Operators, operators_only},
        cookie,
    },
    gateway::{Gateway, SocketPermit},
    guard::{Guard, add_safe_headers},
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
    let routes = Router::new()
        .route("/v1/session", post(cookie::begin).delete(cookie::end))
        .route("/v1/rooms", get(rooms::read_rooms))
        .route("/v1/rooms/{room}", get(rooms::read_head).delete(erase::delete))
        .route("/v1/rooms/{room}/entries", entries)
        .route("/v1/rooms/{room}/events", get(events::events))
        .route("/", get(page::index))
        .route("/app/{file}", get(page::app))
        .route("/sdk/src/{file}", get(page::sdk))
        .route("/metrics", any(async || refuse(not_found(MOVED))))
        .route("/v1/ws", get(upgrade))
        .route("/v1/backup", any(async || refuse(not_found(MOVED))));
    finish(routes, Listener { guard: Some(guard), limits_rates: true }).with_state(gateway)
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
        .route("/v1/erase", post(erase::post).layer(may(Operation::Erase)))
        .route("/v1/revoke", post(revoke::post).layer(may(Operation::Revoke)));
    finish(routes, Listener { guard, limits_rates: false }).with_state(gateway)
}

/// What the requests of a listener pass.
struct Listener {
    /// `None` if the browser rules do not hold.
    guard: Option<Guard>,
    limits_rates: bool,
}

/// Adds what every listener has: health, errors in JSON, and what its requests pass.
fn finish(routes: Router<Arc<Gateway>>, listener: Listener) -> Router<Arc<Gateway>> {
    routes
        .route("/healthz", get(async || plain(StatusCode::OK, "alive\n")))
        .route("/readyz", get(ready))
        .fallback(async || refuse(not_found("there is nothing at this path")))
        .method_not_allowed_fallback(async || {
            let refusal = bad("this path does not support this method");
            refuse_as(StatusCode::METHOD_NOT_ALLOWED, refusal)
        })
        .layer(middleware::from_fn_with_state(Arc::new(listener), pass))
}

/// Passes a request to its route: a page may read why it is refused for its rate, if its origin may read
/// anything. All in one layer, because each costs a request several allocations.
async fn pass(
    State(listener): State<Arc<Listener>>,
    Extension(permit): Extension<Arc<SocketPermit>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let client = listener.limits_rates.then_some(&permit.client);
    let admitted = match client {
        Some(client) => admit_request(client).await,
        None => Ok(()),
    };
    let routed = async |request| match admitted {
        Ok(()) => next.run(request).await,
        Err(refusal) => refuse(refusal),
    };
    let mut answer = match &listener.guard {
        Some(guard) => guard.answer(request, routed).await,
        None => routed(request).await,
    };
    add_safe_headers(&mut answer);
    if client.is_some_and(|client| client.presence.is_surplus()) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
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
        let file_sizes = (config.file_sizes)(&config.data);
        let _operator_gone = collected.send(config.metrics.text(&gateway.node, file_sizes));
    };
    // Without a thread the sender is dropped.
    let _thread = thread::Builder::new().name("metrics".into()).spawn(collecting);
    match text.await {
        Ok(text) => respond(StatusCode::OK, METRICS_TYPE, text.into()),
        Err(_) => refuse(Refusal::new(ErrorCode::Unavailable, "the metrics cannot be collected")),
    }
}
