//! `/v1/session`: a token as a cookie, for an EventSource and the page, which cannot set a header.
//!
//! Enters: a POST with a token; a DELETE. Leaves: the cookie, or its end. Invariants: no script reads
//! it, no other site sends it, and it is good for GET and the WebSocket handshake alone; the server keeps
//! nothing of it, so every node takes it.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
};
use roomlog_protocol::{ErrorCode, Refusal};

use super::{
    caller::{COOKIE, token_of},
    now_s,
    rights::Caller,
};
use crate::{
    gateway::Gateway,
    wire::{bad, plain, refuse},
};

/// The most bytes of a token in a cookie: browsers keep 4,096 with the name and the attributes.
const MOST_BYTES: usize = 3_800;

const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// Begins a session: the token of the request is the cookie until it expires.
pub(crate) async fn begin(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
) -> Response<Body> {
    if gateway.config.tokens.is_none() {
        return refuse(bad("this server is open: it has no sessions"));
    }
    let token = match token_of(&Method::POST, &headers) {
        Ok(token) => token.unwrap_or_default(),
        Err(refusal) => return refuse(refusal),
    };
    if token.len() > MOST_BYTES {
        let message = format!("a token for a session has at most {MOST_BYTES} bytes");
        return refuse(Refusal::new(ErrorCode::TooLarge, message));
    }
    let expires_at = caller.access.token.as_ref().map_or(0, |token| token.expires_at);
    let seconds = expires_at.saturating_sub(now_s());
    set(&format!("{COOKIE}={token}; Max-Age={seconds}; {ATTRIBUTES}"))
}

/// Ends a session. The token itself holds until it expires or is revoked.
pub(crate) async fn end() -> Response<Body> {
    set(&format!("{COOKIE}=; Max-Age=0; {ATTRIBUTES}"))
}

fn set(cookie: &str) -> Response<Body> {
    let mut answer = plain(StatusCode::NO_CONTENT, "");
    match HeaderValue::from_str(cookie) {
        Ok(cookie) => _ = answer.headers_mut().insert(header::SET_COOKIE, cookie),
        Err(_) => return refuse(bad("this token cannot be a cookie")),
    }
    answer
}
