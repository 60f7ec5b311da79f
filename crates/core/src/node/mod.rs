//! A node: the parts, put together; what the gateway holds.
//!
//! Enters: the engines and the settings. Leaves: a [`Node`] to speak to, and what has to be run: the
//! tasks of each partition and the threads of the folds. Invariant: nothing here knows which engines they are.

pub mod partition;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use roomlog_protocol::RoomName;
use tokio::sync::{mpsc, watch};

use crate::{
    append::{
        inbox::Inbox,
        inboxes::Inboxes,
        pipeline::Pipeline,
        sequencer::Sequencer,
        task::{Sequencing, Troubles},
    },
    apply::{
        applier::{Applier, Parts},
        fold::{FoldQueue, FoldSettings, Folder, Unfolded},
        task::Applying,
    },
    episode::Episode,
    model::{
        archive::{Archive, ArchiveError},
        backup::Backup,
        error::NodeError,
        head::Head,
        identity::Identity,
        journal::{Journal, JournalCounts, JournalError, Partition, Position},
        phase::Phase,
        rules::Rules,
    },
    node::partition::PartitionTask,
    peers::{agreement::Agreement, rules::InForce, task::Agreeing},
    read::{follower::Followers, heads::Heads, reader::Reader, rooms::Rooms},
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
    /// The newest rules that this node knows.
    pub knows: Rules,
}

impl NodeSettings {
    /// The share of one of so many partitions.
    fn among(self, partitions: u32) -> Self {
        let share = |bound: usize| (bound / partitions as usize).max(1);
        Self {
            waiting_bytes: share(self.waiting_bytes),
            unfolded_entries: share(self.unfolded_entries),
            unfolded_bytes: share(self.unfolded_bytes),
            tail_bytes: share(self.tail_bytes),
            ..self
        }
    }
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
            knows: Rules::NEWEST,
        }
    }
}

/// A node, as the gateway sees it.
pub struct Node {
    /// Where appends that may go are put.
    pub inbox: Inboxes,
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
    /// Of each partition.
    folds: Vec<Arc<FoldQueue>>,
    phases: Vec<watch::Receiver<Phase>>,
}

/// What has to be run for a node to live, of each partition: its tasks, and the fold's thread.
pub struct Running {
    /// In their order.
    pub partitions: Vec<(PartitionTask, Folder)>,
}

impl Running {
    /// That of a node whose journal has one partition.
    #[must_use]
    pub fn one(mut self) -> (PartitionTask, Folder) {
        self.partitions.pop().unwrap_or_else(|| unreachable!("there is at least one partition"))
    }
}

/// What the partitions of a node share while they are put together.
struct Shared {
    identity: Identity,
    rooms: Arc<Rooms>,
    heads: Arc<Heads>,
    stats: Arc<Stats>,
    /// The share of one partition.
    settings: NodeSettings,
    journal: Arc<dyn Journal>,
    archive: Arc<dyn Archive>,
}

/// A partition, put together.
struct Part {
    inbox: Arc<Inbox>,
    phase: watch::Receiver<Phase>,
    task: PartitionTask,
    folder: Folder,
}

