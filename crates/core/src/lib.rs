//! The core of Roomlog: one path from an append to an entry, as a replicated state machine.
//!
//! ```text
//!  lane ──► inbox ──► sequencer (a merge per room) ──block──► journal
//!                                                               │ durable, in one order
//!  outcomes ◄── mailbox ◄── applier (room::apply) ◄─────────────┘
//!  followers ◄── tail ◄────────┤
//!  reader ◄── archive ◄── fold ┘
//! ```
//!
//! Invariant: what a room holds is a function of the journal's order and of nothing else. Knows no
//! socket, JSON, SQL or NATS, and no clock: times are passed in.

mod append;
mod apply;
pub mod episode;
pub mod give_way;
mod model;
mod node;
mod peers;
mod read;
mod stats;

pub use append::{lane, queue};
pub use model::{
    applied, archive, backup, block, commit, error::NodeError, head, identity, identity::Identity,
    journal, mailbox, outcome, proposal, rules,
};
pub use node::{Engines, Node, NodeSettings, NodeThread};
pub use read::{follower, heads, reader, tail};
pub use stats::NodeStats;

#[cfg(test)]
extern crate self as roomlog_core;

/// The fixtures and engines of the test kit, made of the crate under test.
#[cfg(test)]
#[allow(unreachable_pub, unused, reason = "shared with the test kit")]
#[path = "../../testkit/src/fixtures.rs"]
mod fixtures;
#[cfg(test)]
#[allow(unreachable_pub, unused, reason = "shared with the test kit")]
#[path = "../../testkit/src/memory/mod.rs"]
mod memory;
