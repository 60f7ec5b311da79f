//! Who sends a request over HTTP: by its `Authorization`, or by the cookie of a session.
//!
//! Enters: requests. Leaves: the same with a [`Caller`], or 401. Invariants: a token is taken from a
//! header alone, never from a URL; a cookie is good for requests that change nothing; a token is checked
//! once for a connection, not for each of its requests, as long as it is not revoked and has not expired.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, header},
    middleware::Next,
};
use parking_lot::Mutex;
use roomlog_auth::{Access, Operation, Right, TokenError};
use roomlog_core::budget::Charge;
use roomlog_protocol::{Author, ErrorCode, Refusal, RoomName};
use sha2::{Digest, Sha256};

use super::{Tokens, cookie, now_s};
use crate::{
    gateway::{BUSY_PAUSE, Gateway, SocketPermit, holds_too_much},
    principals::Client,
    wire::{bad, not_found, refuse},
};

/// How much of memory the rights of a token take for each of its bytes: names in maps of their own.
pub(crate) const ACCESS_FACTOR: usize = 8;

/// Who sends a request.
#[derive(Clone)]
pub(crate) struct Caller {
    /// `None` on an open server, where each append names its own.
    pub(crate) author: Option<Author>,
    pub(crate) access: Arc<Access>,
    /// Who is charged.
    pub(crate) client: Client,
}

/// A caller whose token was checked, and the hash of that token.
pub(crate) struct CheckedCaller {
    token: [u8; 32],
    caller: Caller,
    _charge: Charge,
}

/// The caller of a connection's last request.
pub(crate) type LastCaller = Mutex<Option<CheckedCaller>>;

impl Caller {
    /// Anyone, on an open server.
    pub(crate) fn open(client: Client) -> Self {
        Self { author: None, access: Arc::new(Access::open()), client }
    }

    /// Fails with `not_found` if it may not read the room: to it, there is none.
    pub(crate) fn check_read(&self, room: &RoomName) -> Result<(), Refusal> {
        let checked =
            check_read(&self.access, room).inspect_err(|_| self.client.note_denied("read"));
        checked.map_err(|refusal| Refusal { room: Some(room.clone()), ..refusal })
    }

    /// The author of an append that names this one. Fails with `login_required` if none is named on an
    /// open server, or `forbidden` if it may not write as that one.
    pub(crate) fn author_of(&self, named: Option<&Author>) -> Result<Author, Refusal> {
        match (&self.author, named) {
            (None, Some(named)) => Ok(named.clone()),
            (None, None) => {
                let message = "`author` is missing: an open server requires one";
                Err(Refusal::new(ErrorCode::LoginRequired, message))
            }
            (Some(author), None) => Ok(author.clone()),
            (Some(author), Some(named)) => {
                check_author(&self.access, author, named)
                    .inspect_err(|_| self.client.note_denied("author"))?;
                Ok(named.clone())
            }
        }
    }

    /// Fails with `forbidden` if it may not append to the room.
    pub(crate) fn check_append(&self, room: &RoomName) -> Result<(), Refusal> {
        check_append(&self.access, room).inspect_err(|_| self.client.note_denied("append"))
    }
}

pub(crate) fn check_read(access: &Access, room: &RoomName) -> Result<(), Refusal> {
    if access.may(room, Right::Read) {
        return Ok(());
    }
    Err(not_found("there is no such room, or your token may not read it"))
}

pub(crate) fn check_append(access: &Access, room: &RoomName) -> Result<(), Refusal> {
    forbid_unless(access.may(room, Right::Append), "your token may not append to this room")
}

/// For an append to a room without entries.
pub(crate) fn check_create(access: &Access, room: &RoomName) -> Result<(), Refusal> {
    let message = "this room has no entry, and your token may not create it";
    forbid_unless(access.may(room, Right::Create), message)
}

pub(crate) fn check_author(
    access: &Access,
    author: &Author,
    as_author: &Author,
) -> Result<(), Refusal> {
    let message = "your token may not write as this author";
    forbid_unless(access.may_speak_for(author, as_author), message)
}

fn forbid_unless(may: bool, message: &str) -> Result<(), Refusal> {
    if may { Ok(()) } else { Err(Refusal::new(ErrorCode::Forbidden, message)) }
}

/// The refusal of a login.
pub(crate) fn unauthorized(error: &TokenError) -> Refusal {
    Refusal::new(ErrorCode::Unauthorized, error.to_string())
}

/// The token of a request; `None` if it has none. A cookie counts for requests that change nothing.
pub(crate) fn token_of<'a>(
    method: &Method,
    headers: &'a HeaderMap,
) -> Result<Option<&'a str>, Refusal> {
    let is_read = [Method::GET, Method::HEAD].contains(method);
    Ok(bearer(headers)?.or_else(|| cookie::token(headers).filter(|_| is_read)))
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

/// Adds the caller to a request that needs one, or answers 401.
pub(crate) async fn authenticate(
    State(gateway): State<Arc<Gateway>>,
    Extension(permit): Extension<Arc<SocketPermit>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let caller = match &gateway.config.tokens {
        None => Ok(Caller::open(permit.client.clone())),
        Some(tokens) => match token_of(request.method(), request.headers()) {
            Ok(Some(token)) => caller_of(&gateway, tokens, &permit, token).await,
            Ok(None) => {
                let message = "this server needs a token: Authorization: Bearer …";
                Err(Refusal::new(ErrorCode::LoginRequired, message))
            }
            Err(refusal) => Err(refusal),
        },
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => challenge(refusal).await,
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
    let Some(tokens) = tokens else { return next.run(request).await };
    let Some(token) = bearer(request.headers()).transpose() else {
        let message = "the operators' door needs a token: Authorization: Bearer …";
        return challenge(Refusal::new(ErrorCode::LoginRequired, message)).await;
    };
    let token = token.map(str::to_owned);
    let checked = match token {
        Ok(token) => tokens.admit(&token).await.map_err(|error| {
            permit.client.note_refused_login(&error);
            unauthorized(&error)
        }),
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
    let (author, access) = tokens.admit(token).await.map_err(|error| {
        permit.client.note_refused_login(&error);
        unauthorized(&error)
    })?;
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
