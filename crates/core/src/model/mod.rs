//! What the other rooms of the core share: contracts and plain data, without I/O or tasks.
//!
//! ```text
//!  proposal ─► block ─► journal (contract) ─► commit ─► archive (contract)
//! ```
//!
//! Invariant: nothing here knows the modules that use it.

pub mod applied;
pub mod archive;
pub mod backup;
pub mod block;
pub mod commit;
pub(crate) mod error;
pub mod head;
pub mod identity;
pub mod journal;
pub mod mailbox;
pub mod outcome;
pub(crate) mod phase;
pub mod proposal;
pub mod rules;
