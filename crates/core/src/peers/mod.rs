//! Gossip between the nodes of a cluster: their position, the effects of their blocks, and the
//! rules they know.
//!
//! Invariant: nothing that a node applies depends on it; a node that disagrees stops.

pub(crate) mod agreement;
pub(crate) mod rules;
pub(crate) mod task;
