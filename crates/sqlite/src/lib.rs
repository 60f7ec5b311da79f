//! The engines of one node: a journal of segments and a SQLite archive in one data directory. In a
//! cluster ([`derived`]) a node's directory has the archive only.
//!
//! ```text
//!  roomlog-data/
//!    lock         held by the serving process
//!    node         the node's id, and how often it has started
//!    journal-…    segments with the newest blocks; one writer, one fsync per block
//!    archive.db   entries by (room, slot), ids, heads; one writer, a few readers
//!
//!  start: inspect the files ──► refuse │ serve │ restore     backup: a copy of archive.db
//! ```
//!
//! Files may have been left by anyone: no link is followed (`guard`, `private`), and their tables are
//! compared before anything else is read (`schema`). What is written is the user's alone.
//!
//! Invariants: nothing is visible before the journal has it on stable storage; `archive.db` is
//! never ahead of the journal, and has everything that the journal trimmed on stable storage.

pub mod archive;
pub mod backup;
pub mod derived;
pub mod directory;
mod error;
mod files;
mod guard;
pub mod journal;
mod pragma;
pub mod private;
mod restore;
mod restore_into;
mod schema;
mod scrub;
mod small_files;
mod start;
mod wal;
mod wal_pages;

pub use archive::SqliteArchive;
pub use backup::SqliteBackup;
pub use derived::Derived;
pub use directory::Directory;
pub use error::OpenError;
pub use journal::{JOURNAL_BYTES, SegmentJournal};
pub use restore_into::Restored;
pub use small_files::claim;
pub use start::Contents;
