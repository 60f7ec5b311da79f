//! A node whose journal returns blocks when the test allows it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    NodeError, NodeSettings,
    block::BLOCK_BYTES,
    journal::{Durable, Follow, Journal, JournalError, Mark, Partition, Position, Proposed},
    outcome::AppendOutcome,
    proposal::Proposal,
};
use roomlog_testkit::life::{
    Connection, LONG, Life, committed, identity, repeat, small_windows, without_fold,
};
use roomlog_testkit::{
    delegate_journal,
    fixtures::{proposal, room},
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::{sync::watch, time::timeout};

/// A journal that returns blocks up to a position.
struct Gated {
    journal: MemoryJournal,
    gate: watch::Sender<u64>,
}

impl Journal for Gated {
    delegate_journal!(journal: facts peers counts head first trim);

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        self.journal.propose(partition, block)
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        let follow = self.journal.follow(partition, after);
        Box::new(GatedFollow { follow, next: after.position.0 + 1, gate: self.gate.subscribe() })
    }
}

/// The gate at which a follower panics.
const CUT_OFF: u64 = u64::MAX - 1;

struct GatedFollow {
    follow: Box<dyn Follow>,
    next: u64,
    gate: watch::Receiver<u64>,
}

impl Follow for GatedFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let next = self.next;
            let gate = *self.gate.wait_for(|gate| *gate >= next).await.expect("a gate");
            assert_ne!(gate, CUT_OFF, "the test cuts it off");
            let durable = self.follow.next().await;
            self.next += 1;
            durable
        }
        .boxed()
    }
}

fn gated() -> Arc<Gated> {
    Arc::new(Gated { journal: MemoryJournal::new("log"), gate: watch::channel(0).0 })
}

fn start(journal: &Arc<Gated>, settings: NodeSettings) -> Life {
    Life::over(journal.clone(), Arc::<MemoryArchive>::default(), identity(1, 1), settings)
}

fn says(id: &str) -> Proposal {
    proposal("general", "ada", id, id)
}

async fn append_when_taken(life: &Life, connection: &mut Connection, id: &str) {
    let taken = async {
        while connection.append(life, says(id), None, 0) == Err(AppendOutcome::Busy) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, taken).await.expect("taken in time");
}

/// Waits until the journal holds this many blocks.
async fn stored(journal: &Gated, blocks: u64) {
    let stored = async {
        while journal.head(0).expect("a head") < Position(blocks) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, stored).await.expect("stored in time");
}

#[tokio::test]
async fn an_id_folded_between_lookup_and_apply_of_its_repeat_is_still_known() {
    let journal = gated();
    let settings = NodeSettings { unfolded_bytes: 2 * 512, ..NodeSettings::default() };
    let life = start(&journal, without_fold(settings));
    let (mut ada, mut bob, mut eve) =
        (Connection::default(), Connection::default(), Connection::default());

    // The first block, and a second whose ids are looked up before anything is applied.
    ada.append(&life, says("a"), None, 0).expect("taken");
    ada.append(&life, says("b"), None, 0).expect("taken");
    stored(&journal, 1).await;
    // It needs sixteen appends to be looked up early.
    bob.append(&life, says("a"), None, 0).expect("taken");
    for n in 1..16 {
        bob.append(&life, says(&format!("bob-{n}")), None, 0).expect("taken");
    }
    stored(&journal, 2).await;

    // The first is applied, which meets the bound, so the node is busy until it is folded.
    journal.gate.send_replace(1);
    assert_eq!(ada.outcomes().await, [(0, committed(0)), (1, committed(1))]);
    assert_eq!(eve.append(&life, says("c"), None, 0), Err(AppendOutcome::Busy));
    let rest = async {
        append_when_taken(&life, &mut eve, "c").await;

        // Now the second is applied, with the archive's answer from before.
        journal.gate.send_replace(u64::MAX);
        let outcomes = bob.outcomes().await;
        assert_eq!(outcomes[..2], [(0, repeat(0)), (1, committed(2))]);
        assert_eq!(eve.outcomes().await, [(0, committed(17))]);
    };
    // The fold is asked for the journal's head, and folds what is applied of it.
    tokio::join!(rest, async { drop(life.fold_to_head().await) });
    life.end().await.expect("a good end");
}

#[tokio::test]
async fn when_the_applier_dies_the_sequencer_ends_and_pending_appends_are_answered() {
    let journal = gated();
    let life = start(&journal, small_windows());
    let mut ada = Connection::default();
    ada.append(&life, says("a"), None, 0).expect("taken");
    stored(&journal, 1).await;

    journal.gate.send_replace(CUT_OFF);
    assert_eq!(ada.outcomes().await, [(0, AppendOutcome::Unknown)]);
    assert_eq!(ada.append(&life, says("b"), None, 0), Err(AppendOutcome::Unavailable));
    let ended = life.has_ended().await;
    assert!(matches!(ended, Err(NodeError::Thread(_))), "{ended:?}");
}

#[tokio::test]
async fn a_node_at_its_bound_with_blocks_in_flight_stops() {
    stop_at_the_bound(false).await;
}

#[tokio::test]
async fn a_node_drained_at_its_bound_answers_accepted_appends() {
    stop_at_the_bound(true).await;
}

async fn stop_at_the_bound(drained: bool) {
    let journal = gated();
    let settings = NodeSettings { unfolded_bytes: 512, ..NodeSettings::default() };
    let life = start(&journal, without_fold(settings));
    let (mut ada, mut eve) = (Connection::default(), Connection::default());
    // As many blocks as may be in flight, and two blocks' worth of large appends behind them.
    for n in 0..64 {
        ada.append(&life, says(&format!("id-{n}")), None, 0).expect("taken");
        stored(&journal, n + 1).await;
    }
    let large = "x".repeat(BLOCK_BYTES / 5);
    for n in 64..72 {
        let large = proposal("general", "ada", &format!("id-{n}"), &large);
        ada.append(&life, large, None, 0).expect("taken");
    }

    // The first is applied, which meets the bound of unfolded entries.
    journal.gate.send_replace(1);
    let applied = async {
        let tail = life.tail(&room("general")).expect("a tail");
        while tail.head().end == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, applied).await.expect("applied in time");
    assert_eq!(eve.append(&life, says("c"), None, 0), Err(AppendOutcome::Busy));
    journal.gate.send_replace(u64::MAX);
    let mut outcomes = Vec::new();
    if drained {
        life.drain();
        outcomes = ada.outcomes().await;
        assert_eq!(eve.append(&life, says("c"), None, 0), Err(AppendOutcome::Busy));
    }
    life.end().await.expect("a good end");
    outcomes.extend(ada.outcomes().await);
    assert_eq!(outcomes, (0..72).map(|n| (n, committed(n))).collect::<Vec<_>>());
}
