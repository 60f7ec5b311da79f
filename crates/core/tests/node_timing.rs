//! A node whose journal gives blocks back when the test says so: what may happen in between.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Connection, LONG, committed, identity, repeat, small_windows};
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    Node, NodeSettings,
    append::inbox::Turned,
    block::BLOCK_BYTES,
    journal::{Durable, Follow, Journal, JournalError, Mark, Partition, Position, Proposed},
    mailbox::Mailbox,
    outcome::Outcome,
    proposal::Proposal,
};
use roomlog_testkit::{
    fixtures::{proposal, room},
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::{sync::watch, time::timeout};

/// A journal that gives back blocks up to a position.
struct Gated {
    journal: MemoryJournal,
    gate: watch::Sender<u64>,
}

impl Journal for Gated {
    fn log(&self) -> &str {
        self.journal.log()
    }

    fn is_ours_alone(&self) -> bool {
        self.journal.is_ours_alone()
    }

    fn is_shared(&self) -> bool {
        self.journal.is_shared()
    }

    fn depth(&self) -> usize {
        self.journal.depth()
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        self.journal.propose(partition, block)
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        let follow = self.journal.follow(partition, after);
        Box::new(GatedFollow { follow, next: after.position.0 + 1, gate: self.gate.subscribe() })
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

struct GatedFollow {
    follow: Box<dyn Follow>,
    next: u64,
    gate: watch::Receiver<u64>,
}

impl Follow for GatedFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let next = self.next;
            self.gate.wait_for(|gate| *gate >= next).await.expect("a gate");
            let durable = self.follow.next().await;
            self.next += 1;
            durable
        }
        .boxed()
    }
}

fn says(id: &str) -> Proposal {
    proposal("general", "ada", id, id)
}

async fn append_when_taken(node: &Node, connection: &mut Connection, id: &str) {
    let taken = async {
        while connection.append(node, says(id), None, 0) == Err(Turned::Busy) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, taken).await.expect("taken in time");
}

/// Waits until the journal holds so many blocks.
async fn stored(journal: &Gated, blocks: u64) {
    let stored = async {
        while journal.head(0).expect("a head") < Position(blocks) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, stored).await.expect("stored in time");
}

#[tokio::test]
async fn an_id_that_is_folded_between_its_repeats_look_up_and_apply_is_still_known() {
    let journal = Arc::new(Gated { journal: MemoryJournal::new("log"), gate: watch::channel(0).0 });
    let settings = NodeSettings { unfolded_entries: 2, ..small_windows() };
    let archive = Arc::new(MemoryArchive::default());
    let (node, running) =
        Node::open(identity(1, 1), journal.clone(), archive, settings).expect("a node");
    let (task, folder) = running.one();
    let task = tokio::spawn(task.run());
    let (mut ada, mut bob, mut eve) = (Connection::new(1), Connection::new(2), Connection::new(3));

    // The first block, and a second that is looked up while nothing is applied yet.
    ada.append(&node, says("a"), None, 0).expect("taken");
    ada.append(&node, says("b"), None, 0).expect("taken");
    stored(&journal, 1).await;
    // Large enough to be: sixteen appends.
    bob.append(&node, says("a"), None, 0).expect("taken");
    for n in 1..16 {
        bob.append(&node, says(&format!("bob-{n}")), None, 0).expect("taken");
    }
    stored(&journal, 2).await;

    // The first is applied and folded: as many as may be unfolded, so the node is busy until then.
    journal.gate.send_replace(1);
    assert_eq!(ada.outcomes().await, [(0, committed(0)), (1, committed(1))]);
    assert_eq!(eve.append(&node, says("c"), None, 0), Err(Turned::Busy));
    let fold = std::thread::spawn(move || folder.run());
    append_when_taken(&node, &mut eve, "c").await;

    // Now the second is applied, with what the archive knew before.
    journal.gate.send_replace(u64::MAX);
    let said = bob.outcomes().await;
    assert_eq!(said[..2], [(0, repeat(0)), (1, committed(2))]);
    assert_eq!(eve.outcomes().await, [(0, committed(17))]);
    node.inbox.close();
    timeout(LONG, task).await.expect("in time").expect("no panic").expect("a good end");
    fold.join().expect("no panic");
}

