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

pub mod agreeing;
pub mod agreement;
pub mod applier;
pub mod applying;
pub mod archive;
pub mod backup;
pub mod block;
pub mod episode;
pub mod fold;
pub mod follower;
pub mod give_way;
pub mod heads;
pub mod inbox;
pub mod inboxes;
pub mod journal;
pub mod lane;
pub mod mailbox;
pub mod memory;
pub mod merge;
pub mod node;
pub mod partition;
mod pipeline;
pub mod proposal;
pub mod proposers;
pub mod reader;
mod recent_ids;
pub mod room;
pub mod rooms;
pub mod rules;
pub mod sequencer;
pub mod sequencing;
pub mod stats;
#[cfg(feature = "suites")]
pub mod suites;
pub mod tail;

pub use node::{Node, NodeSettings, Running};
pub use partition::{Identity, NodeError};
