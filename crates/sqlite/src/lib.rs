//! The engines of one node: a journal and an archive as two SQLite files in one directory, which is
//! one unit. In a cluster ([`derived`]) a node's directory has the archive only.
//!
//! ```text
//!  roomlog-data/
//!    lock         held by the process that serves
//!    node         who this node is, and how often it has started
//!    journal.db   a row per block, the newest ones; one writer thread, one fsync per block
//!    archive.db   entries by (room, slot), ids, heads; one writer, a few readers
//!
//!  start: peek, judge ──► refuse │ serve │ restore          backup: a copy of archive.db, its manifest
//! ```
//!
//! Invariants: nothing is shown before `journal.db` has it on stable storage; `archive.db` is never
//! ahead of it, and has on stable storage all that it let go of. Knows no gateway.

pub mod archive;
pub mod backup;
mod copied;
pub mod derived;
pub mod directory;
mod frozen;
pub mod journal;
mod node_file;
mod peek;
mod pragma;
mod restore;
mod sql;
mod start;
mod trouble;
mod wal;

pub use archive::SqliteArchive;
pub use backup::SqliteBackup;
pub use copied::Restored;
pub use derived::Derived;
pub use directory::{Directory, OpenError};
pub use frozen::claim;
pub use journal::{JOURNAL_BYTES, SqliteJournal};
pub use start::{Holds, Opened};
