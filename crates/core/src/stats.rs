//! What a node counts of itself: for its last words, benchmarks and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::journal::{Partition, Position};

/// Counters since the start, and the greatest lag.
#[derive(Debug)]
pub struct Stats {
    blocks: AtomicU64,
    entries: AtomicU64,
    busy: AtomicU64,
    unfolded: AtomicU64,
    unfolded_max: AtomicU64,
    /// Of each partition.
    positions: Vec<AtomicU64>,
    proposed_again: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Stats {
    /// Of a node with so many partitions.
    #[must_use]
    pub fn new(partitions: u32) -> Self {
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
    #[must_use]
    pub fn position(&self, partition: Partition) -> Position {
        let at = self.positions.get(partition as usize);
        Position(at.map_or(0, |at| at.load(Ordering::Relaxed)))
    }

    /// How often blocks under way were proposed again.
    #[must_use]
    pub fn proposals_again(&self) -> u64 {
        self.proposed_again.load(Ordering::Relaxed)
    }

    /// Counts an append that was answered `busy`.
    pub fn busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Blocks applied.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Entries committed.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Appends answered `busy`.
    #[must_use]
    pub fn busy_answers(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// The entries that are applied and not yet folded.
    #[must_use]
    pub fn unfolded(&self) -> u64 {
        self.unfolded.load(Ordering::Relaxed)
    }

    /// The most entries that were applied and not yet folded.
    #[must_use]
    pub fn unfolded_max(&self) -> u64 {
        self.unfolded_max.load(Ordering::Relaxed)
    }
}
