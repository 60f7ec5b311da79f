//! From a durable block to entries: the replicated state machine, and the fold into the archive.
//! Invariant: the content of a room is a function of the journal's order alone.

pub(crate) mod applier;
pub(crate) mod fold;
mod held_room;
pub(crate) mod ids;
pub(crate) mod room;
pub(crate) mod task;
pub(crate) mod wiper;
