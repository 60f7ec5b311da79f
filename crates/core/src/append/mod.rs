//! From an append to a proposed block.
//!
//! ```text
//!  lane ─► inbox ─► sequencer (a merge per room) ─► block ─► journal, pipeline
//! ```
//!
//! Invariant: appends of one queue are proposed in their order.

pub(crate) mod inbox;
pub mod lane;
pub(crate) mod merge;
pub(crate) mod pipeline;
pub mod queue;
pub(crate) mod sequencer;
pub(crate) mod task;
