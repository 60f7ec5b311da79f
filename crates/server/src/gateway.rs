//! The listener: sockets in, one task each, until the server stops; then all of them to their end.
//!
//! Enters: a listener, a node, a signal to stop. Leaves: nothing but a drained listener. Invariants: at
//! most `sockets` are served at once, the others wait to be accepted; when [`run`] returns, every
//! append that was taken is answered or its socket was cut after `drain`.

use std::{
    convert::Infallible,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use roomlog_core::{
    Node,
    archive::ArchiveError,
    episode::Episode,
    head::Head,
    lane::LaneLimits,
    reader::{Page, PageLimits, ReadError},
};
use roomlog_protocol::{Digest, Hello, PROTOCOL_VERSION, RoomName, ServerFrame, Span};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tracing::{debug, error, warn};

use crate::{
    Config, Metrics,
    guard::Guard,
    head_clock::{HeadClock, REST_TIME},
    http,
    patient::Patient,
    wire,
};

/// The most bytes of the head of a request.
const HEAD_BYTES: usize = 16 << 10;

/// How long to wait before accepting again when the system has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What all connections share.
pub(crate) struct Gateway {
    pub(crate) node: Arc<Node>,
    pub(crate) config: Config,
    pub(crate) guard: Guard,
    pub(crate) hello: Bytes,
    pub(crate) stopping: watch::Receiver<bool>,
    /// Held by every task that serves a socket: the server has drained when all are gone.
    pub(crate) alive: mpsc::Sender<()>,
    /// The right to have a backup made: one at a time.
    pub(crate) backing_up: Arc<Semaphore>,
    /// A permit for each byte of the batches that are held at once.
    pub(crate) batches: Arc<Semaphore>,
    /// The newest pages, as they were answered.
    pub(crate) newest: http::Newest,
    /// What is wrong with the archive when it is read, and with backups.
    unreadable: Episode,
    pub(crate) no_backups: Episode,
}

impl Gateway {
    /// Says that something of the archive cannot be read, once until it can be.
    pub(crate) fn note_unreadable(&self, problem: &ArchiveError) {
        if self.unreadable.begins() {
            error!(%problem, "the archive cannot be read: those who ask are answered `unavailable`");
        }
    }

    fn note_readable(&self) {
        if let Some(times) = self.unreadable.ends() {
            warn!(failed = times, "reads of the archive succeed again");
        }
    }

    pub(crate) fn lane_limits(&self) -> LaneLimits {
        let limits = &self.config.limits;
        LaneLimits {
            early: usize::try_from(limits.seq_wait).unwrap_or(usize::MAX),
            early_for: Duration::from_millis(limits.seq_wait_ms),
            ahead_for: self.ahead_for(),
        }
    }

    pub(crate) fn page_limits(&self) -> PageLimits {
        let limits = &self.config.limits;
        let bytes = usize::try_from(limits.page_bytes).unwrap_or(usize::MAX);
        PageLimits { entries: limits.page_entries, bytes }
    }

    /// Reads a page, and notes how long that took.
    pub(crate) async fn page(
        &self,
        room: &RoomName,
        span: Span,
        digest: Option<Digest>,
        limits: PageLimits,
    ) -> Result<Page, ReadError> {
        let begun = Instant::now();
        let page = self.node.read(room, span, digest, limits).await;
        self.config.metrics.page(begun.elapsed());
        match &page {
            Err(ReadError::Archive(problem)) => self.note_unreadable(problem),
            _ => self.note_readable(),
        }
        page
    }

    /// Lists rooms in byte order, on a thread that may wait for the disk.
    pub(crate) async fn room_heads(
        &self,
        after: Option<RoomName>,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        let node = self.node.clone();
        let listed = tokio::task::spawn_blocking(move || node.room_heads(after.as_ref(), limit));
        let cut_off = |_| Err(ArchiveError::Failed("a read was cut off".into()));
        let heads = listed.await.unwrap_or_else(cut_off);
        match &heads {
            Err(problem) => self.note_unreadable(problem),
            Ok(_) => self.note_readable(),
        }
        heads
    }

    pub(crate) fn ahead_for(&self) -> Duration {
        Duration::from_millis(self.config.limits.ahead_ms)
    }

    /// How long a client may take nothing, and a body nothing may come of.
    pub(crate) fn idle_for(&self) -> Duration {
        Duration::from_millis(self.config.limits.idle_ms)
    }

    pub(crate) fn append_for(&self) -> Duration {
        Duration::from_millis(self.config.limits.append_ms)
    }
}

fn hello(config: &Config, node: &Node) -> Bytes {
    wire::server_frame(&ServerFrame::Hello(Hello {
        protocol: PROTOCOL_VERSION,
        server: config.server.clone(),
        log: node.log().into(),
        auth: "open".into(),
        durability: config.durability.into(),
        limits: config.limits.clone(),
    }))
}

/// Serves a node on a listener until `stop` is done, then drains: what was taken is answered, what
/// waits is turned away, and sockets are closed with 1012.
pub async fn run(
    config: Config,
    node: Arc<Node>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) {
    let (stopping, is_stopping) = watch::channel(false);
    let (alive, mut all_gone) = mpsc::channel(1);
    let sockets = Arc::new(Semaphore::new(config.sockets));
    let gateway = Arc::new(Gateway {
        hello: hello(&config, &node),
        guard: Guard::new(&config.origins),
        batches: Arc::new(Semaphore::new(config.batches_bytes.min(Semaphore::MAX_PERMITS))),
        config,
        node,
        stopping: is_stopping,
        alive,
        backing_up: Arc::new(Semaphore::new(1)),
        newest: http::Newest::default(),
        unreadable: Episode::default(),
        no_backups: Episode::default(),
    });
    tokio::select! {
        () = accept(&listener, &gateway, &sockets) => {}
        () = stop => {}
    }
    drop(listener);
    stopping.send_replace(true);
    drop(gateway);
    // Nothing is ever sent: this ends when the last task is gone.
    let _none = all_gone.recv().await;
}

async fn accept(listener: &TcpListener, gateway: &Arc<Gateway>, sockets: &Arc<Semaphore>) {
    let app = TowerToHyperService::new(http::app(gateway.clone()));
    let refused = Episode::default();
    loop {
        let Ok(permit) = sockets.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a client that was gone before it was accepted.
                if refused.begins() {
                    warn!(%error, "a connection could not be accepted; it is tried again");
                }
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if let Some(times) = refused.ends() {
            warn!(times, "connections are accepted again");
        }
        // Frames are written whole: waiting to fill a segment would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "no TCP_NODELAY");
        }
        let (app, gateway) = (app.clone(), gateway.clone());
        tokio::spawn(async move {
            let served = Served::new(permit, gateway.config.metrics.clone());
            serve(stream, app, &gateway, Arc::new(served)).await;
        });
    }
}

