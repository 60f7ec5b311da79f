//! A journal that other nodes write to as well, and that answers late, out of order or not at all:
//! each append takes effect once, in its connection's order, equally on every node.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use parking_lot::Mutex;
use proptest::prelude::*;
use roomlog_core::{
    journal::{Follow, Journal, Mark, Partition, Position, Proposed},
    outcome::AppendOutcome,
};
use roomlog_testkit::{
    delegate_journal,
    fixtures::{proposal, room},
    life::{Connection, LONG, Life, committed, identity, in_time, small_windows},
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::time::{sleep, timeout};

use super::{Ack, MAX_UNREAD, Publish, Resender};

/// What the stream does with a proposed block.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Stores and acknowledges it.
    Stored,
    /// Stores it without an answer.
    Unanswered,
    /// Loses it.
    Lost,
    /// Stores it after the next ones.
    Late,
}

/// A stream that gives only the guarantees of JetStream.
struct Unreliable {
    journal: Arc<MemoryJournal>,
    fates: Mutex<VecDeque<Fate>>,
    late: Mutex<Vec<Bytes>>,
    /// If set, nothing is stored or acked.
    is_unreachable: AtomicBool,
    /// If set, blocks are acked and never returned.
    is_silent: AtomicBool,
}

impl Unreliable {
    fn store(&self, block: Bytes) -> Position {
        match self.journal.propose(0, block).now_or_never() {
            Some(Proposed::Durable(position)) => position,
            other => panic!("{other:?}"),
        }
    }
}

impl Publish for Arc<Unreliable> {
    fn publish(&self, block: Bytes) -> BoxFuture<'_, Result<Ack, String>> {
        ready(Ok(self.ack(block))).boxed()
    }
}

impl Unreliable {
    fn ack(&self, block: Bytes) -> Ack {
        let no_ack = |why: &str| {
            let why = why.to_owned();
            async {
                sleep(Duration::from_millis(20)).await;
                Err(why)
            }
            .boxed()
        };
        if self.is_unreachable.load(Ordering::Relaxed) {
            return no_ack("it is unreachable");
        }
        if self.is_silent.load(Ordering::Relaxed) {
            return ready(Ok(Position(u64::MAX))).boxed();
        }
        match self.fates.lock().pop_front().unwrap_or(Fate::Stored) {
            Fate::Stored => {
                let position = self.store(block);
                for late in std::mem::take(&mut *self.late.lock()) {
                    self.store(late);
                }
                ready(Ok(position)).boxed()
            }
            Fate::Unanswered => {
                self.store(block);
                no_ack("the answer was lost")
            }
            Fate::Lost => no_ack("it was lost"),
            Fate::Late => {
                self.late.lock().push(block);
                no_ack("it is on its way")
            }
        }
    }
}

/// The journal of one node over the stream.
struct Resending {
    journal: Arc<MemoryJournal>,
    resender: Resender,
}

impl Journal for Resending {
    delegate_journal!(journal: facts peers counts head first trim);

    fn propose(&self, _: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        self.resender.propose(block)
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        self.resender.observe(self.journal.follow(partition, after))
    }
}

fn stream(fates: Vec<Fate>) -> Arc<Unreliable> {
    let journal = MemoryJournal::new("log").described(|facts| {
        facts.depth = 4;
        facts.head_is_exact = false;
    });
    Arc::new(Unreliable {
        journal: Arc::new(journal),
        fates: Mutex::new(fates.into()),
        late: Mutex::default(),
        is_unreachable: AtomicBool::new(false),
        is_silent: AtomicBool::new(false),
    })
}

fn over(stream: &Arc<Unreliable>) -> Arc<Resending> {
    let resender = Resender::start(stream.clone(), Arc::default());
    Arc::new(Resending { journal: stream.journal.clone(), resender })
}

async fn start(stream: &Arc<Unreliable>, node: u8, incarnation: u64) -> Life {
    let archive = Arc::<MemoryArchive>::default();
    let life = Life::over(over(stream), archive, identity(node, incarnation), small_windows());
    life.has_caught_up().await;
    life
}

/// The bodies of the room, once it has this many entries.
async fn bodies(life: &Life, entries: u64) -> Vec<String> {
    let tail = life.tail(&room("general")).expect("a room");
    in_time("the entries", tail.reached(entries)).await;
    life.bodies("general").await
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        5 => Just(Fate::Stored),
        1 => Just(Fate::Unanswered),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Late),
    ];
    proptest::collection::vec(fate, 0..60)
}

