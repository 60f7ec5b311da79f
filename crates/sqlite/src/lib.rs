//! The engines of one node: a journal and an archive as two SQLite files in one directory, which is
//! one unit.
//!
//! ```text
//!  roomlog-data/
//!    lock         held by the process that serves
//!    node         who this node is, and how often it has started
//!    journal.db   a row per block; one writer thread, one fsync per block
//!    archive.db   entries by (room, slot), ids, heads; one writer, a few readers
//! ```
//!
//! Invariants: nothing is shown before `journal.db` has it on stable storage; `archive.db` is never
//! ahead of it. Knows no gateway.

pub mod archive;
pub mod directory;
pub mod journal;
mod node_file;
mod pragma;
mod sql;
mod trouble;
mod wal;

pub use archive::SqliteArchive;
pub use directory::{Directory, OpenError};
pub use journal::SqliteJournal;
