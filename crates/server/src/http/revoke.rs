//! `POST /v1/revoke`, at the operators' door: revokes tokens on every node.
//!
//! ```text
//!  {"jti":"t-1"}                                        one token
//!  {"author":"ada","ns":"acme","issued_before":17…}     those of an author, in a namespace or in none
//!  {"issued_before":17…}                                those of everybody
//! ```
//!
//! Enters: a revocation, with times in seconds since the Unix epoch. Leaves: 204 when it is durable.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode},
};
use roomlog_auth::{Revocation, token::JTI_BYTES};

use super::body;
use crate::{
    auth::revoking::revoke,
    gateway::{Gateway, SocketPermit},
    wire::{bad, plain, refuse},
};

/// The most bytes of a revocation.
const MOST_BYTES: usize = 4 << 10;

pub(super) async fn post(
    State(gateway): State<Arc<Gateway>>,
    Extension(permit): Extension<Arc<SocketPermit>>,
    request: Request,
) -> Response<Body> {
    let Some(tokens) = &gateway.config.tokens else {
        return refuse(bad("this server is open: it has no tokens to revoke"));
    };
    let mut body = request.into_body();
    let read = match body::read(&gateway, &mut body, MOST_BYTES, &permit.client).await {
        Ok(read) => read,
        Err(refusal) => return refuse(refusal),
    };
    let revocation = match serde_json::from_slice(&read.bytes) {
        Ok(Revocation::Token { jti }) if jti.is_empty() || jti.len() > JTI_BYTES => {
            return refuse(bad(format!("a `jti` has 1 to {JTI_BYTES} bytes")));
        }
        Ok(revocation) => revocation,
        Err(_) => {
            let message = "send {\"jti\":…}, or {\"author\":…,\"issued_before\":…} with a time in \
                           seconds, or {\"issued_before\":…} for everybody";
            return refuse(bad(message));
        }
    };
    match revoke(&gateway.node, tokens, revocation).await {
        Ok(()) => plain(StatusCode::NO_CONTENT, ""),
        Err(refusal) => refuse(refusal),
    }
}
