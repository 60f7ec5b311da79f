//! The journal of a cluster: one replicated NATS JetStream stream per partition.
//!
//! ```text
//!  propose ──► resender ──► publisher ──► stream ROOMLOG_<generation>_<partition>, fsynced by a quorum
//!                                │ in the stream's order
//!  follow  ◄── reader ◄── a consumer, monitored, and replaced if it is silent or behind
//! ```
//!
//! Invariants: nothing is visible before a quorum of servers has it on stable storage; servers that
//! cannot be shown to fsync are refused at the start, unless the operator declares it; positions
//! are the stream's sequence numbers, read without a gap; if the stream was set back, purged or
//! recreated, the reader ends with an error.

mod check;
mod eraser;
mod error;
mod journal;
mod moving;
mod open;
mod options;
mod peers;
mod publisher;
mod reader;
mod resender;
mod shared;
mod sync;

pub use error::OpenError;
pub use journal::{JetStreamJournal, Promise};
pub use moving::SealedJournal;
pub use open::probe;
pub use options::{MAX_PARTITIONS, Options, Purpose};
