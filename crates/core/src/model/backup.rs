//! The contract of a backup: a copy of the archive at one position, made while the node runs.
//!
//! ```text
//!  hold ──► the node folds to its head ──► copy, in small steps ──► manifest, bytes
//! ```
//!
//! Invariants: nothing is trimmed while a hold lives; the copy is of one moment; the caller
//! receives the progress at each step and can cancel there.

use std::io::Read;

use roomlog_protocol::Manifest;
use thiserror::Error;

/// The progress of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes copied.
    pub done: u64,
    /// Bytes to copy, as far as known.
    pub of: u64,
}

/// A copy of the archive.
pub struct ArchiveCopy {
    /// Its manifest; `sha256` is not set, because it is known only after reading to the end.
    pub manifest: Manifest,
    /// The file, `manifest.archive_bytes` long.
    pub archive: Box<dyn Read + Send>,
}

/// Why there is no copy. Nothing of it is left on disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackupError {
    /// The copy does not fit on the disk.
    #[error(
        "the copy of the archive needs {needed} bytes in the data directory while it is \
         sent, and {free} are available; free disk space there"
    )]
    NoSpace {
        /// Bytes of the copy, plus a reserve for the log.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// The engine failed.
    #[error("the archive cannot be copied: {0}")]
    Failed(String),
    /// The caller cancelled.
    #[error("the copy was cancelled")]
    Ended,
}

/// An engine whose archive can be copied.
pub trait Backup: Send + Sync + 'static {
    /// Prevents the journal from being trimmed until the result is dropped.
    fn hold(&self) -> Box<dyn Send>;

    /// Copies the archive; blocks its thread. `go_on` is called after each step of about 1 MiB;
    /// `false` cancels.
    fn copy(&self, go_on: &mut dyn FnMut(Progress) -> bool) -> Result<ArchiveCopy, BackupError>;
}
