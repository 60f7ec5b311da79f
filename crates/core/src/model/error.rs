//! Why a node stops.

use thiserror::Error;

use crate::model::{
    archive::ArchiveError,
    block::BlockError,
    journal::{JournalError, Position},
};

/// Why a node stopped. Acked entries are safe; the process should exit and be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The archive failed or is damaged.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A thread could not be started, or panicked.
    #[error("{0}")]
    Thread(String),
    /// A block that this version cannot apply, and must not skip.
    #[error(
        "position {position} of the journal holds {problem}; nothing was changed: restore a backup \
         of the whole directory, or run the version that wrote it"
    )]
    Block {
        /// Its position.
        position: Position,
        /// What is wrong with it.
        problem: BlockError,
    },
    /// The archive was built with rules that this build does not know.
    #[error(
        "the archive was made by rules {rules}, which this build of roomlog does not know: a \
         newer one made it. Start this node with that build; nothing in its directory has to change"
    )]
    NewerRules {
        /// Their number.
        rules: u16,
    },
    /// Journal and archive do not match.
    #[error(
        "the archive is at position {applied} and the journal ends at {head}: the journal lost \
         entries or is a different one; restore the matching journal: nothing was changed"
    )]
    JournalBehind {
        /// The archive's position.
        applied: Position,
        /// The journal's head.
        head: Position,
    },
    /// This node built a different log from the same journal than most other nodes.
    #[error(
        "{others} other nodes hold a different log, first seen at position {position} of the \
         journal: this node's archive is damaged, or it applied different rules. The node stops \
         serving: remove archive.db, archive.db-wal, archive.db-shm and `frozen` in its directory \
         and start it again; it rebuilds its archive from the journal"
    )]
    Disagrees {
        /// The position of the first difference seen.
        position: Position,
        /// How many nodes differ.
        others: usize,
    },
    /// A block of this node was skipped: another process used its identity.
    #[error(
        "position {0} of the journal has an out-of-sequence block of this node: another process \
         runs with this node's identity, or its `node` file is an older copy; stop the other \
         process, or remove the `node` file to continue as a new node: no entry is lost"
    )]
    Fenced(Position),
}
