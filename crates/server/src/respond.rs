//! Answers over HTTP.
//!
//! Enters: bodies, refusals. Leaves: responses: JSON with the members of the WebSocket's frames,
//! plain text, errors with the status of the contract. Invariant: an error has the same code as on
//! a WebSocket.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use roomlog_protocol::{ErrorCode, ErrorFrame, Refusal};
use serde_json::json;

use crate::wire;

pub(crate) fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn respond_json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    respond(status, "application/json", body.into())
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.into())
}

/// An error: the same members as an `error` frame, below `error`.
pub(crate) fn refuse(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.code.http_status());
    refuse_as(status.unwrap_or(StatusCode::BAD_REQUEST), refusal)
}

/// An error for which HTTP has a status of its own.
pub(crate) fn refuse_as(status: StatusCode, refusal: Refusal) -> Response<Body> {
    let error = ErrorFrame::from(refusal);
    let mut response = respond_json(status, wire::json(&json!({ "error": error })));
    if let Some(ms) = error.retry_after_ms {
        let seconds = HeaderValue::from(ms.div_ceil(1_000));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

pub(crate) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::BadMessage, message)
}

pub(crate) fn not_found(message: &str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, message)
}

pub(crate) fn unknown_outcome(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::UnknownOutcome, message)
}
