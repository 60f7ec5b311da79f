//! What all connections share: the node, the limits, and permits for what is bounded.
//!
//! Enters: a [`Config`] and a node. Leaves: pages and heads of rooms, limits, permits. Invariant:
//! an archive that cannot be read is logged once per episode, however many requests fail.

use std::{
    convert::Infallible,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::RwLock;
use roomlog_auth::Access;
use roomlog_core::{
    Node,
    archive::ArchiveError,
    budget::{Account, Charge},
    episode::Episode,
    head::Head,
    lane::LaneLimits,
    reader::{Page, PageLimits, ReadError},
    tail::Tail,
};
use roomlog_protocol::{Digest, ErrorCode, Refusal, RoomName, RoomRange, Span};
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tracing::{error, warn};

use crate::{
    auth::rights::LastCaller,
    config::{Config, fitted},
    metrics::Metrics,
    page_cache::PageCache,
    principals::{Client, Principals, ReadTurns},
    wire,
};

/// The answer to an append or a read that shutdown interrupts.
pub(crate) const STOPPING: &str = "the server is shutting down; send it again when it is back";

/// How long nothing is read from a client after one of its appends was `busy` or `storage_full`. It has
/// to wait for longer (`retry_after_ms`); one that does not may not cost the others the time to parse
/// what it sends.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How many pages of lists of rooms are read concurrently.
const LISTS: usize = 1;

/// The cache of pages has this part of the budget, up to [`PageCache`]'s own limit.
const CACHE_SHARE: usize = 8;

pub(crate) struct Gateway {
    pub(crate) node: Arc<Node>,
    pub(crate) config: Config,
    hello: RwLock<Bytes>,
    pub(crate) stopping: watch::Receiver<bool>,
    /// Where all but the connections that mostly append are served.
    pub(crate) runtime: Handle,
    /// Cloned by every task that serves a socket: the server has drained when all are dropped.
    pub(crate) drain_guard: mpsc::Sender<()>,
    pub(crate) backup_permits: Arc<Semaphore>,
    pub(crate) page_cache: PageCache,
    pub(crate) principals: Principals,
    list_permits: Arc<Semaphore>,
    read_failures: Episode,
    damages: Episode,
    pub(crate) backup_failures: Episode,
}

impl Gateway {
    pub(crate) fn new(
        config: Config,
        node: Arc<Node>,
        stopping: watch::Receiver<bool>,
        drain_guard: mpsc::Sender<()>,
    ) -> Self {
        let hello = config.hello(node.log(), config.limits.clone()).into();
        let memory = Account::budget(config.memory_bytes);
        let page_cache = PageCache::new(config.memory_bytes / CACHE_SHARE);
        let principals = Principals::new(
            (node.append_budget(), memory),
            &config.limits,
            (config.sockets, config.batch_bytes),
            config.metrics.clone(),
        );
        Self {
            node,
            config,
            principals,
            hello,
            stopping,
            runtime: Handle::current(),
            drain_guard,
            backup_permits: Arc::new(Semaphore::new(1)),
            page_cache,
            list_permits: Arc::new(Semaphore::new(LISTS)),
            read_failures: Episode::default(),
            damages: Episode::default(),
            backup_failures: Episode::default(),
        }
    }

    /// The first frame of a connection.
    pub(crate) fn hello(&self) -> Bytes {
        self.hello.read().clone()
    }

    /// Applies new limits as they come.
    pub(crate) async fn follow_limits(&self) -> Infallible {
        let mut new = self.config.new_limits.clone();
        while new.changed().await.is_ok() {
            let limits = self.config.limits.clone().with_live(&new.borrow_and_update());
            let limits = fitted(limits, self.config.sockets);
            self.principals.set_limits(&limits);
            *self.hello.write() = self.config.hello(self.node.log(), limits);
        }
        // There will be none.
        pending().await
    }

    /// Logs that the archive cannot be read, once until it can be; that it is damaged, once.
    fn note_unreadable(&self, problem: &ArchiveError) {
        if matches!(problem, ArchiveError::Damaged { .. }) {
            // That other rooms can be read does not heal it.
            if self.damages.note_failure() {
                error!(%problem, "what is damaged is answered `unavailable`; all else can be read");
            }
        } else if self.read_failures.note_failure() {
            error!(%problem, "the archive cannot be read; requests are answered `unavailable`");
        }
    }

    fn note_read(&self, failure: Option<&ArchiveError>) {
        if let Some(problem) = failure {
            self.note_unreadable(problem);
        } else if let Some(times) = self.read_failures.note_success() {
            warn!(failed = times, "the archive can be read again");
        }
    }

    fn or_refusal<T>(&self, read: Result<T, ArchiveError>) -> Result<T, Refusal> {
        read.inspect_err(|problem| self.note_unreadable(problem)).map_err(|it| unreadable(&it))
    }

    /// The tail of a room.
    pub(crate) fn tail(&self, room: &RoomName) -> Result<Arc<Tail>, Refusal> {
        self.or_refusal(self.node.tail(room))
    }

    /// The head of a room.
    pub(crate) fn head(&self, room: &RoomName) -> Result<Head, Refusal> {
        self.or_refusal(self.node.head(room))
    }

    pub(crate) fn lane_limits(&self) -> LaneLimits {
        let limits = &self.config.limits;
        LaneLimits {
            early: limits.seq_wait,
            early_for: limits.seq_wait_for,
            ahead_for: limits.ahead_for,
        }
    }

    pub(crate) fn page_limits(&self) -> PageLimits {
        let limits = &self.config.limits;
        PageLimits { entries: limits.page_entries as u64, bytes: limits.page_bytes }
    }

    /// The largest page of at most `most` entries that `account` may hold now.
    pub(crate) fn grant_page(&self, account: &Account, most: usize) -> PageGrant {
        let limits = &self.config.limits;
        let most = most.min(limits.page_entries);
        let longest = limits.body_bytes + limits.meta_bytes;
        let bytes = limits.page_bytes.min(most.saturating_mul(longest));
        PageGrant::new(account, most, bytes)
    }

    /// Reads a page, in the turn of who asks for it.
    pub(crate) async fn page(
        &self,
        turns: &ReadTurns,
        room: &RoomName,
        span: Span,
        digest: Option<Digest>,
        limits: PageLimits,
    ) -> Result<Page, ReadError> {
        let begun = Instant::now();
        let _turn = turns.pages.acquire().await;
        let page = self.node.read(room, span, digest, limits).await;
        self.config.metrics.page(begun.elapsed());
        self.note_read(match &page {
            Err(ReadError::Archive(problem)) => Some(problem),
            _ => None,
        });
        page
    }

    /// Lists the first `limit` rooms after one that somebody may read, in byte order.
    pub(crate) async fn readable_rooms(
        &self,
        turns: &ReadTurns,
        access: &Access,
        after: Option<RoomName>,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        let ranges = access.readable().into_iter().map(|range| range.after(after.as_ref()));
        self.room_heads(turns, ranges.filter(|range| !range.is_empty()).collect(), limit).await
    }

    /// Lists the first `limit` rooms of ranges, on a thread that may block on the disk. All who list
    /// take turns, one call each of a principal at a time, so that they use one thread.
    pub(crate) async fn room_heads(
        &self,
        turns: &ReadTurns,
        ranges: Vec<RoomRange>,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        let (node, permits) = (self.node.clone(), self.list_permits.clone());
        let interrupted = || Err(ArchiveError::Failed("a read was interrupted".into()));
        let _turn = turns.lists.acquire().await;
        let Ok(permit) = permits.acquire_owned().await else { return interrupted() };
        let listed = tokio::task::spawn_blocking(move || {
            // Until it has ended, even if nobody waits for it any more.
            let _permit = permit;
            let mut heads = Vec::new();
            for range in &ranges {
                if heads.len() >= limit {
                    break;
                }
                heads.extend(node.room_heads(range, limit - heads.len())?);
            }
            Ok(heads)
        });
        let heads = listed.await.unwrap_or_else(|_| interrupted());
        self.note_read(heads.as_ref().err());
        heads
    }
}

/// A page that may be read, and what is charged for it: its entries and its encoded form.
pub(crate) struct PageGrant {
    pub(crate) limits: PageLimits,
    pub(crate) charge: Charge,
    /// Whether it is all that was asked for.
    pub(crate) is_whole: bool,
}

/// What an entry takes besides its texts, which count twice: read and encoded.
const ENTRY_BYTES: usize = 512;

/// What a connection is charged for as long as it lives, in bytes: its task and its buffers, about
/// 12 KiB at rest, and 12 KiB for frames, rooms and answers, or instead of these for the head of a
/// request that comes in pieces.
pub(crate) const CONNECTION_BYTES: usize = 24 << 10;

/// A longer head than this is charged besides.
pub(crate) const HEAD_BYTES: usize = 16 << 10;

/// A page of so many bytes is part of what every connection is charged for.
pub(crate) const FREE_PAGE: usize = 8 << 10;

impl PageGrant {
    /// Charges a page of `most` entries and `bytes` of texts, or else smaller ones.
    pub(crate) fn new(account: &Account, most: usize, bytes: usize) -> Self {
        let whole = most * ENTRY_BYTES + 2 * bytes;
        let limits = PageLimits { entries: most as u64, bytes };
        if let Some(charge) = account.charge(whole) {
            return Self { limits, charge, is_whole: true };
        }
        let smaller = |size: usize| {
            let most = most.min(size / (4 * ENTRY_BYTES));
            let bytes = bytes.min((size - most * ENTRY_BYTES) / 2);
            PageLimits { entries: most as u64, bytes }
        };
        let mut size = whole / 4;
        while size > FREE_PAGE {
            if let Some(charge) = account.charge(size) {
                return Self { limits: smaller(size), charge, is_whole: false };
            }
            size /= 4;
        }
        Self { limits: smaller(FREE_PAGE), charge: account.open(), is_whole: false }
    }
}

/// The text of an answer over HTTP, charged with its own length until the socket has taken it; `None` if
/// it may not be held.
pub(crate) fn charged_answer(text: Bytes, mut charge: Charge) -> Option<Bytes> {
    let needed = text.len().saturating_sub(FREE_PAGE);
    charge.shrink(charge.bytes().saturating_sub(needed));
    charge.cover(text.len(), FREE_PAGE, 1).then(|| wire::charged(text, charge))
}

/// The answer to a request that cannot be held.
pub(crate) fn holds_too_much() -> Refusal {
    let message = "the server holds too much for this client already; send it again later";
    Refusal::new(ErrorCode::Busy, message)
}

/// The answer to a request that the archive cannot be read for.
pub(crate) fn unreadable(problem: &ArchiveError) -> Refusal {
    Refusal::new(ErrorCode::Unavailable, problem.to_string())
}

/// Resolves when the server stops.
pub(crate) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error says that the sender was dropped: the server stops too.
    let _stopping = stopping.wait_for(|stopping| *stopping).await.is_ok();
}

