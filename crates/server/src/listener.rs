//! The listener: accepts sockets, a task each, until the server stops; then drains them.
//!
//! Enters: a listener, a node, a signal to stop. Leaves: a drained listener. Invariants: at most
//! `sockets` are served concurrently, the others wait to be accepted; when [`run`] returns, every
//! append that was taken is answered, or its socket was closed after `drain`.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

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
use roomlog_core::{Node, episode::Episode};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
};
use tracing::{debug, warn};

use crate::{
    gateway::{Config, Gateway, SocketPermit, stopped},
    http,
    timeouts::{HeadTimeout, REST_TIME, TimeoutStream},
};

/// The most bytes of the head of a request.
const HEAD_BYTES: usize = 16 << 10;

/// How long to wait before accepting again after a failure, as without a free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves a node on a listener until `stop` is done, then drains: what was taken is answered, what
/// is pending is refused, and sockets are closed with 1012.
pub async fn run(
    config: Config,
    node: Arc<Node>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) {
    let (stopping, is_stopping) = watch::channel(false);
    let (drain_guard, mut drained) = mpsc::channel(1);
    let gateway = Arc::new(Gateway::new(config, node, is_stopping, drain_guard));
    tokio::select! {
        () = accept(&listener, &gateway) => {}
        () = stop => {}
    }
    drop(listener);
    stopping.send_replace(true);
    drop(gateway);
    // Nothing is ever sent: this ends when the last task has dropped its guard.
    let _none = drained.recv().await;
}

async fn accept(listener: &TcpListener, gateway: &Arc<Gateway>) {
    let sockets = Arc::new(Semaphore::new(gateway.config.sockets));
    let app = TowerToHyperService::new(http::app(gateway.clone()));
    let failures = Episode::default();
    loop {
        let Ok(permit) = sockets.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
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
        // Frames are written in full: waiting to fill a segment would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "no TCP_NODELAY");
        }
        let (app, gateway) = (app.clone(), gateway.clone());
        tokio::spawn(async move {
            let client = gateway.principals.client(peer.ip());
            let metrics = gateway.config.metrics.clone();
            let permit = Arc::new(SocketPermit::new(permit, client, metrics));
            serve(stream, app, &gateway, permit).await;
        });
    }
}

async fn serve(
    stream: TcpStream,
    app: TowerToHyperService<axum::Router>,
    gateway: &Gateway,
    permit: Arc<SocketPermit>,
) {
    let head = HeadTimeout::start();
    let stream = TimeoutStream::new(stream, gateway.config.limits.idle_for, head.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        head.received();
        request.extensions_mut().insert(permit.clone());
        let (answer, head) = (app.call(request), head.clone());
        async move { Ok::<_, Infallible>(answer.await?.map(|body| head.rest_after(body))) }
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
