//! A journal in memory whose nodes hear each other.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    journal::{Follow, Hear, Journal, JournalError, Mark, Partition, Peers, Position, Proposed},
    memory::MemoryJournal,
};
use tokio::sync::broadcast;

/// One journal of several nodes, and how they speak.
pub(crate) struct Speaking {
    journal: MemoryJournal,
    all: broadcast::Sender<Bytes>,
}

impl Speaking {
    pub(crate) fn new() -> Self {
        Self { journal: MemoryJournal::new("log"), all: broadcast::channel(64).0 }
    }
}

struct Hub(broadcast::Sender<Bytes>);

impl Peers for Hub {
    fn tell(&self, said: Bytes) -> BoxFuture<'_, ()> {
        let _nobody_hears = self.0.send(said);
        std::future::ready(()).boxed()
    }

    fn hear(&self) -> BoxFuture<'_, Box<dyn Hear>> {
        let ear: Box<dyn Hear> = Box::new(Ear(self.0.subscribe()));
        std::future::ready(ear).boxed()
    }
}

struct Ear(broadcast::Receiver<Bytes>);

impl Hear for Ear {
    fn next(&mut self) -> BoxFuture<'_, Bytes> {
        async { self.0.recv().await.expect("nothing is missed") }.boxed()
    }
}

impl Journal for Speaking {
    fn log(&self) -> &str {
        self.journal.log()
    }

    fn depth(&self) -> usize {
        1
    }

    fn is_ours_alone(&self) -> bool {
        false
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        Some(Arc::new(Hub(self.all.clone())))
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        self.journal.propose(partition, block)
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

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}
}
