//! The listeners: the public one and the operators' door. They accept sockets, a task each, until
//! the server stops; then they drain them.
//!
//! Enters: listeners, a node, a signal to stop. Leaves: drained listeners. A request of a trusted proxy
//! is for the client that it names, each for its own. Invariants: at most `sockets` are served
//! concurrently in public, and [`DOOR_SOCKETS`] at the door, whatever happens at the other; in public up
//! to [`REFUSED_CONNECTIONS`] more are open to be refused, others are closed at once, at the door they
//! wait to be accepted; when [`run`] returns, every append that was taken is answered, or its socket was
//! closed after `drain`.

use std::{convert::Infallible, future::Future, io, net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use roomlog_core::{Node, episode::Episode};
use roomlog_protocol::ErrorFrame;
use serde_json::json;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
};
use tokio_util::either::Either;
use tracing::{debug, warn};

use crate::{
    auth::revoking::RevocationLog,
    config::Config,
    gateway::{CONNECTION_BYTES, Gateway, HEAD_BYTES, SocketPermit, holds_too_much, stopped},
    guard::SAFE_HEADERS,
    http::{self, Rules},
    limited::Limit,
    metrics::Metrics,
    principals::REFUSED_CONNECTIONS,
    proxies::{Proxies, Scheme},
    stream::Stream,
    timeouts::{HeadTimeout, REST_TIME, TimeoutStream},
    tls::{TLS_BYTES, Tls},
    transport::{TransportStream, Transports},
    upgrade::is_websocket,
    wire,
};

/// The most that the kernel buffers for a socket in each direction, in bytes. It doubles them for its
/// own needs, and a container counts them, so they are small: 64 KiB at 50 ms are 1.3 MB/s.
const SEND_BYTES: usize = 64 << 10;
const RECEIVE_BYTES: usize = 128 << 10;

/// How long a connection that is refused may take its answer, and how often it is read meanwhile.
const REFUSED_TIME: Duration = Duration::from_secs(2);
const REFUSED_READS: usize = 256;

/// How long to wait before accepting again after a failure, as without a free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How many sockets are served concurrently at the operators' door: a few scrapers and scripts, and
/// a backup.
const DOOR_SOCKETS: usize = 16;

/// Where clients reach the server.
pub enum Public {
    /// A TCP address, in the clear or with TLS.
    Tcp(TcpListener),
    /// Sockets that a program brings along, in the clear.
    Transports(Box<dyn Transports>),
}

impl From<TcpListener> for Public {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// Where operators reach the server.
#[derive(Debug)]
pub enum Door {
    /// A TCP address; requests are checked by the browser rules.
    Tcp(TcpListener),
    /// A Unix socket, which no browser reaches: any `Host` is accepted.
    Unix(UnixListener),
}

/// Serves a node on a listener, and operators at the door, until `stop` is done; then drains: what
/// was taken is answered, what is pending is refused, and sockets are closed with 1012. Fails before it
/// serves anybody if it cannot find out which tokens are revoked.
pub async fn run(
    config: Config,
    node: Arc<Node>,
    public: impl Into<Public>,
    door: Option<Door>,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let (stopping, is_stopping) = watch::channel(false);
    let (drain_guard, mut drained) = mpsc::channel(1);
    let revoking = match config.tokens.clone() {
        Some(tokens) => match RevocationLog::open(node.clone(), tokens).await {
            Ok(log) => Some(log),
            Err(why) => return Err(format!("the revoked tokens cannot be read: {}", why.message)),
        },
        None => None,
    };
    let gateway = Arc::new(Gateway::new(config, node, is_stopping, drain_guard));
    let public = PublicListener { sockets: public.into(), tls: gateway.config.tls.clone() };
    tokio::select! {
        () = keep_tokens(revoking, &gateway) => {}
        never = gateway.follow_limits() => match never {},
        () = accept(&public, Entrance::public(&gateway), &gateway) => {}
        () = accept_operators(door.as_ref(), &gateway) => {}
        () = stop => {}
    }
    drop((public, door));
    stopping.send_replace(true);
    drop(gateway);
    // Nothing is ever sent: this ends when the last task has dropped its guard.
    let _none = drained.recv().await;
    Ok(())
}

/// Applies revocations and reads the keys again from time to time.
async fn keep_tokens(revoking: Option<RevocationLog>, gateway: &Gateway) {
    let (Some(revoking), Some(tokens)) = (revoking, &gateway.config.tokens) else {
        return std::future::pending().await;
    };
    tokio::select! {
        never = revoking.follow() => match never {},
        never = tokens.refresh() => match never {},
    }
}

async fn accept_operators(door: Option<&Door>, gateway: &Arc<Gateway>) {
    match door {
        Some(Door::Tcp(listener)) => {
            accept(listener, Entrance::door(gateway, Rules::Browsers), gateway).await;
        }
        Some(Door::Unix(listener)) => {
            accept(listener, Entrance::door(gateway, Rules::None), gateway).await;
        }
        None => std::future::pending().await,
    }
}

/// What is served to the sockets of a listener, and to how many.
struct Entrance {
    app: TowerToHyperService<Router>,
    sockets: Arc<Semaphore>,
    counted: Option<Arc<Metrics>>,
    scheme: Scheme,
}

impl Entrance {
    fn public(gateway: &Arc<Gateway>) -> Self {
        Self {
            app: TowerToHyperService::new(http::public(gateway.clone())),
            sockets: Arc::new(Semaphore::new(gateway.config.sockets + REFUSED_CONNECTIONS)),
            counted: Some(gateway.config.metrics.clone()),
            scheme: gateway.config.tls.as_ref().map_or(Scheme::Http, |_| Scheme::Https),
        }
    }

