//! What the nodes of a cluster tell each other: how far they are, what came of it, which rules they know.
//!
//! Invariant: nothing that a node applies depends on it; a node that disagrees stops.

pub mod agreement;
pub mod rules;
pub mod task;
