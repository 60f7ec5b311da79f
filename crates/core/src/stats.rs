//! What a node counts of itself: for its last words, benchmarks and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::journal::{JournalCounts, Partition, Position};

/// What a node counts since it started.
#[derive(Debug, Clone, Default)]
pub struct NodeStats {
    /// Blocks applied.
    pub blocks: u64,
    /// Entries committed.
    pub entries: u64,
    /// Appends that were answered `busy`.
    pub busy: u64,
    /// Entries that are applied and not folded.
    pub unfolded: u64,
    /// The most entries that were applied and not folded.
    pub unfolded_max: u64,
    /// How often blocks in flight were proposed again.
    pub proposed_again: u64,
    /// Of each partition: the position applied last, and the last one that the journal is known to
    /// have; `None` if the journal cannot be read.
    pub positions: Vec<(Position, Option<Position>)>,
    /// Followers of rooms.
    pub followers: usize,
    /// How many entries the slowest follower has still to be given.
    pub follower_lag: u64,
    /// What the journal counts, if it is on other machines.
    pub journal: Option<JournalCounts>,
}

/// Counters since the start, and the greatest lag.
#[derive(Debug)]
pub(crate) struct Stats {
    blocks: AtomicU64,
    entries: AtomicU64,
    busy: AtomicU64,
    unfolded: AtomicU64,
    unfolded_max: AtomicU64,
    /// Of each partition.
    positions: Vec<AtomicU64>,
    proposed_again: AtomicU64,
}

impl Stats {
    /// Of a node with so many partitions.
    pub(crate) fn new(partitions: u32) -> Self {
        let (blocks, entries, busy) = Default::default();
        let (unfolded, unfolded_max, proposed_again) = Default::default();
        let positions = (0..partitions).map(|_| AtomicU64::default()).collect();
        Self { blocks, entries, busy, unfolded, unfolded_max, positions, proposed_again }
    }

    pub(crate) fn block(&self) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn applied(&self, entries: usize, unfolded: usize) {
        self.entries.fetch_add(entries as u64, Ordering::Relaxed);
        self.unfolded.store(unfolded as u64, Ordering::Relaxed);
        self.unfolded_max.fetch_max(unfolded as u64, Ordering::Relaxed);
    }

    pub(crate) fn folded(&self, unfolded: usize) {
        self.unfolded.store(unfolded as u64, Ordering::Relaxed);
    }

    pub(crate) fn at(&self, partition: Partition, position: Position) {
        if let Some(at) = self.positions.get(partition as usize) {
            at.store(position.0, Ordering::Relaxed);
        }
    }

    pub(crate) fn proposed_again(&self) {
        self.proposed_again.fetch_add(1, Ordering::Relaxed);
    }

    /// The position of the last block applied of a partition.
    pub(crate) fn position(&self, partition: Partition) -> Position {
        let at = self.positions.get(partition as usize);
        Position(at.map_or(0, |at| at.load(Ordering::Relaxed)))
    }

    /// Counts an append that was answered `busy`.
    pub(crate) fn busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// What is counted here.
    pub(crate) fn counted(&self) -> NodeStats {
        let at = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NodeStats {
            blocks: at(&self.blocks),
            entries: at(&self.entries),
            busy: at(&self.busy),
            unfolded: at(&self.unfolded),
            unfolded_max: at(&self.unfolded_max),
            proposed_again: at(&self.proposed_again),
            ..NodeStats::default()
        }
    }
}