    fn door(gateway: &Arc<Gateway>, rules: Rules) -> Self {
        Self {
            app: TowerToHyperService::new(http::door(gateway.clone(), rules)),
            sockets: Arc::new(Semaphore::new(DOOR_SOCKETS)),
            counted: None,
            scheme: Scheme::Http,
        }
    }
}

/// A listener of any kind of socket.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next socket, and its peer's address, if it has one.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, peer) = self.accept().await?;
        // Frames are written in full: waiting to fill a segment would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "no TCP_NODELAY");
        }
        bound_buffers(&stream);
        Ok((stream, Some(peer.ip())))
    }
}

/// The public listener, in the clear or with TLS.
struct PublicListener {
    sockets: Public,
    tls: Option<Arc<Tls>>,
}

impl Accept for PublicListener {
    type Stream = Stream;

    async fn next(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        let listener = match &self.sockets {
            Public::Tcp(listener) => listener,
            Public::Transports(listener) => {
                let (socket, peer) = listener.accept().await?;
                return Ok((Either::Right(Either::Right(TransportStream(socket))), Some(peer)));
            }
        };
        let (stream, peer) = listener.next().await?;
        let stream = match &self.tls {
            Some(tls) => Either::Right(Either::Left(tls.accept(stream)?)),
            None => Either::Left(stream),
        };
        Ok((stream, peer))
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}

async fn accept<L: Accept>(listener: &L, entrance: Entrance, gateway: &Arc<Gateway>) {
    let Entrance { app, sockets, counted, scheme } = entrance;
    let longer_head = gateway.config.limits.header_bytes.saturating_sub(HEAD_BYTES);
    let of_session = if scheme == Scheme::Https { TLS_BYTES } else { 0 };
    let bytes = CONNECTION_BYTES + longer_head + of_session;
    let failures = Episode::default();
    loop {
        let Ok(permit) = sockets.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.next().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the client closed before it was accepted.
                if failures.note_failure() {
                    warn!(%error, "a connection could not be accepted; trying again");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        if let Some(times) = failures.note_success() {
            warn!(times, "connections are accepted again");
        }
        let peer = peer.filter(|_| counted.is_some());
        let of_proxy = peer.is_some_and(|peer| gateway.config.proxies.trusts(peer));
        let client = match peer {
            Some(peer) if of_proxy => Some(gateway.principals.proxy(peer)),
            Some(peer) => gateway.principals.client(peer),
            None => Some(gateway.principals.operator()),
        };
        let Some(client) = client else { continue };
        // Whoever a trusted proxy asks for is charged, and not the proxy.
        let charged = if of_proxy { 0 } else { bytes };
        let permit = SocketPermit::new(permit, client, counted.clone(), (bytes, charged));
        let (app, gateway) = (app.clone(), gateway.clone());
        tokio::spawn(async move {
            match permit {
                Ok(permit) => {
                    let permit = Arc::new(permit);
                    let requests = Requests { app, gateway, permit, scheme, of_proxy };
                    serve(stream, requests).await;
                }
                // A session would have to be held for the answer.
                Err(_place) if scheme == Scheme::Https => {}
                Err(_place) => {
                    if let Some(_refusal) = gateway.principals.refusal() {
                        refuse(stream).await;
                    }
                }
            }
        });
    }
}

/// Bounds what the kernel holds for a socket; by itself it lets it grow to several MiB.
fn bound_buffers(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let bounded = socket.set_send_buffer_size(SEND_BYTES);
    if let Err(error) = bounded.and_then(|()| socket.set_recv_buffer_size(RECEIVE_BYTES)) {
        debug!(%error, "a socket's buffers are not bounded");
    }
}

/// Answers a connection that may not be held, whatever it asks for, and holds nothing for it.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let error = json!({ "error": ErrorFrame::from(holds_too_much()) });
    let body = wire::json(&error);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nretry-after: 1\r\n{}connection: close\r\n\r\n",
        body.len(),
        SAFE_HEADERS.map(|(name, value)| format!("{name}: {value}\r\n")).concat(),
    );
    let answered = async {
        // Some clients take an answer that comes before their request for an error of the protocol; and
        // closing a socket with unread bytes would discard the answer.
        let mut read = [0; 256];
        let _part_of_its_head = stream.read(&mut read).await?;
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        stream.shutdown().await?;
        for _ in 0..REFUSED_READS {
            if stream.read(&mut read).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    let _cut_off = tokio::time::timeout(REFUSED_TIME, answered).await;
}

/// What the requests of one connection have in common.
struct Requests {
    app: TowerToHyperService<Router>,
    gateway: Arc<Gateway>,
    permit: Arc<SocketPermit>,
    scheme: Scheme,
    /// The peer is a trusted proxy.
    of_proxy: bool,
}

impl Requests {
    fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
        let answering = self.permit_of(&request).map(|permit| {
            let scheme = match self.scheme {
                Scheme::Http if self.of_proxy => Proxies::scheme(request.headers()),
                scheme => scheme,
            };
            if scheme != Scheme::Http {
                request.extensions_mut().insert(scheme);
            }
            request.extensions_mut().insert(permit);
            self.app.call(request)
        });
        async move {
            match answering {
                Some(answering) => answering.await,
                None => Ok(wire::refuse(holds_too_much())),
            }
        }
    }

    /// The permit of whoever a request is for; `None` if it must be refused.
    fn permit_of(&self, request: &Request<Incoming>) -> Option<Arc<SocketPermit>> {
        let peer = &self.permit;
        let named = self.of_proxy.then(|| self.gateway.config.proxies.client(request.headers()));
        let permit = match named.flatten() {
            None => peer.clone(),
            Some(address) => {
                // Whether its clients log in is not for the proxy's connection to wait for.
                peer.client.presence.pending.done();
                Arc::new(peer.pass_to(self.gateway.principals.client(address)?)?)
            }
        };
        if !is_websocket(request.headers()) {
            permit.client.presence.pending.done();
        }
        Some(permit)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, requests: Requests) {
    let (gateway, permit) = (requests.gateway.clone(), requests.permit.clone());
    let limits = &gateway.config.limits;
    let head = HeadTimeout::start(limits.handshake_for);
    let (client, timeout) = (permit.client.clone(), head.clone());
    let stream = TimeoutStream::new(stream, limits.idle_for, head.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        head.received();
        let (answer, head) = (requests.answer(request), head.clone());
        async move { Ok::<_, Infallible>(answer.await?.map(|body| head.rest_after(body))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REST_TIME)
        .max_buf_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let until_drained = async {
        tokio::select! {
            served = connection.as_mut() => served,
            () = stopped(gateway.stopping.clone()) => {
                connection.as_mut().graceful_shutdown();
                let drained = tokio::time::timeout(gateway.config.drain, connection).await;
                drained.unwrap_or(Ok(()))
            }
        }
    };
    let served = tokio::select! {
        // First: what is cut off must not look as if it had ended.
        biased;
        () = permit.hung_up() => return,
        () = client.presence.pending.cut() => return debug!("cut: there are newer connections"),
        served = until_drained => served,
    };
    // To hyper a connection that ends before its first byte of HTTP has not failed, late or not.
    if timeout.is_over() {
        client.metrics.limited(Limit::HandshakeMs);
    }
    if let Err(error) = served {
        if error.is_parse_too_large() {
            client.metrics.limited(Limit::HeaderBytes);
        }
        debug!(%error, "a connection ended early");
    }
}