#[tokio::test]
async fn when_applying_is_cut_off_sequencing_ends_and_whoever_waits_is_told() {
    let journal = Arc::new(Gated { journal: MemoryJournal::new("log"), gate: watch::channel(0).0 });
    let archive = Arc::new(MemoryArchive::default());
    let (node, running) =
        Node::open(identity(1, 1), journal.clone(), archive, small_windows()).expect("a node");
    let (task, folder) = running.one();
    let fold = std::thread::spawn(move || folder.run());
    let (sequencing, applying) =
        (tokio::spawn(task.sequencing.run()), tokio::spawn(task.applying.run()));
    let mut ada = Connection::new(1);
    ada.append(&node, says("a"), None, 0).expect("taken");
    stored(&journal, 1).await;

    applying.abort();
    assert_eq!(ada.outcomes().await, [(0, Outcome::Unknown)]);
    assert_eq!(ada.append(&node, says("b"), None, 0), Err(Turned::Closed));
    timeout(LONG, sequencing).await.expect("in time").expect("no panic").expect("no failure");
    fold.join().expect("no panic");
}

#[tokio::test]
async fn followers_are_told_although_what_came_behind_became_no_block() {
    let journal = Arc::new(Gated { journal: MemoryJournal::new("log"), gate: watch::channel(0).0 });
    let archive = Arc::new(MemoryArchive::default());
    let (node, running) =
        Node::open(identity(1, 1), journal.clone(), archive, small_windows()).expect("a node");
    let (task, _not_run) = running.one();
    tokio::spawn(task.sequencing.run());
    tokio::spawn(task.applying.run());
    let (mut ada, mut bob) = (Connection::new(1), Connection::new(2));
    // A numbered queue whose first append was refused: the second is turned away.
    journal.journal.set_full(true);
    ada.append(&node, says("a-0"), Some(0), 0).expect("taken");
    assert_eq!(ada.outcomes().await, [(0, Outcome::StorageFull)]);
    journal.journal.set_full(false);

    bob.append(&node, says("b"), None, 0).expect("taken");
    stored(&journal, 1).await;
    let follower = Arc::new(Mailbox::default());
    let tail = node.rooms.open(&room("general")).expect("a tail");
    let _interest = tail.register(&follower, 7);
    // Applied while that one is in the inbox, as if a block were to come of it.
    journal.gate.send_replace(1);
    ada.append(&node, says("a-1"), Some(1), 0).expect("taken");
    assert_eq!(ada.outcomes().await, [(1, Outcome::OutOfOrder)]);
    assert_eq!(bob.outcomes().await, [(0, committed(0))]);
    timeout(LONG, follower.wait()).await.expect("word in time");
    assert_eq!(follower.take().moved, [7]);
}

#[tokio::test]
async fn a_node_that_reached_its_bound_while_blocks_came_back_ends() {
    stop_at_the_bound(false).await;
}

#[tokio::test]
async fn a_node_that_is_drained_at_its_bound_answers_what_was_taken() {
    stop_at_the_bound(true).await;
}

async fn stop_at_the_bound(drained: bool) {
    let journal = Arc::new(Gated { journal: MemoryJournal::new("log"), gate: watch::channel(0).0 });
    let settings = NodeSettings { unfolded_entries: 1, ..small_windows() };
    let archive = Arc::new(MemoryArchive::default());
    let (node, running) =
        Node::open(identity(1, 1), journal.clone(), archive, settings).expect("a node");
    let (task, _not_run) = running.one();
    let task = tokio::spawn(task.run());
    let (mut ada, mut eve) = (Connection::new(1), Connection::new(2));
    // As many blocks as may be on their way, and large appends behind them: two blocks of a few.
    for n in 0..64 {
        ada.append(&node, says(&format!("id-{n}")), None, 0).expect("taken");
        stored(&journal, n + 1).await;
    }
    let large = "x".repeat(BLOCK_BYTES / 5);
    for n in 64..72 {
        let large = proposal("general", "ada", &format!("id-{n}"), &large);
        ada.append(&node, large, None, 0).expect("taken");
    }

    // The first is applied, which is as many as may be unfolded.
    journal.gate.send_replace(1);
    let applied = async {
        let tail = node.rooms.open(&room("general")).expect("a tail");
        while tail.head().end == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, applied).await.expect("applied in time");
    assert_eq!(eve.append(&node, says("c"), None, 0), Err(Turned::Busy));
    journal.gate.send_replace(u64::MAX);
    let mut said = Vec::new();
    if drained {
        node.inbox.drain();
        said = ada.outcomes().await;
        assert_eq!(eve.append(&node, says("c"), None, 0), Err(Turned::Busy));
    }
    node.inbox.close();
    timeout(LONG, task).await.expect("in time").expect("no panic").expect("a good end");
    said.extend(ada.outcomes().await);
    assert_eq!(said, (0..72).map(|n| (n, committed(n))).collect::<Vec<_>>());
}