impl Shared {
    fn partition(&self, partition: Partition) -> Result<Part, NodeError> {
        let Self { identity, settings, journal, archive, stats, .. } = self;
        let applied = archive.applied(partition)?;
        let inbox = Arc::new(Inbox::new(settings.waiting_bytes));
        let fold = FoldSettings { entries: settings.fold_entries, wait: settings.fold_wait };
        let queue = Arc::new(FoldQueue::new(fold, applied.position));
        let (done, folds) = mpsc::channel(4);
        let pipeline = Arc::new(Pipeline::new(inbox.clone()));
        let peers = journal.peers();
        let parts = Parts {
            partition,
            archive: archive.clone(),
            rooms: self.rooms.clone(),
            heads: self.heads.clone(),
            folds: queue.clone(),
            stats: stats.clone(),
            unfolded_limit: Unfolded {
                entries: settings.unfolded_entries,
                bytes: settings.unfolded_bytes,
            },
            tail_bytes: settings.tail_bytes,
            chains: peers.is_some(),
            stamps: !journal.is_ours_alone(),
        };
        let named = settings.knows.at_start(applied.rules, journal.is_ours_alone());
        let named = named.ok_or(NodeError::NewerRules { rules: applied.rules })?;
        let rules = Arc::new(InForce::new(settings.knows, named));
        let agreement = peers.as_ref().map(|_| Arc::new(Agreement::new(*identity, partition)));
        let sequencing = Sequencing {
            partition,
            identity: *identity,
            journal: journal.clone(),
            pipeline: pipeline.clone(),
            sequencer: Sequencer::default(),
            proposed: VecDeque::new(),
            next_n: 0,
            rules: rules.clone(),
            stats: stats.clone(),
            again_at: None,
            unanswered: None,
            troubles: Troubles::default(),
        };
        let applying = Applying {
            partition,
            identity: *identity,
            journal: journal.clone(),
            pipeline: pipeline.clone(),
            applier: Applier::new(parts, applied),
            folds,
            stats: stats.clone(),
            agreement: agreement.clone(),
            rules: rules.clone(),
            looked_up: 0,
            applied: 0,
            foreign: Episode::default(),
        };
        let phase = pipeline.phase.subscribe();
        let agreeing = agreement.zip(peers);
        let agreeing =
            agreeing.map(|(agreement, peers)| Agreeing { agreement, peers, rules, pipeline });
        let task = PartitionTask { sequencing, applying, agreeing };
        let (journal, archive) = (journal.clone(), archive.clone());
        let no_room = Episode::default();
        let folder = Folder { queue, journal, archive, partition, done, no_room };
        Ok(Part { inbox, phase, task, folder })
    }
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
        let partitions = journal.partitions().max(1);
        let shared = Shared {
            identity,
            rooms: Arc::new(Rooms::new(archive.clone())),
            heads: Arc::default(),
            stats: Arc::new(Stats::new(partitions)),
            settings: settings.among(partitions),
            journal,
            archive,
        };
        let mut parts = Vec::new();
        for partition in 0..partitions {
            parts.push(shared.partition(partition)?);
        }
        let Shared { rooms, heads, stats, journal, archive, .. } = shared;
        let node = Self {
            inbox: Inboxes::new(parts.iter().map(|part| part.inbox.clone()).collect()),
            reader: Reader::new(rooms.clone(), archive.clone()),
            rooms,
            heads,
            followers: Arc::default(),
            stats,
            backup: None,
            log: journal.log().into(),
            journal,
            archive,
            folds: parts.iter().map(|part| part.folder.queue.clone()).collect(),
            phases: parts.iter().map(|part| part.phase.clone()).collect(),
        };
        let partitions = parts.into_iter().map(|part| (part.task, part.folder)).collect();
        Ok((node, Running { partitions }))
    }

    /// The name of the log.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Whether it has caught up with the journal and takes appends.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phases.iter().all(|phase| *phase.borrow() == Phase::Serving)
    }

    /// Waits until it has caught up with the journal; `false` when it failed before.
    pub async fn caught_up(&self) -> bool {
        for phase in &self.phases {
            let mut phase = phase.clone();
            let left = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
            if left.is_err() || left.is_ok_and(|phase| *phase == Phase::Failed) {
                return false;
            }
        }
        true
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

    /// The last position that a partition of the journal is known to have.
    #[must_use]
    pub fn journal_head(&self, partition: Partition) -> Option<Position> {
        self.journal.head(partition).ok()
    }

    /// How many partitions the journal has.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.journal.partitions().max(1)
    }

    /// Waits until all that the journal holds now is in the archive, which is hurried for it; up to
    /// which position of the first partition that is.
    ///
    /// # Errors
    /// When the journal cannot be read, or the node ends before.
    pub async fn fold_to_head(&self) -> Result<Position, JournalError> {
        let mut first = None;
        for ((partition, folds), phase) in (0..).zip(&self.folds).zip(&self.phases) {
            let head = self.journal.head(partition)?;
            folds.hurry(head);
            let (mut folded, mut phase) = (folds.folded(), phase.clone());
            let over = |phase: &Phase| matches!(phase, Phase::Closing | Phase::Failed);
            let position = tokio::select! {
                Ok(position) = folded.wait_for(|folded| *folded >= head) => *position,
                _ = phase.wait_for(over) => return Err(JournalError("the node ends".into())),
            };
            first.get_or_insert(position);
        }
        Ok(first.unwrap_or_default())
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
