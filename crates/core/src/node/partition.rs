//! Assembles the parts of a partition.

use std::{collections::VecDeque, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::settings::NodeSettings;
use crate::{
    append::{inbox::Inbox, pipeline::Pipeline, sequencer::Sequencer, task::SequencerTask},
    apply::{
        applier::{Applier, ApplierParts},
        fold::{FoldQueue, FoldSettings, Folder},
        task::ApplierTask,
        wiper::Wiper,
    },
    episode::Episode,
    model::{
        archive::Archive,
        error::NodeError,
        identity::Identity,
        journal::{Journal, Partition},
        phase::Phase,
    },
    peers::{agreement::Agreement, rules::ActiveRules, task::AgreementTask},
    read::{delivery::Deliveries, heads::Heads, rooms::Rooms},
    stats::Stats,
};

/// A fold starts before more than this part of the budget of appends waits for it.
const FOLDS_PER_BUDGET: usize = 8;

pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) rooms: Arc<Rooms>,
    pub(super) heads: Arc<Heads>,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) stats: Arc<Stats>,
    pub(super) settings: NodeSettings,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) archive: Arc<dyn Archive>,
}

pub(super) struct PartitionParts {
    pub(super) inbox: Arc<Inbox>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) sequencer: SequencerTask,
    pub(super) applier: ApplierTask,
    /// `None` if no other nodes follow the journal.
    pub(super) agreement: Option<AgreementTask>,
    pub(super) folder: Folder,
}

impl Shared {
    pub(super) fn partition(&self, partition: Partition) -> Result<PartitionParts, NodeError> {
        let Self { identity, settings, journal, archive, stats, .. } = self;
        let applied = archive.applied(partition)?;
        let inbox = Arc::new(Inbox::default());
        let fold = FoldSettings {
            entries: settings.fold_entries,
            bytes: settings.append_bytes / FOLDS_PER_BUDGET,
            wait: settings.fold_wait,
        };
        let (queue, unwiped) = (FoldQueue::new(fold, applied.position), applied.unwiped);
        let queue = Arc::new(queue);
        let (done, folds) = mpsc::channel(4);
        let pipeline = Arc::new(Pipeline::new(inbox.clone()));
        let peers = journal.peers();
        let parts = ApplierParts {
            partition,
            archive: archive.clone(),
            rooms: self.rooms.clone(),
            heads: self.heads.clone(),
            deliveries: self.deliveries.clone(),
            folds: queue.clone(),
            stats: stats.clone(),
            unfolded_limit: settings.unfolded_bytes,
            tail_bytes: settings.tail_bytes,
            chains: peers.is_some(),
            stamps: !journal.facts().is_exclusive,
        };
        let named = settings.knows.at_start(applied.rules, journal.facts().is_exclusive);
        let named = named.ok_or(NodeError::NewerRules { rules: applied.rules })?;
        let rules = Arc::new(ActiveRules::new(settings.knows, named));
        let agreement = peers.as_ref().map(|_| Arc::new(Agreement::new(*identity, partition)));
        let sequencer = SequencerTask {
            partition,
            identity: *identity,
            journal: journal.clone(),
            pipeline: pipeline.clone(),
            sequencer: Sequencer::default(),
            outstanding: VecDeque::new(),
            next_n: 0,
            answered_at: Instant::now(),
            rules: rules.clone(),
            full: Episode::default(),
            stalled: Episode::default(),
        };
        let applier = ApplierTask {
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
        let agreement = agreement.zip(peers).map(|(agreement, peers)| AgreementTask {
            agreement,
            peers,
            rules,
            pipeline,
        });
        let (journal, archive, no_room) = (journal.clone(), archive.clone(), Episode::default());
        let wiper = Wiper::new(journal.clone(), archive.clone(), partition, unwiped);
        let replayed = journal.head(partition)?;
        let folder = Folder { queue, journal, archive, partition, done, no_room, wiper, replayed };
        Ok(PartitionParts { inbox, phase, sequencer, applier, agreement, folder })
    }
}
