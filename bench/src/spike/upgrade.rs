//! From an HTTP request to the bare TCP stream, by hyper alone.
//!
//! Enters: connections. Leaves: for each one that asks for a WebSocket, its stream after the 101 and
//! what was read behind the request. Invariant: a receiver is subscribed before it is answered.

use std::{convert::Infallible, io};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

use super::Commit;

/// What RFC 6455 adds to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An upgraded connection.
pub(super) struct Upgraded {
    pub(super) stream: TcpStream,
    /// What came behind the request.
    pub(super) read: Bytes,
    pub(super) commits: broadcast::Receiver<Commit>,
}

/// Accepts until the process is ended; `run` serves an upgraded connection until it ends.
pub(super) async fn serve<R, F>(
    listener: TcpListener,
    publish: broadcast::Sender<Commit>,
    run: R,
) -> io::Result<()>
where
    R: Fn(Upgraded) -> F + Copy + Send + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let publish = publish.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(request, publish.subscribe(), run);
                async move { Ok::<_, Infallible>(response) }
            });
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await
        });
    }
}

fn answer<R, F>(
    mut request: Request<Incoming>,
    commits: broadcast::Receiver<Commit>,
    run: R,
) -> Response<Empty<Bytes>>
where
    R: Fn(Upgraded) -> F + Send + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut response = Response::new(Empty::new());
    let Some(accept) = request.headers().get(header::SEC_WEBSOCKET_KEY).map(accept) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| io::Error::other("not a TCP stream"))?;
        let (stream, read) = (parts.io.into_inner(), parts.read_buf);
        run(Upgraded { stream, read, commits }).await
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept.try_into() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn accept(key: &header::HeaderValue) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}
