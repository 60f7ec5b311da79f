//! Who sends a request over HTTP: by its `Authorization`, or by the cookie of a session.
//!
//! Enters: requests. Leaves: the [`Caller`] of each, or 401. Invariants: a token is taken from a
//! header alone, never from a URL; a cookie is good for requests that change nothing; a token is checked
//! once for a connection, not for each of its requests, as long as it is not revoked and has not expired.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, header, request::Parts},
    middleware::Next,
};
use roomlog_auth::{Access, Operation};
use roomlog_protocol::{Author, ErrorCode, Refusal};
use sha2::{Digest, Sha256};

use super::{
    Tokens, now_s,
    rights::{ACCESS_FACTOR, Caller, CheckedCaller, unauthorized},
};
use crate::{
    gateway::{BUSY_PAUSE, Gateway, SocketPermit, holds_too_much},
    principals::Client,
    wire::{bad, refuse},
};

/// The name of the cookie of a session: with this prefix a browser takes it only from the host itself,
/// over TLS or on loopback (RFC 6265bis, 4.1.3.2).
pub(super) const COOKIE: &str = "__Host-roomlog";

/// The token of the cookie; `None` if there is none.
fn cookie_token(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim())
}

/// The token of a request; `None` if it has none. A cookie counts for requests that change nothing.
pub(crate) fn token_of<'a>(
    method: &Method,
    headers: &'a HeaderMap,
) -> Result<Option<&'a str>, Refusal> {
    let is_read = [Method::GET, Method::HEAD].contains(method);
    Ok(bearer(headers)?.or_else(|| cookie_token(headers).filter(|_| is_read)))
}

/// The token of the `Authorization` header; `None` if there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = match (lines.next(), lines.next()) {
        (Some(line), None) => line,
        (Some(_), Some(_)) => {
            return Err(bad("the request has more than one Authorization header"));
        }
        (None, _) => return Ok(None),
    };
    let token = line.to_str().ok().and_then(|line| line.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token {
        Some((_, token)) => Ok(Some(token.trim())),
        None => {
            let message = "the Authorization header is not `Bearer` and a token";
            Err(Refusal::new(ErrorCode::Unauthorized, message))
        }
    }
}

/// Taken by the handlers of requests that need one; the others of a request find it in its extensions.
impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Response<Body>;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Response<Body>> {
        let Some(permit) = parts.extensions.get::<Arc<SocketPermit>>() else {
            unreachable!("the listener adds it to every request")
        };
        let caller = match &gateway.config.tokens {
            None => Ok(Self::open(permit.client.clone())),
            Some(tokens) => match token_of(&parts.method, &parts.headers) {
                Ok(Some(token)) => caller_of(gateway, tokens, permit, token).await,
                Ok(None) => {
                    let message = "this server needs a token: Authorization: Bearer …";
                    Err(Refusal::new(ErrorCode::LoginRequired, message))
                }
                Err(refusal) => Err(refusal),
            },
        };
        match caller {
            Ok(caller) => {
                parts.extensions.insert(caller.clone());
                Ok(caller)
            }
            Err(refusal) => Err(challenge(refusal).await),
        }
    }
}

/// Who may do something at the operators' door.
#[derive(Clone)]
pub(crate) struct Operators {
    /// `None`: anyone who reaches it.
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) operation: Operation,
}

/// Passes on requests of operators who may do this.
pub(crate) async fn operators_only(
    State(Operators { tokens, operation }): State<Operators>,
    Extension(permit): Extension<Arc<SocketPermit>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let Some(tokens) = &tokens else { return next.run(request).await };
    let Some(token) = bearer(request.headers()).transpose() else {
        let message = "the operators' door needs a token: Authorization: Bearer …";
        return challenge(Refusal::new(ErrorCode::LoginRequired, message)).await;
    };
    let checked = match token {
        Ok(token) => admit(tokens, &permit.client, token).await,
        Err(refusal) => Err(refusal),
    };
    match checked {
        Ok((_, access)) if access.may_operate(operation) => next.run(request).await,
        Ok(_) => {
            permit.client.note_denied("operate");
            refuse(Refusal::new(ErrorCode::Forbidden, "your token's `ops` do not have this"))
        }
        Err(refusal) => challenge(refusal).await,
    }
}

/// The answer to a request without a good token, after a pause: whoever tries tokens may not cost the
/// others the time to check them.
pub(crate) async fn challenge(refusal: Refusal) -> Response<Body> {
    tokio::time::sleep(BUSY_PAUSE).await;
    let is_known = refusal.code == ErrorCode::LoginRequired;
    let mut answer = refuse(refusal);
    // RFC 6750, 3.
    let how = if is_known { "Bearer" } else { "Bearer error=\"invalid_token\"" };
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(how));
    answer
}

/// Checks a token. That it is refused is noted.
pub(crate) async fn admit(
    tokens: &Tokens,
    client: &Client,
    token: &str,
) -> Result<(Author, Arc<Access>), Refusal> {
    tokens.admit(token).await.map_err(|error| {
        client.note_refused_login(&error);
        unauthorized(&error)
    })
}

async fn caller_of(
    gateway: &Gateway,
    tokens: &Tokens,
    permit: &SocketPermit,
    token: &str,
) -> Result<Caller, Refusal> {
    let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    if let Some(caller) = last_caller(tokens, permit, &hash) {
        return Ok(caller);
    }
    let (author, access) = admit(tokens, &permit.client, token).await?;
    let client = login(gateway, &permit.client, &author, &access)?;
    let charge = client.memory.charge(ACCESS_FACTOR * token.len()).ok_or_else(holds_too_much)?;
    let caller = Caller { author: Some(author), access, client };
    let checked = CheckedCaller { token: hash, caller: caller.clone(), _charge: charge };
    *permit.caller.lock() = Some(checked);
    Ok(caller)
}

/// Ends when the caller's token has expired or is revoked; never on an open server.
pub(crate) async fn login_ends(gateway: Arc<Gateway>, caller: Caller) {
    let (Some(tokens), Some(token), Some(author)) =
        (&gateway.config.tokens, &caller.access.token, &caller.author)
    else {
        return std::future::pending().await;
    };
    let mut revisions = tokens.revisions();
    let now = now_s();
    let left = Duration::from_secs(token.ends_at(now).saturating_sub(now));
    let is_revoked = async {
        while !tokens.is_revoked(author, &caller.access) {
            if revisions.changed().await.is_err() {
                return;
            }
        }
    };
    let _expired = tokio::time::timeout(left, is_revoked).await;
}

/// The accounts of a connection whose token was checked.
pub(crate) fn login(
    gateway: &Gateway,
    client: &Client,
    author: &Author,
    access: &Access,
) -> Result<Client, Refusal> {
    gateway.principals.of_author((access.namespace(), author), client).ok_or_else(|| {
        let message = "this author has as many connections as `connections_per_principal` allows; \
                       close one, or try again later";
        Refusal::new(ErrorCode::RateLimited, message)
    })
}

/// The caller of the connection's last request, if this one has the same token and it still holds.
fn last_caller(tokens: &Tokens, permit: &SocketPermit, hash: &[u8; 32]) -> Option<Caller> {
    let last = permit.caller.lock();
    let checked = last.as_ref().filter(|checked| checked.token == *hash)?;
    let Caller { author, access, .. } = &checked.caller;
    let is_current = access.token.as_ref().is_some_and(|token| now_s() < token.expires_at);
    let is_revoked = author.as_ref().is_none_or(|author| tokens.is_revoked(author, access));
    (is_current && !is_revoked).then(|| checked.caller.clone())
}
