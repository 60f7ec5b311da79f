//! From a durable block to entries: the replicated state machine, and the fold behind it.
//!
//! ```text
//!  journal ─► task ─► applier (room, ids) ─┬─► outcomes, tails
//!                                          └─► fold ─► archive
//! ```
//!
//! Invariant: what a room holds is a function of the journal's order and of nothing else.

pub(crate) mod applier;
pub(crate) mod fold;
pub(crate) mod ids;
pub(crate) mod room;
pub(crate) mod task;
