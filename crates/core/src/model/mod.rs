//! Contracts and plain data: no I/O, no tasks, and no dependency on the modules that use them.

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
pub mod removals;
pub mod rules;