async fn one_log(fates: Vec<Fate>, bursts: Vec<u8>) -> Result<(), TestCaseError> {
    let stream = stream(fates);
    let lives = [start(&stream, 1, 1).await, start(&stream, 2, 1).await];
    let mut connections: Vec<Connection> = (0..4).map(|_| Connection::default()).collect();
    let mut said = vec![0_u64; connections.len()];
    let mut slots = Vec::new();
    for burst in bursts {
        for (number, connection) in connections.iter_mut().enumerate() {
            for _ in 0..burst {
                let body = format!("{number}-{}", said[number]);
                let append = proposal("general", &format!("author-{number}"), &body, &body);
                // The node is busy at its bounds: retry.
                let seq = Some(said[number]);
                while let Err(rejected) =
                    connection.append(&lives[number % 2], append.clone(), seq, 0)
                {
                    prop_assert_eq!(rejected, AppendOutcome::Busy);
                    sleep(Duration::from_millis(5)).await;
                }
                said[number] += 1;
                // So that there are several blocks in flight, not one with everything.
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
    fn each_append_takes_effect_once_in_order_whatever_happens_to_its_block(
        fates in fates(),
        bursts in proptest::collection::vec(1..6_u8, 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(one_log(fates, bursts))?;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_journal_makes_new_appends_busy_and_pending_ones_are_committed_later() {
    let stream = stream(Vec::new());
    let life = start(&stream, 1, 1).await;
    let mut ada = Connection::default();
    stream.is_unreachable.store(true, Ordering::Relaxed);
    let given = ada.append(&life, proposal("general", "ada", "1", "one"), None, 0);
    given.expect("the node has not noticed yet");
    sleep(Duration::from_secs(2)).await;
    let rejected = ada.append(&life, proposal("general", "ada", "2", "two"), None, 0);
    assert_eq!(rejected, Err(AppendOutcome::Busy));
    assert!(life.bodies("general").await.is_empty(), "nothing is shown before it is durable");

    stream.is_unreachable.store(false, Ordering::Relaxed);
    assert_eq!(ada.outcomes().await, [(0, committed(0))]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ada.say(&life, proposal("general", "ada", "2", "two")).await, committed(1));
    life.end().await.expect("a good end");
}

#[tokio::test(start_paused = true)]
async fn a_journal_unreachable_for_less_than_a_second_rejects_no_append() {
    let stream = stream(Vec::new());
    let life = start(&stream, 1, 1).await;
    let mut ada = Connection::default();
    stream.is_unreachable.store(true, Ordering::Relaxed);
    ada.append(&life, proposal("general", "ada", "1", "one"), None, 0).expect("taken");
    sleep(Duration::from_millis(900)).await;
    ada.append(&life, proposal("general", "ada", "2", "two"), None, 1).expect("taken too");
    stream.is_unreachable.store(false, Ordering::Relaxed);
    let both = [(0, committed(0)), (1, committed(1))];
    assert_eq!(ada.outcomes().await, both);
    life.end().await.expect("a good end");
}

/// A node stops, and answers its pending append, in this trouble of its stream.
async fn stops_in(trouble: fn(&Unreliable) -> &AtomicBool) {
    let stream = stream(Vec::new());
    let life = start(&stream, 1, 1).await;
    let mut ada = Connection::default();
    trouble(&stream).store(true, Ordering::Relaxed);
    ada.append(&life, proposal("general", "ada", "1", "one"), None, 0).expect("taken");
    sleep(Duration::from_millis(500)).await;
    life.end().await.expect("a good end");
    assert_eq!(ada.outcomes().await, [(0, AppendOutcome::Unknown)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_stops_while_its_journal_is_unreachable_and_answers_pending_appends() {
    stops_in(|stream| &stream.is_unreachable).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_stops_although_a_block_that_was_acked_is_never_read() {
    stops_in(|stream| &stream.is_silent).await;
}

#[tokio::test(start_paused = true)]
async fn proposers_and_blocks_are_released_when_nobody_sends_or_reads() {
    let stream = stream(Vec::new());
    let resender = Resender::start(stream.clone(), Arc::default());
    let block = |n: usize| Bytes::from(format!("block {n}"));
    let follow = resender.observe(stream.journal.follow(0, Mark::default()));
    for n in 0..MAX_UNREAD {
        resender.propose(block(n)).await;
    }
    drop(follow);
    let next = in_time("an answer", resender.propose(block(100))).await;
    assert!(matches!(next, Proposed::Durable(_)), "{next:?}, nobody follows any more");

    let _follow = resender.observe(stream.journal.follow(0, Mark::default()));
    stream.is_unreachable.store(true, Ordering::Relaxed);
    let pending = resender.propose(block(101));
    sleep(Duration::from_millis(500)).await;
    drop(resender);
    let answer = in_time("an answer", pending).await;
    assert!(matches!(answer, Proposed::Unknown(_)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_ready_only_after_one_of_its_own_blocks_came_back() {
    let stream = stream(Vec::new());
    let first = start(&stream, 1, 1).await;
    let mut ada = Connection::default();
    ada.say(&first, proposal("general", "ada", "1", "one")).await;
    stream.is_unreachable.store(true, Ordering::Relaxed);
    let archive = Arc::<MemoryArchive>::default();
    let second = Life::over(over(&stream), archive, identity(2, 1), small_windows());
    sleep(Duration::from_secs(5)).await;
    // It has read everything, but cannot know that.
    assert!(!second.is_ready());
    stream.is_unreachable.store(false, Ordering::Relaxed);
    second.has_caught_up().await;
    assert_eq!(second.bodies("general").await, ["one"]);
}

#[tokio::test(start_paused = true)]
async fn blocks_that_a_follower_has_not_read_are_bounded() {
    let stream = stream(Vec::new());
    let resender = Resender::start(stream.clone(), Arc::default());
    let block = |n: usize| Bytes::from(format!("block {n}"));
    for n in 0..=MAX_UNREAD {
        let proposed = resender.propose(block(n)).await;
        assert!(matches!(proposed, Proposed::Durable(_)), "{n}: {proposed:?}, nobody follows");
    }
    let mut follow = resender.observe(stream.journal.follow(0, Mark::default()));
    for n in 0..MAX_UNREAD {
        let proposed = resender.propose(block(100 + n)).await;
        assert!(matches!(proposed, Proposed::Durable(_)), "{n}: {proposed:?}");
    }
    let mut beyond = resender.propose(block(200));
    assert!(timeout(LONG, &mut beyond).await.is_err(), "it waits");
    while follow.next().await.expect("a block").block != block(100) {}
    assert!(matches!(beyond.await, Proposed::Durable(_)));
}
