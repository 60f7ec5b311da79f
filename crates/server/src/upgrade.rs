//! The WebSocket handshake (RFC 6455, 4.2).
//!
//! Enters: a request. Leaves: 101 and a [`Connection`] on a task of its own, or what the client or
//! a proxy in between has to change.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper_util::rt::TokioIo;
use roomlog_auth::Access;
use roomlog_protocol::{Author, Refusal, SUBPROTOCOL};
use sha1::{Digest, Sha1};
use tracing::debug;

use crate::{
    auth::caller::{admit, challenge, token_of},
    connection::{Connection, Served},
    gateway::{Gateway, SocketPermit},
    stream::Stream,
    timeouts::TimeoutStream,
    wire::{bad, refuse_as},
};

/// The GUID that the key is hashed with (RFC 6455, 1.3).
pub(crate) const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The length of a client's decoded key.
const KEY_BYTES: usize = 16;

pub(crate) async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    Extension(permit): Extension<Arc<SocketPermit>>,
    mut request: Request<Body>,
) -> Response<Body> {
    let accept = match accept_key(&request) {
        Ok(accept) => accept,
        Err(error) => return error.answer(),
    };
    let login = match login_of(&gateway, &permit, request.headers()).await {
        Ok(login) => login,
        Err(refusal) => return challenge(refusal).await,
    };
    let is_offered = items(request.headers(), header::SEC_WEBSOCKET_PROTOCOL)
        .any(|protocol| protocol == SUBPROTOCOL);
    let upgrading = hyper::upgrade::on(&mut request);
    let drain_guard = gateway.drain_guard.clone();
    tokio::spawn(async move {
        let upgraded = match upgrading.await {
            Ok(upgraded) => upgraded,
            Err(error) => return debug!(%error, "an upgrade was not finished"),
        };
        match upgraded.downcast::<TokioIo<TimeoutStream<Stream>>>() {
            Ok(parts) => {
                let stream = parts.io.into_inner().into_inner();
                let connection = Connection::new(gateway, permit.client.clone(), login);
                Served { connection, permit, drain_guard }.serve(stream, parts.read_buf).await;
            }
            Err(_) => debug!("an upgrade of something other than a public socket"),
        }
    });
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    if is_offered {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    }
    response.body(Body::empty()).unwrap_or_default()
}

/// Who the handshake says it is: by its `Authorization` or cookie, on a server with tokens.
async fn login_of(
    gateway: &Gateway,
    permit: &SocketPermit,
    headers: &HeaderMap,
) -> Result<Option<(Author, Arc<Access>, usize)>, Refusal> {
    let Some(tokens) = &gateway.config.tokens else { return Ok(None) };
    let Some(token) = token_of(&Method::GET, headers)? else { return Ok(None) };
    let (author, access) = admit(tokens, &permit.client, token).await?;
    Ok(Some((author, access, token.len())))
}

/// Why a request is no WebSocket handshake: the status and the message.
struct HandshakeError(StatusCode, &'static str);

/// A proxy that speaks HTTP/1.0 cannot pass a client's upgrade on.
const OLD_HTTP: HandshakeError = HandshakeError(
    StatusCode::UPGRADE_REQUIRED,
    "this is a WebSocket endpoint, and the request came over HTTP/1.0: a proxy in between has to \
     speak HTTP/1.1 and pass the upgrade on (nginx: proxy_http_version 1.1; proxy_set_header \
     Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\")",
);
const NO_UPGRADE: HandshakeError = HandshakeError(
    StatusCode::UPGRADE_REQUIRED,
    "this is a WebSocket endpoint: send a GET with `Upgrade: websocket` and `Connection: Upgrade`; \
     if the client did, a proxy in between does not pass them on",
);
const WRONG_VERSION: HandshakeError =
    HandshakeError(StatusCode::UPGRADE_REQUIRED, "the Sec-WebSocket-Version has to be 13");
const WRONG_KEY: HandshakeError = HandshakeError(
    StatusCode::BAD_REQUEST,
    "the request needs one Sec-WebSocket-Key: 16 bytes in Base64",
);

impl HandshakeError {
    fn answer(self) -> Response<Body> {
        let mut answer = refuse_as(self.0, bad(self.1));
        if self.0 == StatusCode::UPGRADE_REQUIRED {
            let headers = answer.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        answer
    }
}

/// The answer to the client's key.
fn accept_key(request: &Request<Body>) -> Result<String, HandshakeError> {
    let headers = request.headers();
    let has = |name: HeaderName, token: &str| {
        items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
    };
    if request.version() < Version::HTTP_11 {
        return Err(OLD_HTTP);
    }
    let is_upgrade = is_websocket(headers) && has(header::CONNECTION, "upgrade");
    if !is_upgrade || request.method() != Method::GET {
        return Err(NO_UPGRADE);
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(WRONG_VERSION);
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(WRONG_KEY) };
    if !STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES) {
        return Err(WRONG_KEY);
    }
    Ok(STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize()))
}

/// Whether a request asks for a WebSocket, if rightly or not.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    items(headers, header::UPGRADE).any(|item| item.eq_ignore_ascii_case("websocket"))
}

/// The items of a header that is a list, on one line or several.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}
