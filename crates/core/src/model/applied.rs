//! Which blocks have taken effect: per node the incarnation and the next number.
//!
//! Enters: the name of a block that the journal gave back. Leaves: whether it takes effect. Invariant:
//! a block that is of an older incarnation, or not exactly the next, is skipped whole, on every node
//! and in every replay alike; so each block takes effect once or never.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::model::{
    block::BlockName,
    identity::NodeId,
    journal::{Mark, Position, Stamp},
};

use roomlog_protocol::{Digest, RoomName, Slot};

/// What one node has had applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposer {
    /// Its newest incarnation.
    pub incarnation: u64,
    /// The number of that incarnation's next block.
    pub next: u64,
}

/// All nodes that ever proposed to a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposers(pub BTreeMap<NodeId, Proposer>);

impl Proposers {
    /// Whether the block takes effect; when it does, it is counted.
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

/// What all blocks up to a position did, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// Of no block.
    pub(crate) const START: Self = Self([0; 32]);

    /// The chain after a room came to this head.
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

/// What an archive has taken in of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Everything up to this position is in the archive.
    pub position: Position,
    /// The stamp of the block there; archives of before it was kept have none.
    pub stamp: Option<Stamp>,
    /// What all blocks up to there did, where nodes compare that.
    pub chain: Option<Chain>,
    /// The proposers as of that position.
    pub proposers: Proposers,
    /// The newest version of the rules that a block up to there named; 0 when none is known.
    pub rules: u16,
}

impl Applied {
    /// Where the journal is followed from.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { position: self.position, stamp: self.stamp }
    }
}

#[cfg(test)]
#[path = "tests/applied.rs"]
mod tests;
