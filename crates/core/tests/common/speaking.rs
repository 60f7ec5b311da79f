//! A journal in memory whose nodes hear each other, and can be cut off.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    journal::{
        Durable, Follow, Hear, Journal, JournalError, Mark, Partition, Peers, Position, Proposed,
    },
    memory::MemoryJournal,
};
use tokio::sync::{broadcast, watch};

/// One journal of several nodes, and how they speak, as seen from a server that may be cut off from the others:
/// who is there then hears itself alone, and its blocks wait.
pub(crate) struct Speaking {
    journal: Arc<MemoryJournal>,
    hub: Hub,
}

impl Speaking {
    pub(crate) fn new() -> Self {
        Self {
            journal: Arc::new(MemoryJournal::new("log")),
            hub: Hub::of(broadcast::channel(64).0),
        }
    }

    /// The same, from another server.
    pub(crate) fn beside(&self) -> Self {
        Self { journal: self.journal.clone(), hub: Hub::of(self.hub.all.clone()) }
    }

    /// Cuts this server off from the others, or makes it whole again.
    pub(crate) fn set_together(&self, together: bool) {
        self.hub.together.send_replace(together);
    }
}

#[derive(Clone)]
struct Hub {
    all: broadcast::Sender<Bytes>,
    here: broadcast::Sender<Bytes>,
    together: watch::Sender<bool>,
}

impl Hub {
    fn of(all: broadcast::Sender<Bytes>) -> Self {
        Self { all, here: broadcast::channel(64).0, together: watch::channel(true).0 }
    }
}

async fn until(together: &mut watch::Receiver<bool>, wanted: bool) {
    together.wait_for(|is| *is == wanted).await.expect("the server is there");
}

impl Peers for Hub {
    fn tell(&self, said: Bytes) -> BoxFuture<'_, ()> {
        let to = if *self.together.borrow() { &self.all } else { &self.here };
        let _nobody_hears = to.send(said);
        std::future::ready(()).boxed()
    }

    fn hear(&self) -> BoxFuture<'_, Box<dyn Hear>> {
        let (all, here) = (self.all.subscribe(), self.here.subscribe());
        let ear: Box<dyn Hear> = Box::new(Ear { all, here, together: self.together.subscribe() });
        std::future::ready(ear).boxed()
    }
}

struct Ear {
    all: broadcast::Receiver<Bytes>,
    here: broadcast::Receiver<Bytes>,
    together: watch::Receiver<bool>,
}

impl Hear for Ear {
    fn next(&mut self) -> BoxFuture<'_, Bytes> {
        async {
            loop {
                tokio::select! {
                    said = self.all.recv() => if *self.together.borrow() {
                        return said.expect("nothing is missed");
                    },
                    said = self.here.recv() => return said.expect("nothing is missed"),
                }
            }
        }
        .boxed()
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
        Some(Arc::new(self.hub.clone()))
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (journal, mut together) = (self.journal.clone(), self.hub.together.subscribe());
        async move {
            until(&mut together, true).await;
            journal.propose(partition, block).await
        }
        .boxed()
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        let follow = self.journal.follow(partition, after);
        Box::new(FollowTogether { follow, together: self.hub.together.subscribe() })
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

struct FollowTogether {
    follow: Box<dyn Follow>,
    together: watch::Receiver<bool>,
}

impl Follow for FollowTogether {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            loop {
                until(&mut self.together, true).await;
                tokio::select! {
                    biased;
                    () = until(&mut self.together, false) => {}
                    durable = self.follow.next() => return durable,
                }
            }
        }
        .boxed()
    }
}
