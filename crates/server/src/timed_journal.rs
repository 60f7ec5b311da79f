//! A journal that is measured from outside, through its contract.
//!
//! Enters: blocks. Leaves: the same blocks, to the journal; the size of each and the time until it
//! was durable, to the metrics. It is here because the core reads no clock, and so that no engine
//! has to measure itself.

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

use crate::metrics::Metrics;

struct TimedJournal {
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
}

impl Metrics {
    /// Wraps a journal: its blocks are measured and timed.
    #[must_use]
    pub fn time_journal(self: &Arc<Self>, journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
        Arc::new(TimedJournal { journal, metrics: self.clone() })
    }
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
        // A journal on this machine writes in this call, before there is a future to poll.
        let proposed = self.journal.propose(partition, block);
        let measure = move |proposed: &Proposed| {
            if let Proposed::Durable(_) = proposed {
                metrics.block(appends, bytes, begun.elapsed());
            }
        };
        proposed.inspect(measure).boxed()
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
