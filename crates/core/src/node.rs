//! A node: the parts, put together; what the gateway holds.
//!
//! Enters: the engines and the settings. Leaves: a [`Node`] to speak to, and what has to be run: the
//! partition's task and the fold's thread. Invariant: nothing here knows which engines they are.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use roomlog_protocol::RoomName;
use tokio::sync::{mpsc, watch};

use crate::{
    agreeing::Agreeing,
    agreement::Agreement,
    applier::{Applier, Parts},
    applying::Applying,
    archive::{Archive, ArchiveError},
    backup::Backup,
    fold::{FoldQueue, FoldSettings, Folder, Unfolded},
    follower::Followers,
    heads::Heads,
    inbox::Inbox,
    journal::{Journal, JournalCounts, JournalError, Position},
    partition::{Identity, NodeError, PartitionTask},
    pipeline::{Phase, Pipeline},
    reader::Reader,
    room::Head,
    rooms::Rooms,
    sequencer::Sequencer,
    sequencing::Sequencing,
    stats::Stats,
};

/// The bounds of a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeSettings {
    /// Bytes of appends that have no outcome yet; at the bound new ones are `busy`.
    pub waiting_bytes: usize,
    /// Entries that are applied and not folded; at the bound the journal is not read and new
    /// appends are `busy`.
    pub unfolded_entries: usize,
    /// What such entries take of memory, in bytes: each about twice its texts and 512; the same at this
    /// bound.
    pub unfolded_bytes: usize,
    /// Bytes of committed entries that are kept in memory for followers, over all rooms.
    pub tail_bytes: usize,
    /// Entries that make a fold begin, and the most in one window.
    pub fold_entries: usize,
    /// How long an entry waits for others to be folded with.
    pub fold_wait: Duration,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            waiting_bytes: 64 << 20,
            unfolded_entries: 400_000,
            unfolded_bytes: 512 << 20,
            tail_bytes: 64 << 20,
            fold_entries: 65_536,
            fold_wait: Duration::from_secs(1),
        }
    }
}

/// A node, as the gateway sees it.
pub struct Node {
    /// Where appends that may go are put.
    pub inbox: Arc<Inbox>,
    /// The rooms in memory.
    pub rooms: Arc<Rooms>,
    /// Reads.
    pub reader: Reader,
    /// Which rooms moved.
    pub heads: Arc<Heads>,
    /// Who follows rooms.
    pub followers: Arc<Followers>,
    /// What the node counts.
    pub stats: Arc<Stats>,
    /// What makes backups of it; where there is none, nobody gets one.
    pub backup: Option<Arc<dyn Backup>>,
    log: String,
    journal: Arc<dyn Journal>,
    archive: Arc<dyn Archive>,
    folds: Arc<FoldQueue>,
    phase: watch::Receiver<Phase>,
}

/// The one partition of a node.
const PARTITION: u32 = 0;

/// What has to be run for a node to live.
pub struct Running {
    /// The partition's task.
    pub task: PartitionTask,
    /// The fold's thread.
    pub folder: Folder,
}

