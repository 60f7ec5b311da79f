//! Why a node stops.

use thiserror::Error;

use crate::model::{
    archive::ArchiveError,
    block::BlockError,
    journal::{JournalError, Position},
};

/// Why a node cannot go on. What was acked is safe; the process should end and be started again.
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
    /// A block that this version cannot apply: it must not be passed over.
    #[error(
        "position {position} of the journal holds {problem}; nothing was changed: restore a backup \
         of the whole directory, or run the version that wrote it"
    )]
    Block {
        /// Where it stands.
        position: Position,
        /// What is wrong with it.
        problem: BlockError,
    },
    /// The archive was made by rules that this build does not know.
    #[error(
        "the archive was made by rules {rules}, which this build of roomlog does not know: a newer one made it. \
         Start this node with that build; nothing in its directory has to change"
    )]
    NewerRules {
        /// Their version.
        rules: u16,
    },
    /// Journal and archive do not belong together.
    #[error(
        "the archive is at position {applied} and the journal ends at {head}: the journal lost \
         entries or is another one; bring the matching journal back, nothing was changed"
    )]
    JournalBehind {
        /// What the archive has taken in.
        applied: Position,
        /// Where the journal ends.
        head: Position,
    },
    /// This node has made another log of the same journal than most others.
    #[error(
        "{others} other nodes hold another log than this one, first seen at position {position} of the \
         journal: this node's archive is damaged, or it ran rules of its own. Nothing more is answered from it: \
         remove archive.db, archive.db-wal, archive.db-shm and `frozen` in its directory, and start it again: it \
         makes its archive from the journal"
    )]
    Disagrees {
        /// Where the first difference was seen.
        position: Position,
        /// How many nodes differ.
        others: usize,
    },
    /// Our own block was skipped: another process used this node's identity.
    #[error(
        "position {0} of the journal has a block of this node's that was not the next: another \
         process runs with this node's identity, or its `node` file is an older copy; stop the \
         other process, or remove the `node` file to go on as a new node: no entry is lost"
    )]
    Fenced(Position),
}
