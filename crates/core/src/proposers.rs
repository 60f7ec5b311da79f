//! Which blocks have taken effect: per node the incarnation and the next number.
//!
//! Enters: the name of a block that the journal gave back. Leaves: whether it takes effect. Invariant:
//! a block that is of an older incarnation, or not exactly the next, is skipped whole, on every node
//! and in every replay alike; so each block takes effect once or never.

use std::collections::BTreeMap;

use crate::block::{BlockName, NodeId};

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
    pub fn admit(&mut self, name: &BlockName) -> bool {
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
