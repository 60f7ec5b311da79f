//! `GET /v1/backup`: a copy of the archive while the server works.
//!
//! ```text
//!  fold to the head ──► copy ──► manifest, bytes, SHA-256        lines and bytes: `BackupLine`
//! ```
//!
//! Enters: a request. Leaves: a stream. Invariants: one backup at a time; the trim pauses only while
//! the archive is copied, which waits for no client; at most [`CHUNKS`] pieces are queued; a client
//! that reads nothing for `idle_ms`, or is `idle_ms` behind [`LEAST_RATE`], is cut off, and every
//! backup after [`LONGEST`]; only a backup that ends with the SHA-256 is complete.

use std::{
    convert::Infallible,
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Response, StatusCode},
};
use bytes::Bytes;
use futures_util::stream;
use roomlog_core::backup::{self, Backup, BackupError, Progress};
use roomlog_protocol::{BackupLine, Digest, ErrorCode, ErrorFrame, Refusal};
use sha2::{Digest as _, Sha256};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracing::warn;

use crate::{
    gateway::{Gateway, STOPPING, SocketPermit, stopped},
    wire::{self, not_found, refuse, respond},
};

const CONTENT_TYPE: &str = "application/vnd.roomlog.backup";

const CHUNKS: usize = 4;

const CHUNK_BYTES: usize = 128 << 10;

/// The least bytes per second that a client has to read, on average: it holds the one place, and
/// disk space for the copy.
const LEAST_RATE: u64 = 256 << 10;

/// How long a backup may take, from the request to its last byte.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How a browser marks the site of a request: an image or a frame of another site has no `Origin`.
const SITE: &str = "sec-fetch-site";

type ChunkSender = mpsc::Sender<Bytes>;

pub(super) async fn backup(
    State(gateway): State<Arc<Gateway>>,
    Extension(socket): Extension<Arc<SocketPermit>>,
    method: Method,
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
    if method == Method::HEAD {
        let none = stream::empty::<Result<Bytes, Infallible>>();
        return respond(StatusCode::OK, CONTENT_TYPE, Body::from_stream(none));
    }
    let Ok(permit) = gateway.backup_permits.clone().try_acquire_owned() else {
        let message = "a backup is already running; the server runs one at a time: try again when \
                       it has ended";
        return refuse(Refusal::new(ErrorCode::Busy, message));
    };
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        let _held = (permit, gateway.drain_guard.clone());
        if make(&gateway, engine, &sender).await.is_err() {
            // So that nobody takes a part for a complete backup, and what a slow client has not
            // taken keeps no socket.
            socket.hang_up();
        }
    });
    let chunks = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        receiver.recv().await.map(|chunk| (Ok::<_, Infallible>(chunk), receiver))
    });
    respond(StatusCode::OK, CONTENT_TYPE, Body::from_stream(chunks))
}

/// A backup that ended before its last line, for a reason that its client cannot be sent.
struct CutShort;

/// Makes a backup and sends it, or why there is none.
async fn make(
    gateway: &Arc<Gateway>,
    engine: Arc<dyn Backup>,
    sender: &ChunkSender,
) -> Result<(), CutShort> {
    let ends_by = Instant::now() + LONGEST;
    let hold = engine.hold();
    let folded = tokio::select! {
        folded = timeout_at(ends_by, gateway.node.fold_to_head()) => folded,
        () = stopped(gateway.stopping.clone()) => return Err(CutShort),
        () = sender.closed() => return Err(CutShort),
    };
    match folded {
        Ok(Ok(_)) => {}
        Ok(Err(problem)) => {
            return fail(gateway, sender, &BackupError::Failed(problem.to_string())).await;
        }
        Err(_) => return Err(CutShort),
    }
    let (gateway_of_task, runtime) = (gateway.clone(), Handle::current());
    let task = BackupTask { gateway: gateway_of_task, sender: sender.clone(), runtime, ends_by };
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
            Ok(())
        }
        Ok(Ok(Err(why))) => {
            if why.kind() == io::ErrorKind::TimedOut && gateway.backup_failures.note_failure() {
                warn!("a backup was cut off: {why}");
            }
            Err(CutShort)
        }
        Ok(Err(problem)) => fail(gateway, sender, &problem).await,
        // A panic was printed where it happened.
        Err(_) => Err(CutShort),
    }
}

async fn fail(
    gateway: &Gateway,
    sender: &ChunkSender,
    problem: &BackupError,
) -> Result<(), CutShort> {
    let code = match problem {
        // The server stops, the client has closed, or it took too long.
        BackupError::Ended => return Err(CutShort),
        BackupError::NoSpace { .. } => ErrorCode::StorageFull,
        BackupError::Failed(_) => ErrorCode::Unavailable,
    };
    if gateway.backup_failures.note_failure() {
        warn!(%problem, "a backup failed");
    }
    let error = ErrorFrame::from(Refusal::new(code, problem.to_string()));
    sender.send(line(&BackupLine::Error(Box::new(error)))).await.map_err(|_| CutShort)
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
    ends_by: Instant,
}

impl BackupTask {
    /// Sends the progress of the copy to the client; returns whether to go on.
    fn progress(&self) -> impl FnMut(Progress) -> bool {
        let mut sent: Option<Instant> = None;
        move |Progress { done, of }| {
            if sent.is_none_or(|sent| sent.elapsed() >= PROGRESS_EVERY) {
                sent = Some(Instant::now());
                // A full channel has newer lines to read first.
                let _full = self.sender.try_send(line(&BackupLine::Copying { done, of }));
            }
            let is_wanted = !self.sender.is_closed() && !*self.gateway.stopping.borrow();
            is_wanted && Instant::now() < self.ends_by
        }
    }

    fn send_copy(&self, copy: backup::ArchiveCopy) -> io::Result<()> {
        let backup::ArchiveCopy { manifest, mut archive } = copy;
        let (begun, mut sent, all) = (Instant::now(), 0, manifest.archive_bytes);
        let due = |sent: u64| {
            let at_least_rate = Duration::from_millis(sent.saturating_mul(1_000) / LEAST_RATE);
            self.ends_by.min(begun + self.gateway.config.limits.idle_for + at_least_rate)
        };
        self.send(line(&BackupLine::Manifest(manifest)), due(0))?;
        let mut sha = Sha256::new();
        while sent < all {
            let left = usize::try_from(all - sent).unwrap_or(CHUNK_BYTES);
            let mut chunk = vec![0; CHUNK_BYTES.min(left)];
            archive.read_exact(&mut chunk)?;
            sha.update(&chunk);
            let bytes = chunk.len() as u64;
            self.send(chunk.into(), due(sent))?;
            sent += bytes;
        }
        self.send(line(&BackupLine::Sha256(Digest(sha.finalize().into()))), due(sent))
    }

    /// Waits for space in the channel: until the server stops, the client has read nothing for
    /// `idle_ms`, or it is `due`, when the client is too slow.
    fn send(&self, chunk: Bytes, due: Instant) -> io::Result<()> {
        let due = due.min(Instant::now() + self.gateway.config.limits.idle_for);
        let slow = || io::Error::new(io::ErrorKind::TimedOut, "its client reads too slowly");
        self.runtime.block_on(async {
            tokio::select! {
                sent = timeout_at(due, self.sender.send(chunk)) => {
                    sent.map_err(|_| slow())?.map_err(|_| io::ErrorKind::BrokenPipe.into())
                }
                () = stopped(self.gateway.stopping.clone()) => {
                    Err(io::ErrorKind::ConnectionAborted.into())
                }
            }
        })
    }
}
