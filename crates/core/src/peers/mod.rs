//! Gossip between the nodes of a cluster. Invariant: nothing that a node applies depends on it; a
//! node that disagrees stops.

pub(crate) mod agreement;
pub(crate) mod rules;
pub(crate) mod task;
