//! The settings of a node.

use std::time::Duration;

use tokio::runtime::Handle;

use crate::{blocking::Threads, model::rules::Rules};

/// The limits of a node.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// The budget of appends from their receipt until their entries are in the archive, in
    /// approximate bytes in memory: for each, twice its texts plus 512. An author that holds too
    /// much of it is `busy`.
    pub append_bytes: usize,
    /// Bytes of entries applied and not folded, those of other nodes too, counted in the same way.
    /// At the limit the node stops reading the journal, and new appends are `busy`.
    pub unfolded_bytes: usize,
    /// Bytes of committed entries kept in memory for followers, over all rooms.
    pub tail_bytes: usize,
    /// Entries that start a fold, and the most in one window.
    pub fold_entries: usize,
    /// How long an entry waits for others before a fold starts.
    pub fold_wait: Duration,
    /// The newest rules that this node knows.
    pub knows: Rules,
    /// The threads beside those of the caller's runtime.
    pub threads: Threads,
    /// The runtime that delivers commits to followers; `None`: that of the caller of
    /// [`Node::start`](crate::Node::start).
    pub deliver_on: Option<Handle>,
}

impl NodeSettings {
    pub(super) fn among(self, partitions: u32) -> Self {
        let share = |limit: usize| (limit / partitions as usize).max(1);
        Self {
            unfolded_bytes: share(self.unfolded_bytes),
            tail_bytes: share(self.tail_bytes),
            ..self
        }
    }
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            append_bytes: 256 << 20,
            unfolded_bytes: 512 << 20,
            tail_bytes: 64 << 20,
            fold_entries: 65_536,
            fold_wait: Duration::from_secs(1),
            knows: Rules::NEWEST,
            threads: Threads::default(),
            deliver_on: None,
        }
    }
}
