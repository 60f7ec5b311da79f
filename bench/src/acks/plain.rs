//! The floor of `acks`: a server that appends, syncs and answers, and does nothing else.
//!
//! ```text
//!  a task per connection ──append──► one thread: all pending appends in one write, one fdatasync
//!           ▲                                    │
//!           └──────────────ack───────────────────┘
//! ```
//!
//! Enters: frames of authors. Leaves: `appended` with the `req` of each. Invariant: an append is
//! answered when its bytes are on stable storage; nothing is checked, ordered, cached or indexed.

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

use crate::disk::SyncedFile;

/// The nice value that `serve` gives to the thread that writes the journal.
const WRITER_NICE: i32 = -10;

/// Limit on appends that wait for the disk; sockets are not read beyond it.
const PENDING: usize = 4096;

/// Limit on answers that wait for a connection: as many as an author can have in flight.
const ANSWERS: usize = 256;

/// The fields of a frame that matter here.
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
pub(super) struct PlainServer {
    pub(super) addr: SocketAddr,
    runtime: Runtime,
    writer: thread::JoinHandle<io::Result<()>>,
}

impl PlainServer {
    /// Listens on a free port of the loopback interface, with its file in `dir`.
    pub(super) fn start(dir: PathBuf) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let addr = listener.local_addr()?;
        let (appends, pending) = mpsc::channel(PENDING);
        let writer = thread::spawn(move || write(dir, pending));
        let app = Router::new().route("/v1/ws", get(upgrade)).with_state(appends);
        let listener = listener.tap_io(|tcp| {
            // Slower, not wrong, if this fails.
            let _ = tcp.set_nodelay(true);
        });
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { addr, runtime, writer })
    }

    /// Stops it.
    pub(super) fn stop(self) -> io::Result<()> {
        self.runtime.shutdown_background();
        self.writer.join().map_err(|_| io::Error::other("the writer panicked"))?
    }
}

/// Makes appends durable until the channel is closed.
fn write(dir: PathBuf, mut appends: mpsc::Receiver<Append>) -> io::Result<()> {
    let thread = Some(rustix::thread::gettid());
    // Needs a privilege; without it `serve` keeps its priority as well.
    let _ = rustix::process::setpriority_process(thread, WRITER_NICE);
    let (mut file, mut batch) = (SyncedFile::new(&dir)?, Vec::new());
    while appends.blocking_recv_many(&mut batch, PENDING) > 0 {
        file.append(batch.iter().map(|append| append.bytes).sum())?;
        for Append { author, req, .. } in batch.drain(..) {
            // Fails if the author has disconnected.
            let _ = author.blocking_send(req);
        }
    }
    Ok(())
}

async fn upgrade(
    State(appends): State<mpsc::Sender<Append>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async |socket| {
        // Its errors are the author's to notice.
        let _ = connection(socket, appends).await;
    })
}

/// Serves an author until it disconnects.
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
                    let text = format!(r#"{{"type":"appended","req":{req}}}"#);
                    socket.feed(Message::text(text)).await?;
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
