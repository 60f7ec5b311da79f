//! A journal that other nodes write to as well, and that answers late, never in order, or not at all: each
//! append takes effect once, in its connection's order, on every node the same.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use proptest::prelude::*;
use roomlog_core::{
    journal::{Journal, Partition, Position, Proposed},
    outcome::AppendOutcome,
};
use roomlog_testkit::life::{Connection, LONG, Life, committed, identity, small_windows};
use roomlog_testkit::{
    delegate_journal,
    fixtures::{proposal, room},
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::time::{sleep, timeout};

/// What becomes of a block that is proposed.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is stored, and that is said.
    Stored,
    /// It is stored, and nobody hears of it.
    Unheard,
    /// It is lost.
    Lost,
    /// It is stored after the next ones.
    Late,
}

/// A journal of several nodes that keeps only what a journal must.
struct Unreliable {
    journal: MemoryJournal,
    fates: Mutex<VecDeque<Fate>>,
    late: Mutex<Vec<Bytes>>,
    /// Nothing is stored or answered.
    is_away: AtomicBool,
}

impl Unreliable {
    fn new(fates: Vec<Fate>) -> Arc<Self> {
        Arc::new(Self {
            journal: MemoryJournal::new("log").described(|facts| {
                facts.depth = 4;
                facts.is_shared = true;
            }),
            fates: Mutex::new(fates.into()),
            late: Mutex::default(),
            is_away: AtomicBool::new(false),
        })
    }

    fn store(&self, block: Bytes) -> Position {
        match self.journal.propose(0, block).now_or_never() {
            Some(Proposed::Durable(position)) => position,
            other => panic!("{other:?}"),
        }
    }
}

impl Journal for Unreliable {
    delegate_journal!(journal: facts peers counts follow head first trim);

    fn propose(&self, _: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let unanswered = |why: &str| {
            let why = why.to_owned();
            async {
                sleep(Duration::from_millis(20)).await;
                Proposed::Unanswered(why)
            }
            .boxed()
        };
        if self.is_away.load(Ordering::Relaxed) {
            return unanswered("it is away");
        }
        match self.fates.lock().pop_front().unwrap_or(Fate::Stored) {
            Fate::Stored => {
                let position = self.store(block);
                for late in std::mem::take(&mut *self.late.lock()) {
                    self.store(late);
                }
                futures_util::future::ready(Proposed::Durable(position)).boxed()
            }
            Fate::Unheard => {
                self.store(block);
                unanswered("nobody heard")
            }
            Fate::Lost => unanswered("it was lost"),
            Fate::Late => {
                self.late.lock().push(block);
                unanswered("it is on its way")
            }
        }
    }
}

async fn start(journal: &Arc<Unreliable>, node: u8, incarnation: u64) -> Life {
    let archive = Arc::<MemoryArchive>::default();
    let life = Life::over(journal.clone(), archive, identity(node, incarnation), small_windows());
    life.has_caught_up().await;
    life
}

