//! The WebSocket handshake (RFC 6455, 4.2): from a request to a [`Connection`].

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper_util::rt::TokioIo;
use roomlog_protocol::SUBPROTOCOL;
use sha1::{Digest, Sha1};
use tracing::debug;

use crate::{
    connection::Connection,
    gateway::{Gateway, Permit},
    http::plain,
    patient::Patient,
};

/// What the key is hashed with.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub(crate) async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    Extension(permit): Extension<Permit>,
    mut request: Request<Body>,
) -> Response<Body> {
    let headers = request.headers();
    let Some(accept) = accept_key(headers) else {
        let mut response = plain(
            StatusCode::UPGRADE_REQUIRED,
            "this is a WebSocket endpoint: send an upgrade to websocket, version 13\n",
        );
        response
            .headers_mut()
            .insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        return response;
    };
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

/// The answer to the client's key; `None` when this is no WebSocket handshake.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let has = |name: header::HeaderName, token: &str| {
        let values = headers.get_all(name);
        let mut tokens = values.iter().filter_map(|value| value.to_str().ok());
        tokens.any(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    let is_handshake = has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_handshake)?;
    let mut sha = Sha1::new();
    sha.update(key.as_bytes());
    sha.update(MAGIC);
    Some(STANDARD.encode(sha.finalize()))
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut lists = values.iter().filter_map(|value| value.to_str().ok());
    lists.any(|list| list.split(',').any(|item| item.trim() == SUBPROTOCOL))
}
