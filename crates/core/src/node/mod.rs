//! A node: assembles and runs the parts; the API for the gateway.
//!
//! ```text
//!             ┌──────────────── a partition ────────────────┐
//!  queue ──► inbox ──► sequencer ──► journal ──► applier ──► tails ──► followers, reader
//!                          └──── pipeline ────────┘  └─► fold ──► archive
//! ```
//!
//! Enters: engines, settings, appends. Leaves: outcomes, entries. Invariant: nothing here depends
//! on which engines are used.

mod partition;
mod running;
mod settings;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use roomlog_protocol::{Digest, RoomName, RoomRange, Slot, Span};
use tokio::sync::{Mutex, watch};

use self::{partition::Shared, running::Running};
use crate::{
    append::{
        merge::QueueId,
        queue::{Draft, Inboxes, Queue},
    },
    apply::fold::FoldQueue,
    blocking::InPlace,
    budget::Account,
    model::{
        archive::{Archive, ArchiveError},
        backup::Backup,
        error::NodeError,
        head::Head,
        identity::Identity,
        journal::{Journal, JournalError, Partition, Position},
        mailbox::Mailbox,
        outcome::AppendOutcome,
        phase::Phase,
    },
    read::{
        follower::{Follower, Followers},
        heads::{Heads, Watcher},
        reader::{Page, PageLimits, ReadError, Reader},
        rooms::Rooms,
        tail::Tail,
    },
    stats::{NodeStats, Stats},
};

pub use self::settings::NodeSettings;

/// What a node is made of.
#[derive(Clone)]
pub struct Engines {
    /// Its identity.
    pub identity: Identity,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The archive.
    pub archive: Arc<dyn Archive>,
    /// What backs up the archive, if it supports that.
    pub backup: Option<Arc<dyn Backup>>,
}

/// A node. Dropping it aborts its tasks like a crash; [`Node::stop`] shuts it down.
pub struct Node {
    inboxes: Arc<Inboxes>,
    appends: Account,
    queues: AtomicU64,
    rooms: Arc<Rooms>,
    reader: Reader,
    heads: Arc<Heads>,
    followers: Arc<Followers>,
    stats: Arc<Stats>,
    journal: Arc<dyn Journal>,
    archive: Arc<dyn Archive>,
    backup: Option<Arc<dyn Backup>>,
    folds: Vec<Arc<FoldQueue>>,
    phases: Vec<watch::Receiver<Phase>>,
    in_place: InPlace,
    running: Mutex<Running>,
}

impl Node {
    /// Starts a node on the tokio runtime of the caller. Fails with [`NodeError::Archive`] if the
    /// archive cannot be read, [`NodeError::NewerRules`] or [`NodeError::Thread`].
    pub fn start(engines: Engines, settings: NodeSettings) -> Result<Self, NodeError> {
        let Engines { identity, journal, archive, backup } = engines;
        let partitions = journal.facts().partitions.max(1);
        let shared = Shared {
            identity,
            rooms: Arc::new(Rooms::new(archive.clone())),
            heads: Arc::default(),
            deliveries: Arc::default(),
            stats: Arc::new(Stats::new(partitions, archive.room_count()?)),
            settings: settings.clone().among(partitions),
            journal,
            archive,
        };
        let parts = (0..partitions).map(|partition| shared.partition(partition));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let Shared { rooms, heads, deliveries, stats, journal, archive, .. } = shared;
        let inboxes = parts.iter().map(|part| part.inbox.clone()).collect();
        Ok(Self {
            inboxes: Arc::new(Inboxes::new(inboxes, stats.clone())),
            appends: Account::budget(settings.append_bytes),
            queues: AtomicU64::new(0),
            reader: Reader::new(rooms.clone(), archive.clone(), settings.threads),
            rooms,
            heads,
            followers: Arc::default(),
            stats,
            journal,
            archive,
            backup,
            folds: parts.iter().map(|part| part.folder.queue.clone()).collect(),
            phases: parts.iter().map(|part| part.phase.clone()).collect(),
            in_place: InPlace::default(),
            running: Mutex::new(Running::start(parts, deliveries, &settings)?),
        })
    }

