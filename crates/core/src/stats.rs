//! Counters of a node: for metrics, benchmarks and its last log line.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::journal::{JournalCounts, Partition, Position};

/// Counters since the node started.
#[derive(Debug, Clone, Default)]
pub struct NodeStats {
    /// Blocks applied.
    pub blocks: u64,
    /// Entries committed.
    pub entries: u64,
    /// Appends answered `busy`.
    pub busy: u64,
    /// Entries applied and not folded.
    pub unfolded: u64,
    /// The maximum of `unfolded`.
    pub unfolded_max: u64,
    /// Per partition: the position applied last, and the journal's last known one; `None` if the
    /// journal cannot be read.
    pub positions: Vec<(Position, Option<Position>)>,
    /// Rooms in memory: followed, waited for, or with entries that the archive lacks or the tail
    /// keeps.
    pub rooms_held: usize,
    /// Open followers.
    pub followers: usize,
    /// Entries that the slowest follower has not received yet. With more than 10,000 followers,
    /// each call reads the lags of the next 10,000 and takes the others as it last read them.
    pub follower_lag: u64,
    /// The journal's counters; `None` if it is on this machine.
    pub journal: Option<JournalCounts>,
}

#[derive(Debug)]
pub(crate) struct Stats {
    blocks: AtomicU64,
    entries: AtomicU64,
    busy: AtomicU64,
    unfolded: AtomicU64,
    unfolded_max: AtomicU64,
    /// Rooms with an entry.
    rooms: AtomicU64,
    newest_time: AtomicU64,
    positions: Vec<AtomicU64>,
}

impl Stats {
    pub(crate) fn new(partitions: u32, rooms: u64) -> Self {
        let (blocks, entries, busy) = Default::default();
        let (unfolded, unfolded_max) = Default::default();
        let positions = (0..partitions).map(|_| AtomicU64::default()).collect();
        let (rooms, newest_time) = (AtomicU64::new(rooms), AtomicU64::default());
        Self { blocks, entries, busy, unfolded, unfolded_max, rooms, newest_time, positions }
    }

    pub(crate) fn block(&self) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn new_room(&self) {
        self.rooms.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rooms(&self) -> u64 {
        self.rooms.load(Ordering::Relaxed)
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

    pub(crate) fn time(&self, ms: u64) {
        self.newest_time.fetch_max(ms, Ordering::Relaxed);
    }

    pub(crate) fn newest_time(&self) -> u64 {
        self.newest_time.load(Ordering::Relaxed)
    }

    pub(crate) fn position(&self, partition: Partition) -> Position {
        let at = self.positions.get(partition as usize);
        Position(at.map_or(0, |at| at.load(Ordering::Relaxed)))
    }

    pub(crate) fn busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self) -> NodeStats {
        let at = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NodeStats {
            blocks: at(&self.blocks),
            entries: at(&self.entries),
            busy: at(&self.busy),
            unfolded: at(&self.unfolded),
            unfolded_max: at(&self.unfolded_max),
            ..NodeStats::default()
        }
    }
}
