//! A server that appends, fdatasyncs and answers, and nothing else: what no log does better over sockets.
//!
//! ```text
//!  a task per connection ──append──► one thread: all that waits is one write and one fdatasync
//!           ▲                                    │
//!           └──────────────ack───────────────────┘
//! ```
//!
//! Enters: frames of authors. Leaves: `appended` with the `req` of each. Invariant: an append is answered
//! when its bytes are on stable storage; nothing is checked, ordered, kept in memory or indexed.

use std::{io, net::SocketAddr, path::PathBuf, thread};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
    routing::get,
    serve::ListenerExt,
};
use futures_util::SinkExt;
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::mpsc,
};

use crate::{
    disk::Bare,
    places::{GO_FIRST, take_place},
};

/// Appends that wait for the disk at most; then sockets are not read.
const WAIT: usize = 4096;

/// Answers that wait for a connection at most: as many as an author has appends in flight.
const ANSWERS: usize = 256;

/// An append as far as this server reads it.
#[derive(Deserialize)]
struct Frame<'a> {
    r#type: &'a str,
    req: Option<usize>,
}

/// An append that waits for the disk.
struct Append {
    author: mpsc::Sender<usize>,
    req: usize,
    bytes: usize,
}

/// The server.
pub(super) struct Plain {
    pub(super) addr: SocketAddr,
    runtime: Runtime,
    writer: thread::JoinHandle<io::Result<()>>,
}

impl Plain {
    /// Serves on a free port of the loopback interface, with its file in `dir`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(super) fn start(dir: PathBuf) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let addr = listener.local_addr()?;
        let (appends, taken) = mpsc::channel(WAIT);
        let writer = thread::spawn(move || write(dir, taken));
        let app = Router::new().route("/v1/ws", get(upgrade)).with_state(appends);
        let listener = listener.tap_io(|tcp| {
            let _slower_then = tcp.set_nodelay(true);
        });
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { addr, runtime, writer })
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the disk gave.
    pub(super) fn stop(self) -> io::Result<()> {
        self.runtime.shutdown_background();
        self.writer.join().map_err(|_| io::Error::other("the writer panicked"))?
    }
}

/// Makes appends durable until there are no more.
fn write(dir: PathBuf, mut appends: mpsc::Receiver<Append>) -> io::Result<()> {
    take_place(GO_FIRST);
    let (mut file, mut taken) = (Bare::new(&dir)?, Vec::new());
    while appends.blocking_recv_many(&mut taken, WAIT) > 0 {
        file.append(taken.iter().map(|append| append.bytes).sum())?;
        for Append { author, req, .. } in taken.drain(..) {
            let _or_it_has_gone = author.blocking_send(req);
        }
    }
    Ok(())
}

async fn upgrade(
    State(appends): State<mpsc::Sender<Append>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async |socket| {
        let _it_has_gone = connection(socket, appends).await;
    })
}

/// Serves an author until it goes.
async fn connection(
    mut socket: WebSocket,
    appends: mpsc::Sender<Append>,
) -> Result<(), axum::Error> {
    let (author, mut acks) = mpsc::channel(ANSWERS);
    let mut ready = Vec::new();
    loop {
        tokio::select! {
            count = acks.recv_many(&mut ready, ANSWERS) => {
                for req in ready.drain(..count) {
                    socket.feed(Message::text(format!(r#"{{"type":"appended","req":{req}}}"#))).await?;
                }
                socket.flush().await?;
            }
            message = socket.recv() => {
                let Some(message) = message else { return Ok(()) };
                let Message::Text(text) = message? else { continue };
                let frame: Frame<'_> = serde_json::from_str(&text).map_err(axum::Error::new)?;
                if frame.r#type == "login" {
                    socket.send(Message::text(r#"{"type":"hello"}"#)).await?;
                    socket.send(Message::text(r#"{"type":"welcome"}"#)).await?;
                    continue;
                }
                let Some(req) = frame.req else { return Ok(()) };
                let append = Append { author: author.clone(), req, bytes: text.len() };
                if appends.send(append).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
