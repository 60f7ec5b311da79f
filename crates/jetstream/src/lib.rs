//! The journal of a cluster: one NATS JetStream stream per partition, kept by several servers.
//!
//! ```text
//!  propose ──► publisher ──► stream ROOMLOG_<generation>_<partition>, fsynced by a quorum
//!                                │ in the stream's order
//!  follow  ◄── reader ◄── a consumer, watched and replaced when it is silent or behind
//! ```
//!
//! Invariants: nothing is shown before a quorum of servers that fsync has it: what cannot be shown to be
//! so is refused at the start, or declared by the operator; positions are the stream's sequence numbers,
//! read without a gap; where the stream was set back, purged or made again, the reader ends and nothing
//! goes on. Knows no archive and no gateway.

mod check;
mod journal;
mod open;
mod options;
mod peers;
mod publisher;
mod reader;
mod sealed;
mod sync;

pub use journal::{JetStreamJournal, Promise};
pub use open::OpenError;
pub use options::{MOST_PARTITIONS, Options, Purpose};
pub use sealed::SealedJournal;
