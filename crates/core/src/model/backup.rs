//! The contract of a backup: a copy of the archive as it stands at a position, taken while the node
//! works.
//!
//! ```text
//!  hold ──► the node folds to its head ──► copy, in small steps ──► manifest, bytes
//! ```
//!
//! Enters: the wish. Leaves: the archive's bytes and the manifest of what they hold. Invariants: nothing
//! is trimmed while it is held; the copy is of one moment; whoever asks is told how far it is, and can
//! end it at each step.

use std::io::Read;

use roomlog_protocol::Manifest;
use thiserror::Error;

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes copied.
    pub done: u64,
    /// Bytes to copy, as far as is known.
    pub of: u64,
}

/// A copy of the archive.
pub struct Copy {
    /// What it holds; without `sha256`, which is known when it was read to its end.
    pub manifest: Manifest,
    /// The file, `manifest.archive_bytes` long.
    pub archive: Box<dyn Read + Send>,
}

/// Why there is no copy. Nothing is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackupError {
    /// The copy would not fit beside the original.
    #[error(
        "the copy of the archive needs {needed} bytes in the data directory while it is sent, and {free} \
         are free; make room there"
    )]
    NoSpace {
        /// Bytes of the copy, and what is left free for the log beside it.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The engine failed.
    #[error("the archive cannot be copied: {0}")]
    Failed(String),
    /// Whoever asked went away.
    #[error("nobody wants the copy any more")]
    Ended,
}

/// An engine whose archive can be copied.
pub trait Backup: Send + Sync + 'static {
    /// Keeps the journal from being trimmed as long as the result lives.
    fn hold(&self) -> Box<dyn Send>;

    /// Copies the archive; blocks its thread for as long as the disk takes. `go_on` is asked after each
    /// step of about a MiB, and `false` ends it.
    ///
    /// # Errors
    /// [`BackupError`].
    fn copy(&self, go_on: &mut dyn FnMut(Progress) -> bool) -> Result<Copy, BackupError>;
}
