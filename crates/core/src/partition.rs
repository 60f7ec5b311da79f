//! A partition: sequencer, journal and apply, in that order, for ever.
//!
//! ```text
//!  inbox ──► sequencing ──block──► journal ──durable──► applying ──► tails, outcomes
//!                └──── pipeline: what is in flight ────────┘ └─────► fold ──► archive
//! ```
//!
//! Enters: appends. Leaves: commits and outcomes. Invariant: sequencing and applying share nothing but
//! the pipeline, so that the journal is given its next block while the last one is applied.

use roomlog_protocol::RoomName;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tracing::error;

use crate::{
    agreeing::Agreeing,
    applying::Applying,
    archive::ArchiveError,
    block::{BlockError, NodeId},
    journal::{JournalError, Partition, Position},
    sequencing::Sequencing,
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

/// The partition of a room: the first 8 bytes of SHA-256 of its name, modulo how many there are.
#[must_use]
pub fn partition_of(room: &RoomName, partitions: u32) -> Partition {
    if partitions <= 1 {
        return 0;
    }
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(room.as_bytes()));
    let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    u32::try_from(hash % u64::from(partitions)).unwrap_or(0)
}

/// Who this node is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Its incarnation: greater at each start.
    pub incarnation: u64,
}

/// The tasks of a partition. Where [`Sequencing::waits_for_disk`] says so, sequencing needs a thread of
/// its own.
pub struct PartitionTask {
    /// Proposes.
    pub sequencing: Sequencing,
    /// Applies.
    pub applying: Applying,
    /// Compares with other nodes, where there are any.
    pub agreeing: Option<Agreeing>,
}

impl PartitionTask {
    /// Runs them as one task, for where a thread may wait for the disk.
    ///
    /// # Errors
    /// [`NodeError`] of whichever failed first.
    pub async fn run(self) -> Result<(), NodeError> {
        let agreeing = async {
            match self.agreeing {
                Some(agreeing) => agreeing.run().await,
                None => Ok(()),
            }
        };
        let (sequenced, applied, agreed) =
            tokio::join!(self.sequencing.run(), self.applying.run(), agreeing);
        ended(agreed.and(sequenced), applied)
    }
}

/// What came of the two tasks of a partition, once both have ended.
///
/// # Errors
/// [`NodeError`] when one of them failed.
pub fn ended(
    sequenced: Result<(), NodeError>,
    applied: Result<(), NodeError>,
) -> Result<(), NodeError> {
    let ended = sequenced.and(applied);
    if let Err(problem) = &ended {
        error!(%problem, "the node stopped");
    }
    ended
}
