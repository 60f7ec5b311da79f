//! What the nodes of a cluster tell each other: how far they are, what came of it, which rules they know.
//!
//! Invariant: nothing that a node applies depends on it; a node that disagrees stops.

pub(crate) mod agreement;
pub(crate) mod rules;
pub(crate) mod task;
