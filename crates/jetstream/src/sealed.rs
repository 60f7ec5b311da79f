//! A journal to which nothing is added any more: it is read to its end, and that is all.
//!
//! Enters: streams that were sealed. Leaves: their blocks. Invariant: its head is its end.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::journal::{
    Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers, Position,
    Proposed,
};

use crate::{JetStreamJournal, OpenError};

/// The journal of a cluster that is no more.
pub struct SealedJournal {
    facts: JournalFacts,
    journal: JetStreamJournal,
    heads: Vec<Position>,
}

impl SealedJournal {
    /// Seals the streams of a journal, for the move of this name.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer.
    pub async fn seal(journal: JetStreamJournal, token: &str) -> Result<Self, OpenError> {
        let heads = journal.seal(token).await?;
        let facts = JournalFacts { is_shared: false, ..journal.facts().clone() };
        Ok(Self { facts, journal, heads })
    }
}

impl Journal for SealedJournal {
    fn facts(&self) -> &JournalFacts {
        &self.facts
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        None
    }

    fn counts(&self) -> Option<JournalCounts> {
        None
    }

    fn propose(&self, _: Partition, _: Bytes) -> BoxFuture<'static, Proposed> {
        std::future::ready(Proposed::Refused("the journal is sealed".into())).boxed()
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        self.journal.follow(partition, after)
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        let head = usize::try_from(partition).ok().and_then(|index| self.heads.get(index));
        head.copied().ok_or_else(|| JournalError(format!("there is no partition {partition}")))
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        self.journal.first(partition)
    }

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}
}
