//! A journal that is measured from outside, through its contract.
//!
//! Enters: blocks. Leaves: the same, to the journal, and how large each was and how long it took to be
//! durable. Invariant: nothing about the journal changes but that. It stands here because the core
//! reads no clock, and no engine has to know that it is watched.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    block,
    journal::{
        Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
        Position, Proposed,
    },
};
use tokio::time::Instant;

use crate::Metrics;

/// A journal, and where its measures go.
pub(crate) struct TimedJournal {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Journal for TimedJournal {
    fn facts(&self) -> &JournalFacts {
        self.journal.facts()
    }

    fn counts(&self) -> Option<JournalCounts> {
        self.journal.counts()
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        self.journal.peers()
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (begun, metrics) = (Instant::now(), self.metrics.clone());
        let (appends, bytes) = (block::proposals_in(&block), block.len());
        // One node's journal writes here, before there is anything to wait for.
        let proposed = self.journal.propose(partition, block);
        let noted = move |proposed: Proposed| {
            if let Proposed::Durable(_) = proposed {
                metrics.block(appends, bytes, begun.elapsed());
            }
            proposed
        };
        proposed.map(noted).boxed()
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        self.journal.follow(partition, after)
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        self.journal.head(partition)
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        self.journal.first(partition)
    }

    fn has_surplus(&self, partition: Partition) -> bool {
        self.journal.has_surplus(partition)
    }

    fn trim(&self, partition: Partition, upto: Position) {
        self.journal.trim(partition, upto);
    }
}
