//! The WebSocket handshake (RFC 6455, 4.2): from a request to a [`Connection`].

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper_util::rt::TokioIo;
use roomlog_protocol::{ErrorCode, Refusal, SUBPROTOCOL};
use sha1::{Digest, Sha1};
use tracing::debug;

use crate::{
    connection::Connection,
    gateway::{Gateway, Permit},
    http::refuse_as,
    patient::Patient,
};

/// What the key is hashed with.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How many bytes a client's key encodes.
const KEY_BYTES: usize = 16;

pub(crate) async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    Extension(permit): Extension<Permit>,
    mut request: Request<Body>,
) -> Response<Body> {
    let accept = match accept_key(&request) {
        Ok(accept) => accept,
        Err(refused) => return refused.answer(),
    };
    let headers = request.headers();
    let offered = offers_subprotocol(headers);
    let upgrading = hyper::upgrade::on(&mut request);
    let (alive, served) = (gateway.alive.clone(), gateway.clone());
    tokio::spawn(async move {
        let _held_while_served = (alive, permit);
        let upgraded = match upgrading.await {
            Ok(upgraded) => upgraded,
            Err(error) => return debug!(%error, "an upgrade was not finished"),
        };
        match upgraded.downcast::<TokioIo<Patient>>() {
            Ok(parts) => {
                let stream = parts.io.into_inner().into_inner();
                Connection::new(served).serve(stream, parts.read_buf).await;
            }
            Err(_) => debug!("an upgrade on something else than TCP"),
        }
    });
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    if offered {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    }
    response.body(Body::empty()).unwrap_or_default()
}

/// Why a handshake is refused.
enum Refused {
    /// HTTP/1.0 knows no upgrade: what comes from a client as a WebSocket comes from a proxy like this.
    OldHttp,
    NoUpgrade,
    Version,
    Key,
}

impl Refused {
    fn answer(self) -> Response<Body> {
        let (status, message) = match self {
            Self::OldHttp => (
                StatusCode::UPGRADE_REQUIRED,
                "this is a WebSocket endpoint, and the request came over HTTP/1.0: a proxy in between \
                 has to speak HTTP/1.1 and pass the upgrade on (nginx: proxy_http_version 1.1; \
                 proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\")",
            ),
            Self::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "this is a WebSocket endpoint: send a GET with `Upgrade: websocket` and `Connection: \
                 Upgrade`; when the client did, a proxy in between does not pass them on",
            ),
            Self::Version => {
                (StatusCode::UPGRADE_REQUIRED, "the Sec-WebSocket-Version has to be 13")
            }
            Self::Key => (
                StatusCode::BAD_REQUEST,
                "the Sec-WebSocket-Key has to stand there once, 16 bytes in Base64",
            ),
        };
        let mut answer = refuse_as(status, Refusal::new(ErrorCode::BadMessage, message));
        if status == StatusCode::UPGRADE_REQUIRED {
            let headers = answer.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        answer
    }
}

/// The answer to the client's key, or why this is no WebSocket handshake.
fn accept_key(request: &Request<Body>) -> Result<String, Refused> {
    let headers = request.headers();
    let has = |name: header::HeaderName, token: &str| {
        let values = headers.get_all(name);
        let mut tokens = values.iter().filter_map(|value| value.to_str().ok());
        tokens.any(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    if request.version() < Version::HTTP_11 {
        return Err(Refused::OldHttp);
    }
    let is_upgrade = has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade");
    if !is_upgrade || request.method() != Method::GET {
        return Err(Refused::NoUpgrade);
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refused::Version);
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refused::Key) };
    if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES) {
        let mut sha = Sha1::new();
        sha.update(key.as_bytes());
        sha.update(MAGIC);
        return Ok(STANDARD.encode(sha.finalize()));
    }
    Err(Refused::Key)
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut lists = values.iter().filter_map(|value| value.to_str().ok());
    lists.any(|list| list.split(',').any(|item| item.trim() == SUBPROTOCOL))
}
