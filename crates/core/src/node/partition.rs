//! A partition: sequencer, journal and apply, in that order, for ever.
//!
//! ```text
//!  inbox ──► sequencing ──block──► journal ──durable──► applying ──► tails, outcomes
//!                └──── pipeline: what is in flight ────────┘ └─────► fold ──► archive
//! ```
//!
//! Enters: appends. Leaves: commits and outcomes. Invariant: sequencing and applying share nothing but
//! the pipeline, so that the journal is given its next block while the last one is applied.

use tracing::error;

use crate::{
    append::task::Sequencing, apply::task::Applying, model::error::NodeError, peers::task::Agreeing,
};

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