/// The place of a socket that is served, and whose it is: passed on when the socket is upgraded.
pub(crate) struct SocketPermit {
    place: Arc<SocketPlace>,
    _charge: Charge,
    pub(crate) client: Client,
    /// Of its last request with a token.
    pub(crate) caller: LastCaller,
}

/// The place of a socket, for all clients that a proxy asks for over it.
struct SocketPlace {
    _permit: OwnedSemaphorePermit,
    /// `None` at the operators' door, whose sockets are not counted.
    counted: Option<Arc<Metrics>>,
    /// What the socket is charged with, in bytes.
    bytes: usize,
    cut: Notify,
}

impl SocketPermit {
    /// A connection takes so many bytes, of which `charged` are charged to this client. If it may not
    /// hold them, gives back what it was given: the socket is open until it is answered, and counts as
    /// long.
    pub(crate) fn new(
        permit: OwnedSemaphorePermit,
        client: Client,
        counted: Option<Arc<Metrics>>,
        (bytes, charged): (usize, usize),
    ) -> Result<Self, (OwnedSemaphorePermit, Client)> {
        let Some(charge) = client.memory.charge(charged) else { return Err((permit, client)) };
        counted.iter().for_each(|metrics| metrics.sockets.inc());
        let place = SocketPlace { _permit: permit, counted, bytes, cut: Notify::new() };
        let (place, caller) = (Arc::new(place), LastCaller::default());
        Ok(Self { place, _charge: charge, client, caller })
    }

