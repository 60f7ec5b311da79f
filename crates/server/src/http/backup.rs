//! `GET /v1/backup`: a copy of the archive while the server works.
//!
//! ```text
//!  fold to the head ──► copy ──► manifest, bytes, SHA-256        lines and bytes: `BackupLine`
//! ```
//!
//! Enters: a request. Leaves: a stream. Invariants: one backup at a time; at most [`CHUNKS`] pieces
//! are queued; a client that reads nothing for `idle_ms` is cut off; only a backup that ends with
//! the SHA-256 is complete.

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
use roomlog_core::backup::{self, Backup, BackupError, Progress};
use roomlog_protocol::{BackupLine, Digest, ErrorCode, ErrorFrame, Refusal};
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};
use tracing::warn;

use crate::{
    gateway::{Gateway, STOPPING, stopped},
    wire::{self, not_found, refuse, respond},
};

const CONTENT_TYPE: &str = "application/vnd.roomlog.backup";

const CHUNKS: usize = 4;

const CHUNK_BYTES: usize = 128 << 10;

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How a browser marks the site of a request: an image or a frame of another site has no `Origin`.
const SITE: &str = "sec-fetch-site";

type ChunkSender = mpsc::Sender<io::Result<Bytes>>;

pub(super) async fn backup(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Response<Body> {
    if headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none") {
        let message = "pages of other sites may not request a backup";
        return refuse(Refusal::new(ErrorCode::Forbidden, message));
    }
    let Some(engine) = gateway.node.backup().cloned() else {
        return refuse(not_found("this server makes no backups"));
    };
    if *gateway.stopping.borrow() || !gateway.node.is_ready() {
        return refuse(Refusal::new(ErrorCode::Unavailable, STOPPING));
    }
    let Ok(permit) = gateway.backup_permits.clone().try_acquire_owned() else {
        let message = "a backup is already running; the server runs one at a time";
        return refuse(Refusal::new(ErrorCode::Busy, message));
    };
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        let _held = (permit, gateway.drain_guard.clone());
        make(&gateway, engine, sender).await;
    });
    let chunks = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    respond(StatusCode::OK, CONTENT_TYPE, Body::from_stream(chunks))
}

/// Makes a backup and sends it. However it ends early, the last line is missing.
async fn make(gateway: &Arc<Gateway>, engine: Arc<dyn Backup>, sender: ChunkSender) {
    let hold = engine.hold();
    let folded = tokio::select! {
        folded = gateway.node.fold_to_head() => folded,
        () = stopped(gateway.stopping.clone()) => return abort(&sender),
        () = sender.closed() => return,
    };
    if let Err(problem) = folded {
        return fail(gateway, &sender, &BackupError::Failed(problem.to_string())).await;
    }
    let task =
        BackupTask { gateway: gateway.clone(), sender: sender.clone(), runtime: Handle::current() };
    let made = tokio::task::spawn_blocking(move || {
        let copy = engine.copy(&mut task.progress());
        drop(hold);
        copy.map(|copy| task.send_copy(copy))
    });
    match made.await {
        Ok(Ok(Ok(()))) => {
            if let Some(times) = gateway.backup_failures.note_success() {
                warn!(failed = times, "backups succeed again");
            }
        }
        Ok(Err(problem)) => fail(gateway, &sender, &problem).await,
        // The server stops, or the client has closed; a panic was printed where it happened.
        Ok(Ok(Err(_))) | Err(_) => abort(&sender),
    }
}

/// Breaks the connection, so that nobody takes a partial backup for a complete one.
fn abort(sender: &ChunkSender) {
    let _full_or_closed = sender.try_send(Err(io::ErrorKind::ConnectionAborted.into()));
}

async fn fail(gateway: &Gateway, sender: &ChunkSender, problem: &BackupError) {
    let code = match problem {
        BackupError::Ended => return abort(sender),
        BackupError::NoSpace { .. } => ErrorCode::StorageFull,
        BackupError::Failed(_) => ErrorCode::Unavailable,
    };
    if gateway.backup_failures.note_failure() {
        warn!(%problem, "a backup failed");
    }
    let error = ErrorFrame::from(Refusal::new(code, problem.to_string()));
    let _closed = sender.send(Ok(line(&BackupLine::Error(Box::new(error))))).await;
}

fn line(line: &BackupLine) -> Bytes {
    let mut text = wire::json(line);
    text.push(b'\n');
    text.into()
}

/// Copies and sends, on a thread that may block.
struct BackupTask {
    gateway: Arc<Gateway>,
    sender: ChunkSender,
    runtime: Handle,
}

impl BackupTask {
    /// Sends the progress of the copy to the client; returns whether to go on.
    fn progress(&self) -> impl FnMut(Progress) -> bool {
        let mut sent: Option<Instant> = None;
        move |Progress { done, of }| {
            if sent.is_none_or(|sent| sent.elapsed() >= PROGRESS_EVERY) {
                sent = Some(Instant::now());
                // A full channel has newer lines to read first.
                let _full = self.sender.try_send(Ok(line(&BackupLine::Copying { done, of })));
            }
            !self.sender.is_closed() && !*self.gateway.stopping.borrow()
        }
    }

    fn send_copy(&self, copy: backup::ArchiveCopy) -> io::Result<()> {
        let backup::ArchiveCopy { manifest, mut archive } = copy;
        let mut left = manifest.archive_bytes;
        self.send(line(&BackupLine::Manifest(manifest)))?;
        let mut sha = Sha256::new();
        while left > 0 {
            let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
            archive.read_exact(&mut chunk)?;
            sha.update(&chunk);
            left -= chunk.len() as u64;
            self.send(chunk.into())?;
        }
        self.send(line(&BackupLine::Sha256(Digest(sha.finalize().into()))))
    }

    /// Waits for space in the channel, until the server stops or the client is idle for too long.
    fn send(&self, chunk: Bytes) -> io::Result<()> {
        let idle_for = self.gateway.config.limits.idle_for;
        let is_sent = self.runtime.block_on(async {
            tokio::select! {
                sent = timeout(idle_for, self.sender.send(Ok(chunk))) => matches!(sent, Ok(Ok(()))),
                () = stopped(self.gateway.stopping.clone()) => false,
            }
        });
        if is_sent { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }
}
