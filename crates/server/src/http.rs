//! HTTP: reads, appends, events, health, the page.
//!
//! Enters: requests. Leaves: JSON with the members of the WebSocket's frames, and the statuses of the
//! contract. Invariant: the browser rules hold for every request, the upgrade included; an error has
//! the same code as on a WebSocket.

mod append;
mod backup;
mod batch;
mod body;
mod content;
mod events;
mod newest;
mod outcomes;
mod page;
mod query;
mod rooms;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    http::{HeaderValue, Method, Response, StatusCode, header},
    middleware::{self, Next},
    routing::get,
};
use bytes::Bytes;
use roomlog_core::{
    archive::ArchiveError,
    reader::{Page, ReadError},
    tail::Tail,
};
use roomlog_protocol::{
    ClientUpdate, ErrorCode, ErrorFrame, Refusal, Slot, Span, client::parse_update, json::Object,
    latest_of,
};
use serde_json::json;

pub(crate) use self::newest::Newest;
use self::query::{Room, check_log, object_of_query};
use crate::{
    connection::{keep_of, needed_end},
    gateway::{Gateway, STOPPING, stopped},
    upgrade::upgrade,
    wire,
};

/// The routes.
pub(crate) fn app(gateway: Arc<Gateway>) -> Router {
    let entries = get(read_entries).post(append::append);
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
            let refusal =
                Refusal::new(ErrorCode::BadMessage, "this path does not take this method");
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

/// What a page of a listed origin may send: appends, one or many, and its way back into events.
const CORS_HEADERS: &str = "content-type, idempotency-key, last-event-id";

/// What such a page may read of an answer besides its body: which log it is of, when to come again.
const CORS_EXPOSED: &str = "roomlog-log, retry-after";

/// For how many seconds a browser need not ask again; none keeps an answer for longer than two hours.
const CORS_MAX_AGE: &str = "7200";

/// What a page of a listed origin may send.
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

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.into())
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn respond_json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    respond(status, "application/json", body.into())
}

/// An error: the same members as an `error` frame, below `error`.
fn refuse(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.code.http_status());
    refuse_as(status.unwrap_or(StatusCode::BAD_REQUEST), refusal)
}

/// An error that HTTP has a status of its own for.
pub(crate) fn refuse_as(status: StatusCode, refusal: Refusal) -> Response<Body> {
    let error = ErrorFrame::from(refusal);
    let mut response = respond_json(status, wire::json(&json!({ "error": error })));
    if let Some(ms) = error.retry_after_ms {
        let seconds = HeaderValue::from(ms.div_ceil(1_000));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

fn not_found(message: &str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, message)
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

/// The format of Prometheus' text, version 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let told = tokio::task::spawn_blocking(move || {
        let config = &gateway.config;
        config.metrics.text(&gateway.node, &config.files)
    });
    match told.await {
        Ok(text) => respond(StatusCode::OK, METRICS_TYPE, text.into()),
        Err(_) => refuse(Refusal::new(ErrorCode::Unavailable, "the metrics cannot be told")),
    }
}

async fn read_entries(
    State(gateway): State<Arc<Gateway>>,
    Room(room): Room,
    Query(query): Query<Vec<(String, String)>>,
) -> Response<Body> {
    let limits = &gateway.config.limits;
    let update = object_of_query(&room, &query);
    let object = match Object::parse(&update) {
        Ok(object) => object,
        Err(problem) => return refuse(Refusal::new(ErrorCode::BadMessage, problem.to_string())),
    };
    let update = match parse_update(&object, limits) {
        Ok(update) => update,
        Err(refusal) => return refuse(*refusal),
    };
    if let Err(refusal) = check_log(&gateway, &room, &query) {
        return refuse(Refusal { room: Some(room), ..refusal });
    }
    match read_text(&gateway, &update).await {
        Ok(text) => respond(StatusCode::OK, "application/json", text.into()),
        Err(refusal) => refuse(Refusal { room: Some(update.room), ..refusal }),
    }
}

/// A page as text; the newest of a room as it was answered before, while its log has not grown.
async fn read_text(gateway: &Gateway, update: &ClientUpdate) -> Result<Bytes, Refusal> {
    let begun = Instant::now();
    reached(gateway, update).await?;
    let count = match update.span {
        Span::UpTo { count, upto: None } => Some(count),
        _ => None,
    };
    if let Some(count) = count {
        let end = gateway.node.end(&update.room);
        let end = end.map_err(|why| unreadable(gateway, &why))?;
        if let Some(text) = gateway.newest.get(&update.room, count, end) {
            gateway.config.metrics.page(begun.elapsed());
            return Ok(text);
        }
    }
    let page = read(gateway, update).await?;
    let encoded = wire::page(&update.room, &page, keep_of(update.span), &gateway.config.limits);
    let text = Bytes::from(encoded.body(gateway.node.log()));
    if let Some(count) = count {
        gateway.newest.put(&update.room, count, page.head.end, text.clone());
    }
    Ok(text)
}

fn unreadable(gateway: &Gateway, problem: &ArchiveError) -> Refusal {
    gateway.note_unreadable(problem);
    Refusal::new(ErrorCode::Unavailable, problem.to_string())
}

/// Waits until the log has reached what the reader has seen.
async fn reached(gateway: &Gateway, update: &ClientUpdate) -> Result<(), Refusal> {
    let needed = needed_end(update);
    if needed == 0 {
        return Ok(());
    }
    let tail = gateway.node.tail(&update.room).map_err(|why| unreadable(gateway, &why))?;
    if reach(gateway, &tail, needed).await {
        return Ok(());
    }
    Err(stopped_or(gateway, ahead(&tail)))
}

async fn read(gateway: &Gateway, update: &ClientUpdate) -> Result<Page, Refusal> {
    let limits = gateway.page_limits();
    let page = gateway.page(&update.room, update.span, update.digest, limits).await;
    page.map_err(|error| match error {
        ReadError::Diverged { latest } => {
            let message = "your digest is not the log's";
            Refusal { latest: Some(latest), ..Refusal::new(ErrorCode::Diverged, message) }
        }
        ReadError::Archive(problem) => unreadable(gateway, &problem),
    })
}

fn ahead(tail: &Tail) -> Refusal {
    let latest = Some(latest_of(tail.head().end));
    Refusal { latest, ..Refusal::new(ErrorCode::Ahead, "the log has not reached that slot") }
}

/// What waited in vain because the server stops is told that.
fn stopped_or(gateway: &Gateway, refusal: Refusal) -> Refusal {
    if *gateway.stopping.borrow() {
        Refusal::new(ErrorCode::Unavailable, STOPPING)
    } else {
        refusal
    }
}

/// Waits up to `ahead_ms` until the log ends at `end` or later; `false` at once when the server stops.
async fn reach(gateway: &Gateway, tail: &Arc<Tail>, end: Slot) -> bool {
    tokio::select! {
        reached = tokio::time::timeout(gateway.ahead_for(), tail.reached(end)) => reached.is_ok(),
        () = stopped(gateway.stopping.clone()) => false,
    }
}