    /// The same place for a client that a proxy asks for; `None` if that may not hold a connection more.
    pub(crate) fn pass_to(&self, client: Client) -> Option<Self> {
        let charge = client.memory.charge(self.place.bytes)?;
        let (place, caller) = (self.place.clone(), LastCaller::default());
        Some(Self { place, _charge: charge, client, caller })
    }

    /// Ends the HTTP connection, whatever is still to be written to it.
    pub(crate) fn hang_up(&self) {
        self.place.cut.notify_one();
    }

    /// Completes after [`Self::hang_up`].
    pub(crate) async fn hung_up(&self) {
        self.place.cut.notified().await;
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        self.counted.iter().for_each(|metrics| metrics.sockets.dec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_cannot_be_held_is_granted_smaller_and_never_refused() {
        let account = Account::budget(1 << 20);
        let mut held = Vec::new();
        for _ in 0..100 {
            let PageGrant { limits, charge, is_whole } = PageGrant::new(&account, 500, 1 << 20);
            let weight =
                usize::try_from(limits.entries).expect("few") * ENTRY_BYTES + 2 * limits.bytes;
            assert!(!is_whole && limits.entries > 0 && limits.bytes > 0);
            assert!(weight <= charge.bytes().max(FREE_PAGE), "{limits:?}");
            held.push(charge);
        }
        assert!(account.held() > (1 << 20) * 3 / 4 && account.held() <= 1 << 20);
        held.clear();
        assert!(PageGrant::new(&account, 50, 10_000).is_whole);
    }
}
