//! `GET /v1/backup`: the archive as it stands, while the server works.
//!
//! ```text
//!  fold to the head ──► copy ──► manifest, bytes, SHA-256        lines and bytes: `BackupLine`
//! ```
//!
//! Enters: the wish. Leaves: a stream. Invariants: one backup at a time; what waits to be sent is at most
//! [`CHUNKS`] pieces; a client that takes nothing for `idle_ms` is cut; whole is what ends with the
//! SHA-256, and nothing else does.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Response, StatusCode},
};
use bytes::Bytes;
use futures_util::stream;
use roomlog_core::backup::{Backup, BackupError, Copy, Progress};
use roomlog_protocol::{BackupLine, Digest, ErrorCode, ErrorFrame, Refusal};
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Handle, sync::mpsc};

use super::{not_found, refuse, respond};
use crate::{
    gateway::{Gateway, STOPPING, stopped},
    wire,
};

/// What the answer is called.
const CONTENT_TYPE: &str = "application/vnd.roomlog.backup";

/// How many pieces wait for the socket.
const CHUNKS: usize = 4;

/// The bytes of a piece.
const CHUNK_BYTES: usize = 128 << 10;

/// How often it is said how far the copy is.
const SAY_EVERY: Duration = Duration::from_millis(100);

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// What a browser says of the page that asks. An image or a frame of another site comes without `Origin`.
const SITE: &str = "sec-fetch-site";

pub(super) async fn backup(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Response<Body> {
    if headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none") {
        let message = "pages of other sites may not have a backup made";
        return refuse(Refusal::new(ErrorCode::Forbidden, message));
    }
    let Some(engine) = gateway.node.backup().cloned() else {
        return refuse(not_found("this server makes no backups"));
    };
    if *gateway.stopping.borrow() || !gateway.node.is_ready() {
        return refuse(Refusal::new(ErrorCode::Unavailable, STOPPING));
    }
    let Ok(permit) = gateway.backing_up.clone().try_acquire_owned() else {
        let message = "a backup is being made already, and there is one at a time";
        return refuse(Refusal::new(ErrorCode::Busy, message));
    };
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        let _held = (permit, gateway.alive.clone());
        make(&gateway, engine, sender).await;
    });
    let chunks = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    respond(StatusCode::OK, CONTENT_TYPE, Body::from_stream(chunks))
}

/// Makes a backup and sends it. However it ends early, the last line is missing.
async fn make(gateway: &Arc<Gateway>, engine: Arc<dyn Backup>, sender: Sender) {
    let hold = engine.hold();
    let folded = tokio::select! {
        folded = gateway.node.fold_to_head() => folded,
        () = stopped(gateway.stopping.clone()) => return cut(&sender),
        () = sender.closed() => return,
    };
    if let Err(problem) = folded {
        return give_up(gateway, &sender, &BackupError::Failed(problem.to_string())).await;
    }
    let job = Job { gateway: gateway.clone(), sender: sender.clone(), runtime: Handle::current() };
    let made = tokio::task::spawn_blocking(move || {
        let copy = engine.copy(&mut job.told());
        drop(hold);
        copy.map(|copy| job.send(copy))
    });
    match made.await {
        Ok(Ok(Ok(()))) => {
            if let Some(times) = gateway.no_backups.ends() {
                tracing::warn!(failed = times, "a backup was made again");
            }
        }
        Ok(Err(problem)) => give_up(gateway, &sender, &problem).await,
        // It stops, or the client is gone; a panic was printed where it happened.
        Ok(Ok(Err(_))) | Err(_) => cut(&sender),
    }
}

/// Ends the connection in the middle, so that nobody takes what came for all.
fn cut(sender: &Sender) {
    let _full_or_gone = sender.try_send(Err(io::ErrorKind::ConnectionAborted.into()));
}

async fn give_up(gateway: &Gateway, sender: &Sender, problem: &BackupError) {
    let code = match problem {
        BackupError::Ended => return cut(sender),
        BackupError::NoSpace { .. } => ErrorCode::StorageFull,
        BackupError::Failed(_) => ErrorCode::Unavailable,
    };
    if gateway.no_backups.begins() {
        tracing::warn!(%problem, "a backup was not made");
    }
    let error = ErrorFrame::from(Refusal::new(code, problem.to_string()));
    let _gone = sender.send(Ok(line(&BackupLine::Error(Box::new(error))))).await;
}

fn line(line: &BackupLine) -> Bytes {
    let mut text = wire::json(line);
    text.push(b'\n');
    text.into()
}

/// What copies and sends, on a thread that may wait.
struct Job {
    gateway: Arc<Gateway>,
    sender: Sender,
    runtime: Handle,
}

impl Job {
    /// Tells the client how far the copy is; whether to go on.
    fn told(&self) -> impl FnMut(Progress) -> bool {
        let mut said: Option<Instant> = None;
        move |Progress { done, of }| {
            if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                said = Some(Instant::now());
                // One that is full has news to read.
                let _later = self.sender.try_send(Ok(line(&BackupLine::Copying { done, of })));
            }
            !self.sender.is_closed() && !*self.gateway.stopping.borrow()
        }
    }

    fn send(&self, copy: Copy) -> io::Result<()> {
        let Copy { manifest, mut archive } = copy;
        let mut left = manifest.archive_bytes;
        self.put(line(&BackupLine::Manifest(manifest)))?;
        let mut sha = Sha256::new();
        while left > 0 {
            let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
            archive.read_exact(&mut chunk)?;
            sha.update(&chunk);
            left -= chunk.len() as u64;
            self.put(chunk.into())?;
        }
        self.put(line(&BackupLine::Sha256(Digest(sha.finalize().into()))))
    }

    /// Waits for a place in the channel, as long as the server serves and the client reads.
    fn put(&self, chunk: Bytes) -> io::Result<()> {
        let patience = Duration::from_millis(self.gateway.config.limits.idle_ms);
        self.runtime.block_on(async {
            tokio::select! {
                sent = tokio::time::timeout(patience, self.sender.send(Ok(chunk))) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                },
                () = stopped(self.gateway.stopping.clone()) => {
                    Err(io::ErrorKind::ConnectionAborted.into())
                }
            }
        })
    }
}