    /// The name of the log.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.journal.facts().log
    }

    /// The budget that appends are charged to: a member of it for each principal.
    #[must_use]
    pub fn append_budget(&self) -> &Account {
        &self.appends
    }

    /// Opens a queue of appends whose outcomes go to this mailbox.
    #[must_use]
    pub fn queue(&self, mailbox: &Arc<Mailbox>) -> Queue {
        let id = QueueId(self.queues.fetch_add(1, Ordering::Relaxed));
        Queue::new(id, mailbox.clone(), self.inboxes.clone())
    }

    /// Shows the sequencers what [`Queue::append`] added.
    pub fn flush(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.wake());
    }

    /// Appends one entry and waits for the outcome. If the future is dropped, the entry may still
    /// be committed.
    pub async fn append(&self, draft: Draft) -> AppendOutcome {
        let mailbox = Arc::new(Mailbox::default());
        if let Err(outcome) = self.queue(&mailbox).append(0, draft) {
            return outcome;
        }
        self.flush();
        loop {
            mailbox.wait().await;
            if let Some((_, outcome)) = mailbox.take().outcomes.pop() {
                return outcome;
            }
        }
    }

    /// Reads a span, within `limits`. For [`Span::After`] with a digest, the log's digest is
    /// compared first. A reader that has seen a slot waits for [`Tail::reached`] before.
    pub async fn read(
        &self,
        room: &RoomName,
        span: Span,
        digest: Option<Digest>,
        limits: PageLimits,
    ) -> Result<Page, ReadError> {
        self.reader.read(room, span, digest, limits).await
    }

    /// The head of a room. Does not load the room into memory. May wait for the disk, and other tasks
    /// do not. Fails if the archive cannot be read.
    pub fn head(&self, room: &RoomName) -> Result<Head, ArchiveError> {
        self.reader.head(room)
    }

    /// The tail of a room, kept in memory as long as the result is held. May wait for the disk, and
    /// other tasks do not. Fails if the archive cannot be read.
    pub fn tail(&self, room: &RoomName) -> Result<Arc<Tail>, ArchiveError> {
        self.rooms.open(room)
    }

    /// Follows a room from slot `next` on.
    #[must_use]
    pub fn follow(&self, tail: Arc<Tail>, next: Slot) -> Follower {
        self.followers.follow(tail, next)
    }

    /// Watches which rooms move from now on.
    #[must_use]
    pub fn watch(&self) -> Watcher {
        Watcher::new(self.heads.clone())
    }

    /// The heads of the first `limit` rooms of a range, in byte order: all rooms with an entry,
    /// folded or not. Reads `limit` rooms of the archive's index and of those in memory,
    /// however many there are. Waits for the disk. Fails if the archive cannot be read.
    pub fn room_heads(
        &self,
        range: &RoomRange,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        // Memory first: a room that is folded in between is in the archive by then.
        let unfolded = self.rooms.unfolded_of(range, limit);
        let mut heads: BTreeMap<_, _> = self.archive.rooms(range, limit)?.into_iter().collect();
        for (room, head) in unfolded {
            let newest = heads.entry(room).or_insert(head);
            // It may have moved and been folded in between.
            if newest.end < head.end {
                *newest = head;
            }
        }
        Ok(heads.into_iter().take(limit).collect())
    }

    /// The backup engine, if there is one.
    #[must_use]
    pub fn backup(&self) -> Option<&Arc<dyn Backup>> {
        self.backup.as_ref()
    }

    /// Waits until everything up to the journal's current head is in the archive, at full folding
    /// speed. Returns the position reached in partition 0. Fails if the journal cannot be read, or
    /// the node stops before.
    pub async fn fold_to_head(&self) -> Result<Position, JournalError> {
        let mut first = None;
        for ((partition, folds), phase) in (0..).zip(&self.folds).zip(&self.phases) {
            let head = self.in_place.run(|| self.journal.head(partition))?;
            folds.expedite(head);
            let (mut folded, mut phase) = (folds.folded(), phase.clone());
            let position = tokio::select! {
                Ok(position) = folded.wait_for(|folded| *folded >= head) => *position,
                _ = phase.wait_for(Phase::is_over) => {
                    return Err(JournalError("the node is stopping".into()));
                }
            };
            first.get_or_insert(position);
        }
        Ok(first.unwrap_or_default())
    }

    /// Whether it has caught up with the journal and accepts appends.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phases.iter().all(|phase| *phase.borrow() == Phase::Serving)
    }

    /// Whether the journal leaves proposed blocks unanswered.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.inboxes.iter().any(|inbox| inbox.is_stalled())
    }

    /// Rejects new appends as [`AppendOutcome::StorageFull`] while the disk is `low`, so that what
    /// was accepted, the archive and the operator still have some.
    pub fn set_disk_low(&self, low: bool) {
        self.inboxes.iter().for_each(|inbox| inbox.set_disk_low(low));
    }

    /// The newest time that the journal gave a block since the start, in ms since the epoch; 0 if none.
    #[must_use]
    pub fn newest_time(&self) -> u64 {
        self.stats.newest_time()
    }

    /// How many rooms have an entry. After a crash, rooms that a fold had begun may count twice.
    #[must_use]
    pub fn rooms(&self) -> u64 {
        self.stats.rooms()
    }

    /// Its counters. Reads the lags of at most about 10,000 followers.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        let position = |partition: Partition| {
            (self.stats.position(partition), self.journal.head(partition).ok())
        };
        let counted = self.stats.counted();
        NodeStats {
            busy: counted.busy + self.appends.refusals(),
            positions: (0..self.journal.facts().partitions.max(1)).map(position).collect(),
            rooms_held: self.rooms.len(),
            followers: self.followers.count(),
            follower_lag: self.followers.slowest_lag(),
            journal: self.journal.counts(),
            ..counted
        }
    }

    /// Waits until it has caught up with the journal; `false` if it ended before.
    pub async fn caught_up(&self) -> bool {
        for phase in &self.phases {
            let mut phase = phase.clone();
            let left = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
            // A partition whose applier failed may be closing before it has failed.
            if !left.is_ok_and(|phase| *phase == Phase::Serving) {
                return false;
            }
        }
        true
    }

    /// Waits until a partition has ended. If nobody called [`Node::stop`], it failed.
    pub async fn ended(&self) {
        let over = self.phases.iter().map(|phase| {
            let mut phase = phase.clone();
            Box::pin(async move { drop(phase.wait_for(Phase::is_over).await) })
        });
        futures_util::future::select_all(over).await;
    }

    /// Commits accepted appends even if the fold is far behind, because the node is about to stop.
    pub fn drain(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.drain());
    }

    /// Rejects new appends, commits the accepted ones, and waits until all tasks and threads have
    /// ended; what is not folded is replayed from the journal at the next start. Fails if the node
    /// failed, now or before.
    pub async fn stop(&self) -> Result<(), NodeError> {
        self.inboxes.iter().for_each(|inbox| inbox.close());
        self.running.lock().await.join().await
    }
}