/// The bodies of a room, once a node has so many.
async fn bodies(life: &Life, entries: u64) -> Vec<String> {
    let tail = life.tail(&room("general")).expect("a room");
    timeout(LONG, async {
        while tail.head().end < entries {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the node comes that far");
    life.bodies("general").await
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        5 => Just(Fate::Stored),
        1 => Just(Fate::Unheard),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Late),
    ];
    proptest::collection::vec(fate, 0..60)
}

async fn one_log(fates: Vec<Fate>, bursts: Vec<u8>) -> Result<(), TestCaseError> {
    let journal = Unreliable::new(fates);
    let lives = [start(&journal, 1, 1).await, start(&journal, 2, 1).await];
    let mut connections: Vec<Connection> = (0..4).map(|_| Connection::default()).collect();
    let mut said = vec![0_u64; connections.len()];
    let mut slots = Vec::new();
    for burst in bursts {
        for (number, connection) in connections.iter_mut().enumerate() {
            for _ in 0..burst {
                let body = format!("{number}-{}", said[number]);
                let append = proposal("general", &format!("author-{number}"), &body, &body);
                // At its bounds the node says so, and the writer comes again.
                let seq = Some(said[number]);
                while let Err(turned) =
                    connection.append(&lives[number % 2], append.clone(), seq, 0)
                {
                    prop_assert_eq!(turned, AppendOutcome::Busy);
                    sleep(Duration::from_millis(5)).await;
                }
                said[number] += 1;
                // So that several blocks are under way, and not one with all.
                sleep(Duration::from_millis(1)).await;
            }
        }
        for connection in &mut connections {
            for (_, outcome) in connection.outcomes().await {
                let AppendOutcome::Committed { slot, repeat: false, .. } = outcome else {
                    return Err(TestCaseError::fail(format!("{outcome:?}")));
                };
                slots.push(slot);
            }
        }
    }
    let all: u64 = said.iter().sum();
    slots.sort_unstable();
    prop_assert_eq!(slots, (0..all).collect::<Vec<_>>(), "each append has a slot of its own");
    let logs = [bodies(&lives[0], all).await, bodies(&lives[1], all).await];
    prop_assert_eq!(&logs[0], &logs[1], "the nodes agree");
    for (number, &count) in said.iter().enumerate() {
        let own = logs[0].iter().filter(|body| body.starts_with(&format!("{number}-")));
        let own: Vec<_> = own.cloned().collect();
        let sent: Vec<_> = (0..count).map(|n| format!("{number}-{n}")).collect();
        prop_assert_eq!(own, sent, "a connection keeps its order, and each append is there once");
    }
    for life in lives {
        life.end().await.expect("a good end");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_blocks_each_append_takes_effect_once_in_order(
        fates in fates(),
        bursts in proptest::collection::vec(1..6_u8, 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(one_log(fates, bursts))?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_away_makes_new_appends_busy_and_keeps_those_it_was_given() {
    let journal = Unreliable::new(Vec::new());
    let life = start(&journal, 1, 1).await;
    let mut ada = Connection::default();
    journal.is_away.store(true, Ordering::Relaxed);
    let given = ada.append(&life, proposal("general", "ada", "1", "one"), None, 0);
    given.expect("the journal was there a moment ago");
    sleep(Duration::from_secs(2)).await;
    let turned = ada.append(&life, proposal("general", "ada", "2", "two"), None, 0);
    assert_eq!(turned, Err(AppendOutcome::Busy));
    assert!(life.bodies("general").await.is_empty(), "nothing is shown before it is durable");

    journal.is_away.store(false, Ordering::Relaxed);
    assert_eq!(ada.outcomes().await, [(0, committed(0))]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ada.say(&life, proposal("general", "ada", "2", "two")).await, committed(1));
    life.end().await.expect("a good end");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_away_for_less_than_a_second_turns_nobody_away() {
    let journal = Unreliable::new(Vec::new());
    let life = start(&journal, 1, 1).await;
    let mut ada = Connection::default();
    journal.is_away.store(true, Ordering::Relaxed);
    ada.append(&life, proposal("general", "ada", "1", "one"), None, 0).expect("taken");
    sleep(Duration::from_millis(900)).await;
    ada.append(&life, proposal("general", "ada", "2", "two"), None, 1).expect("taken too");
    journal.is_away.store(false, Ordering::Relaxed);
    let both = [(0, committed(0)), (1, committed(1))];
    assert_eq!(ada.outcomes().await, both);
    life.end().await.expect("a good end");
}

#[tokio::test(start_paused = true)]
async fn a_node_ends_while_its_journal_is_away_and_those_who_wait_are_told() {
    let journal = Unreliable::new(Vec::new());
    let life = start(&journal, 1, 1).await;
    let mut ada = Connection::default();
    journal.is_away.store(true, Ordering::Relaxed);
    ada.append(&life, proposal("general", "ada", "1", "one"), None, 0).expect("taken");
    sleep(Duration::from_millis(500)).await;
    life.end().await.expect("a good end");
    assert_eq!(ada.outcomes().await, [(0, AppendOutcome::Unknown)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_ready_only_when_a_block_of_its_own_came_back() {
    let journal = Unreliable::new(Vec::new());
    let first = start(&journal, 1, 1).await;
    let mut ada = Connection::default();
    ada.say(&first, proposal("general", "ada", "1", "one")).await;
    journal.is_away.store(true, Ordering::Relaxed);
    let archive = Arc::<MemoryArchive>::default();
    let second = Life::over(journal.clone(), archive, identity(2, 1), small_windows());
    sleep(Duration::from_secs(5)).await;
    // It has read all that there is, and cannot know that.
    assert!(!second.is_ready());
    journal.is_away.store(false, Ordering::Relaxed);
    second.has_caught_up().await;
    assert_eq!(second.bodies("general").await, ["one"]);
}
