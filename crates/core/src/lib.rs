//! The core of Roomlog: a replicated state machine that turns appends into entries.
//!
//! ```text
//!  lane ──► inbox ──► sequencer (a merge per room) ──block──► journal
//!                                                               │ durable, in one order
//!  outcomes ◄── mailbox ◄── applier (room::apply) ◄─────────────┘
//!  followers ◄── tail ◄────────┤
//!  reader ◄── archive ◄── fold ┘
//! ```
//!
//! Invariant: the content of a room is a function of the journal's order alone. No sockets, JSON,
//! SQL or NATS here, and no wall clock: times are passed in.

mod append;
mod apply;
mod blocking;
pub mod budget;
pub mod episode;
mod model;
mod node;
mod peers;
mod read;
mod stats;
pub mod yielding;

pub use append::{lane, queue};
pub use blocking::Threads;
pub use model::{
    applied, archive, backup, block, commit, error::NodeError, head, identity, identity::Identity,
    journal, mailbox, outcome, proposal, removals, rules,
};
pub use node::{Engines, Node, NodeSettings};
pub use read::{follower, heads, interests, reader, tail};
pub use stats::NodeStats;

#[cfg(test)]
extern crate self as roomlog_core;

/// The test kit's fixtures and engines, compiled against the crate under test.
#[cfg(test)]
#[allow(unreachable_pub, unused, reason = "shared with the test kit")]
#[path = "../../testkit/src/fixtures.rs"]
mod fixtures;
#[cfg(test)]
#[allow(unreachable_pub, unused, reason = "shared with the test kit")]
#[path = "../../testkit/src/memory/mod.rs"]
mod memory;
