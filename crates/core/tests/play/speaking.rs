//! A journal in memory whose nodes exchange reports and can be cut off.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::journal::{
    Durable, Follow, Journal, JournalError, Mark, Partition, PeerMessages, Peers, Proposed,
};
use roomlog_testkit::{delegate_journal, memory::MemoryJournal};
use tokio::sync::{broadcast, watch};

/// A journal shared by several nodes, as seen from a server that may be cut off from the others.
pub(crate) struct Speaking {
    journal: Arc<MemoryJournal>,
    hub: Hub,
    has_journal: watch::Sender<bool>,
}

/// Which reports a node receives, and who receives its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hears {
    All,
    Itself,
    Nobody,
}

impl Speaking {
    pub(crate) fn new() -> Self {
        let journal = MemoryJournal::new("log").described(|facts| facts.head_is_exact = false);
        Self::of(Arc::new(journal), broadcast::channel(1024).0)
    }

    /// The same, from another server.
    pub(crate) fn beside(&self) -> Self {
        Self::of(self.journal.clone(), self.hub.all.clone())
    }

    fn of(journal: Arc<MemoryJournal>, all: broadcast::Sender<Bytes>) -> Self {
        let (here, hears) = (broadcast::channel(1024).0, watch::channel(Hears::All).0);
        Self { journal, hub: Hub { all, here, hears }, has_journal: watch::channel(true).0 }
    }

    /// Sets which reports the nodes here receive.
    pub(crate) fn set_hears(&self, hears: Hears) {
        self.hub.hears.send_replace(hears);
    }

    /// Sets whether blocks get through here; if not, they wait.
    pub(crate) fn set_has_journal(&self, has_journal: bool) {
        self.has_journal.send_replace(has_journal);
    }
}

#[derive(Clone)]
struct Hub {
    all: broadcast::Sender<Bytes>,
    here: broadcast::Sender<Bytes>,
    hears: watch::Sender<Hears>,
}

async fn until(it: &mut watch::Receiver<bool>, wanted: bool) {
    it.wait_for(|is| *is == wanted).await.expect("the server is there");
}

impl Peers for Hub {
    fn broadcast(&self, report: Bytes) -> BoxFuture<'_, ()> {
        let to = match *self.hears.borrow() {
            Hears::All => Some(&self.all),
            Hears::Itself => Some(&self.here),
            Hears::Nobody => None,
        };
        let _no_receivers = to.map(|to| to.send(report));
        std::future::ready(()).boxed()
    }

    fn subscribe(&self) -> BoxFuture<'_, Box<dyn PeerMessages>> {
        let (all, here) = (self.all.subscribe(), self.here.subscribe());
        let receiver: Box<dyn PeerMessages> =
            Box::new(Receiver { all, here, hears: self.hears.subscribe() });
        std::future::ready(receiver).boxed()
    }
}

struct Receiver {
    all: broadcast::Receiver<Bytes>,
    here: broadcast::Receiver<Bytes>,
    hears: watch::Receiver<Hears>,
}

impl PeerMessages for Receiver {
    fn next(&mut self) -> BoxFuture<'_, Bytes> {
        async {
            loop {
                tokio::select! {
                    report = self.all.recv() => if *self.hears.borrow() == Hears::All {
                        return report.expect("nothing is missed");
                    },
                    report = self.here.recv() => return report.expect("nothing is missed"),
                }
            }
        }
        .boxed()
    }
}

impl Journal for Speaking {
    delegate_journal!(journal: facts counts head first trim);

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        Some(Arc::new(self.hub.clone()))
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (journal, mut has_journal) = (self.journal.clone(), self.has_journal.subscribe());
        async move {
            until(&mut has_journal, true).await;
            journal.propose(partition, block).await
        }
        .boxed()
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        let follow = self.journal.follow(partition, after);
        Box::new(FollowWhileReachable { follow, has_journal: self.has_journal.subscribe() })
    }
}

struct FollowWhileReachable {
    follow: Box<dyn Follow>,
    has_journal: watch::Receiver<bool>,
}

impl Follow for FollowWhileReachable {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            loop {
                until(&mut self.has_journal, true).await;
                tokio::select! {
                    biased;
                    () = until(&mut self.has_journal, false) => {}
                    durable = self.follow.next() => return durable,
                }
            }
        }
        .boxed()
    }
}
