//! The settings of a node.

use std::time::Duration;

use crate::model::rules::Rules;

/// A thread that a node starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeThread {
    /// Writes the journal. Every append waits for it, and it mostly waits for the disk.
    Sequencer,
    /// Folds. Nothing waits for it until it is far behind.
    Fold,
}

/// The limits of a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeSettings {
    /// Bytes of appends without an outcome; at the limit new ones are `busy`.
    pub waiting_bytes: usize,
    /// Entries that are applied and not folded; at the limit the journal is not read and new appends
    /// are `busy`.
    pub unfolded_entries: usize,
    /// What such entries take in memory, in bytes: each about twice its texts plus 512. As
    /// `unfolded_entries` at the limit.
    pub unfolded_bytes: usize,
    /// Bytes of committed entries that are kept in memory for followers, over all rooms.
    pub tail_bytes: usize,
    /// Entries that start a fold, and the most in one window.
    pub fold_entries: usize,
    /// How long an entry waits for others to be folded with.
    pub fold_wait: Duration,
    /// The newest rules that this node knows.
    pub knows: Rules,
    /// Called first on each thread that the node starts, to set its priority.
    pub on_thread: fn(NodeThread),
}

impl NodeSettings {
    /// The share of one of so many partitions.
    pub(super) fn among(self, partitions: u32) -> Self {
        let share = |limit: usize| (limit / partitions as usize).max(1);
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
            on_thread: |_| {},
        }
    }
}
