//! From an append to a proposed block. Invariant: appends of one queue are proposed in order.

pub(crate) mod inbox;
pub mod lane;
pub(crate) mod merge;
pub(crate) mod pipeline;
pub mod queue;
pub(crate) mod sequencer;
pub(crate) mod task;
mod turns;
