//! Which blocks take effect: per node, its incarnation and the number of its next block.
//!
//! Enters: the name of a block that the journal returned. Leaves: whether it takes effect.
//! Invariant: a block of an older incarnation, or one that is not exactly the next, is skipped on
//! every node and in every replay alike; so each block takes effect at most once.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::model::{
    block::BlockName,
    identity::NodeId,
    journal::{Mark, Position, Stamp},
};

use roomlog_protocol::{Digest, RoomName, Slot};

/// How far the blocks of one node are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposer {
    /// Its newest incarnation.
    pub incarnation: u64,
    /// The number of that incarnation's next block.
    pub next: u64,
}

/// Every node that ever proposed to a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposers(pub BTreeMap<NodeId, Proposer>);

impl Proposers {
    /// Whether the block takes effect; if so, it is counted.
    pub(crate) fn admit(&mut self, name: &BlockName) -> bool {
        let proposer = self.0.entry(name.node).or_insert(Proposer { incarnation: 0, next: 0 });
        if name.incarnation > proposer.incarnation && name.n == 0 {
            *proposer = Proposer { incarnation: name.incarnation, next: 1 };
            return true;
        }
        if name.incarnation == proposer.incarnation && name.n == proposer.next {
            proposer.next += 1;
            return true;
        }
        false
    }
}

/// A hash over the effects of all blocks up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// The chain before the first block.
    pub(crate) const START: Self = Self([0; 32]);

    /// The chain after a commit moved a room to this head.
    #[must_use]
    pub(crate) fn then(&self, room: &RoomName, end: Slot, digest: &Digest) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update((room.len() as u64).to_be_bytes());
        hash.update(room.as_bytes());
        hash.update(end.to_be_bytes());
        hash.update(digest.0);
        Self(hash.finalize().into())
    }
}

/// What an archive holds of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// All blocks up to this position are in the archive.
    pub position: Position,
    /// The stamp of the block there; `None` in archives from before stamps were kept.
    pub stamp: Option<Stamp>,
    /// The chain up to there, if nodes compare chains.
    pub chain: Option<Chain>,
    /// The proposers as of that position.
    pub proposers: Proposers,
    /// The newest rules that a block up to there named; 0 if unknown.
    pub rules: u16,
    /// The journal's clock up to there.
    pub clock: JournalClock,
    /// Which blocks of the journal may still hold texts that are removed.
    pub unwiped: Unwiped,
}

/// What is known of a journal's clock, which may go back: another server stamps the blocks, or somebody
/// corrects the time. By default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalClock {
    /// The newest time of a block, in ms since the epoch.
    pub newest: u64,
    /// By how much at most a block was stamped before one that it follows, in ms.
    pub back: u64,
}

impl JournalClock {
    /// Notes the time of the next block.
    pub(crate) fn note(&mut self, time: u64) {
        self.back = self.back.max(self.newest.saturating_sub(time));
        self.newest = self.newest.max(time);
    }

    /// The earliest time that may stand on the block of an entry with this `committed_at`, and on those that
    /// follow it.
    pub(crate) fn earliest(self, committed_at: u64) -> u64 {
        committed_at.saturating_sub(self.back)
    }
}

/// The blocks of a journal that may hold texts which were removed from the log; by default none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwiped {
    /// No older block does, by the journal's time in ms since the epoch.
    pub since: u64,
    /// No later block does; 0 if none does.
    pub upto: Position,
}

impl Unwiped {
    /// Whether no block does.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.upto == Position(0)
    }

    /// These and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.is_none(), other.is_none()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { since: self.since.min(other.since), upto: self.upto.max(other.upto) },
        }
    }
}

impl Applied {
    /// Where to follow the journal from.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { position: self.position, stamp: self.stamp }
    }
}

#[cfg(test)]
#[path = "tests/applied.rs"]
mod tests;