impl Node {
    /// Puts a node together.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub fn open(
        identity: Identity,
        journal: Arc<dyn Journal>,
        archive: Arc<dyn Archive>,
        settings: NodeSettings,
    ) -> Result<(Self, Running), NodeError> {
        let applied = archive.applied(PARTITION)?;
        let rooms = Arc::new(Rooms::new(archive.clone()));
        let inbox = Arc::new(Inbox::new(settings.waiting_bytes));
        let (heads, stats) = (Arc::new(Heads::default()), Arc::new(Stats::default()));
        let fold = FoldSettings { entries: settings.fold_entries, wait: settings.fold_wait };
        let queue = Arc::new(FoldQueue::new(fold, applied.position));
        let (done, folds) = mpsc::channel(4);
        let pipeline = Arc::new(Pipeline::new(inbox.clone()));
        let parts = Parts {
            archive: archive.clone(),
            rooms: rooms.clone(),
            heads: heads.clone(),
            folds: queue.clone(),
            stats: stats.clone(),
            unfolded_limit: Unfolded {
                entries: settings.unfolded_entries,
                bytes: settings.unfolded_bytes,
            },
            tail_bytes: settings.tail_bytes,
            chains: journal.peers().is_some(),
        };
        let node = Self {
            inbox,
            reader: Reader::new(rooms.clone(), archive.clone()),
            rooms,
            heads,
            followers: Arc::default(),
            stats: stats.clone(),
            backup: None,
            log: journal.log().into(),
            journal: journal.clone(),
            archive: archive.clone(),
            folds: queue.clone(),
            phase: pipeline.phase.subscribe(),
        };
        let applier = Applier::new(parts, applied);
        let (kept, peers) = (journal.clone(), journal.peers());
        let agreement = peers.as_ref().map(|_| Arc::new(Agreement::new(identity)));
        let sequencing = Sequencing {
            partition: PARTITION,
            identity,
            journal: journal.clone(),
            pipeline: pipeline.clone(),
            sequencer: Sequencer::default(),
            proposed: VecDeque::new(),
            next_n: 0,
            stats: stats.clone(),
            again_at: None,
        };
        let applying = Applying {
            partition: PARTITION,
            identity,
            journal,
            pipeline: pipeline.clone(),
            applier,
            folds,
            stats,
            agreement: agreement.clone(),
            looked_up: 0,
            applied: 0,
        };
        let agreeing = agreement.zip(peers);
        let agreeing = agreeing.map(|(agreement, peers)| Agreeing { agreement, peers, pipeline });
        let task = PartitionTask { sequencing, applying, agreeing };
        let folder = Folder { queue, journal: kept, archive, partition: PARTITION, done };
        Ok((node, Running { task, folder }))
    }

    /// The name of the log.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Whether it has caught up with the journal and takes appends.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Waits until it has caught up with the journal; `false` when it failed before.
    pub async fn caught_up(&self) -> bool {
        let mut phase = self.phase.clone();
        let left = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
        left.is_ok_and(|phase| *phase != Phase::Failed)
    }

    /// What the journal counts, where it is a cluster's.
    #[must_use]
    pub fn journal_counts(&self) -> Option<JournalCounts> {
        self.journal.counts()
    }

    /// Whether the journal leaves what was proposed without an answer.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.inbox.is_stalled()
    }

    /// The last position that the journal is known to have.
    #[must_use]
    pub fn journal_head(&self) -> Option<Position> {
        self.journal.head(PARTITION).ok()
    }

    /// Waits until all that the journal holds now is in the archive, which is hurried for it; up to
    /// which position that is.
    ///
    /// # Errors
    /// When the journal cannot be read, or the node ends before.
    pub async fn fold_to_head(&self) -> Result<Position, JournalError> {
        let head = self.journal.head(PARTITION)?;
        self.folds.hurry(head);
        let (mut folded, mut phase) = (self.folds.folded(), self.phase.clone());
        let over = |phase: &Phase| matches!(phase, Phase::Closing | Phase::Failed);
        tokio::select! {
            Ok(position) = folded.wait_for(|folded| *folded >= head) => Ok(*position),
            _ = phase.wait_for(over) => Err(JournalError("the node ends".into())),
        }
    }

    /// The heads of up to `limit` rooms after a name, in byte order: all rooms that have an entry,
    /// folded or not.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub fn room_heads(
        &self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        // Held first: a room that is let go in between is in the archive by then.
        let held = self.rooms.heads_after(after);
        let mut heads: BTreeMap<_, _> = self.archive.rooms(after, limit)?.into_iter().collect();
        let last = if heads.len() == limit { heads.keys().next_back().cloned() } else { None };
        heads.extend(
            held.into_iter().filter(|(room, _)| last.as_ref().is_none_or(|last| room <= last)),
        );
        Ok(heads.into_iter().take(limit).collect())
    }
}