/// What is said to those whose append or read the stop of the server turns away.
pub(crate) const STOPPING: &str = "the server stops; send it again when it is back";

/// Done when the server stops.
pub(crate) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error says that whoever could stop it is gone: it stops too.
    let _stopping = stopping.wait_for(|stopping| *stopping).await.is_ok();
}

type App = TowerToHyperService<axum::Router>;

/// A permit to be one of the sockets that are served: it goes with the socket when it is upgraded.
pub(crate) type Permit = Arc<Served>;

pub(crate) struct Served {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Served {
    fn new(permit: OwnedSemaphorePermit, metrics: Arc<Metrics>) -> Self {
        metrics.sockets.inc();
        Self { _permit: permit, metrics }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.metrics.sockets.dec();
    }
}

async fn serve(stream: TcpStream, app: App, gateway: &Gateway, permit: Permit) {
    let clock = HeadClock::start();
    let stream = Patient::new(stream, gateway.idle_for(), clock.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        clock.request_came();
        request.extensions_mut().insert(permit.clone());
        let (answer, clock) = (app.call(request), clock.clone());
        async move { Ok::<_, Infallible>(answer.await?.map(|body| clock.until_the_end_of(body))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REST_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopped(gateway.stopping.clone()) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(gateway.config.drain, connection).await {
                Ok(served) => served,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = served {
        debug!(%error, "a connection ended early");
    }
}
