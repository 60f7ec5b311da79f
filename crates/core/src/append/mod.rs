//! From an append to a proposed block.
//!
//! ```text
//!  lane ─► inbox ─► sequencer (a merge per room) ─► block ─► journal, pipeline
//! ```
//!
//! Invariant: appends of one queue are proposed in their order.

pub mod inbox;
pub mod inboxes;
pub mod lane;
pub mod merge;
pub(crate) mod pipeline;
pub mod sequencer;
pub mod task;
