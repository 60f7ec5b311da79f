//! A node whose tasks, authors and followers take turns in many orders, which are drawn from a seed.
//!
//! Shuttle runs all of them on one thread, and chooses at each lock and each wait who goes on. A wake-up that is lost
//! in one order leaves all of them waiting for ever, which Shuttle reports together with the order.

#[allow(dead_code, unreachable_pub, reason = "shared with the test kit")]
#[path = "../../crates/testkit/src/fixtures.rs"]
mod fixtures;
#[allow(dead_code, unreachable_pub, reason = "shared with the test kit")]
#[path = "../../crates/testkit/src/life.rs"]
mod life;
#[allow(dead_code, unreachable_pub, reason = "shared with the test kit")]
#[path = "../../crates/testkit/src/memory/mod.rs"]
mod memory;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fixtures::{proposal, room};
use life::{Connection, Disk, Life, identity};
use parking_lot::Mutex;
use roomlog_core::{
    NodeSettings, Threads,
    follower::{FollowerCursor, Next},
    interests::{CommitSink, NewCommits},
    mailbox::Mailbox,
    outcome::AppendOutcome,
    proposal::Proposal,
};
use roomlog_protocol::Slot;
use shuttle::{
    Config, Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler},
    thread::{self, JoinHandle},
};
use tokio::sync::watch;

const AUTHORS: [&str; 2] = ["ada", "grace"];
const SEED: u64 = 25;
/// At how many moments one that does not wait is interrupted.
const CHANGES: usize = 3;
/// Entries of each author.
const EACH: u64 = 2;
const ALL: u64 = AUTHORS.len() as u64 * EACH;

/// Runs a test in as many orders as the environment variable `ORDERS` says, or 2,000 of each kind: in one, who goes on
/// is drawn at each step; in the other, some go on until they wait, but for a few moments that are drawn.
fn in_many_orders<F: Future<Output = ()>>(test: impl Fn() -> F + Send + Sync + 'static) {
    let orders = std::env::var("ORDERS").map_or(2_000, |orders| orders.parse().expect("a number"));
    let test = Arc::new(move || block_on(test()));
    let random = RandomScheduler::new_from_seed(SEED, orders);
    Runner::new(random, Config::default()).run({
        let test = test.clone();
        move || test()
    });
    let few_changes = PctScheduler::new_from_seed(SEED, CHANGES, orders);
    Runner::new(few_changes, Config::default()).run(move || test());
}

async fn start(disk: &Disk) -> Arc<Life> {
    let settings = NodeSettings {
        threads: Threads::None,
        fold_entries: 1,
        fold_wait: Duration::ZERO,
        ..NodeSettings::default()
    };
    Arc::new(Life::start(disk, identity(1, 1), settings).await)
}

/// Ends the node: Shuttle cannot drop a task that holds a lock.
async fn end(life: Arc<Life>) {
    Arc::into_inner(life).expect("nobody else has it").end().await.expect("a clean end");
}

fn on_thread<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    thread::spawn(move || block_on(future))
}

fn nth(author: &str, n: u64) -> Proposal {
    proposal("lobby", author, &format!("{author}-{n}"), "text")
}

/// Authors that append to one room, each on a thread of its own; joined, they say what became of it.
fn authors(life: &Arc<Life>) -> Vec<JoinHandle<Vec<AppendOutcome>>> {
    let author = |author: &'static str| {
        let life = life.clone();
        on_thread(async move {
            let mut connection = Connection::default();
            let refused =
                (0..EACH).filter_map(|n| connection.append(&life, nth(author, n), None, 0).err());
            let refused: Vec<_> = refused.collect();
            let taken = connection.outcomes().await.into_iter().map(|(_, outcome)| outcome);
            taken.chain(refused).collect()
        })
    };
    AUTHORS.map(author).into()
}

fn slot(outcome: AppendOutcome) -> Slot {
    match outcome {
        AppendOutcome::Committed { slot, .. } => slot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_author_learns_its_slots_and_the_archive_gets_them() {
    in_many_orders(|| async {
        let disk = Disk::default();
        let life = start(&disk).await;
        let mut slots = Vec::new();
        for author in authors(&life) {
            let own: Vec<_> = author.join().expect("an author").into_iter().map(slot).collect();
            assert!(own.is_sorted(), "{own:?} is not in the order of the author");
            slots.extend(own);
        }
        slots.sort_unstable();
        assert_eq!(slots, (0..ALL).collect::<Vec<_>>());
        disk.folded().await;
        assert_eq!(life.log_of("lobby").await.len() as u64, ALL);
        end(life).await;
    });
}

#[test]
fn a_node_that_stops_answers_every_append() {
    in_many_orders(|| async {
        let life = start(&Disk::default()).await;
        let authors = authors(&life);
        life.stop().await.expect("a clean end");
        for outcome in authors.into_iter().flat_map(|author| author.join().expect("an author")) {
            assert!(
                matches!(outcome, AppendOutcome::Committed { .. } | AppendOutcome::Unavailable),
                "{outcome:?}"
            );
        }
        end(life).await;
    });
}

/// A follower with the rules of the gateway (`connection/direct.rs`): a delivery writes to it directly. If it cannot,
/// it tells the follower's task, which then reads what is new.
#[derive(Debug)]
struct Direct {
    socket: Mutex<DirectSocket>,
    is_open: AtomicBool,
    cursor: Arc<FollowerCursor>,
    /// How many entries.
    sent: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct DirectSocket {
    /// How many writes it takes until the task has to free it.
    room: usize,
    sent: Vec<Slot>,
}

impl Direct {
    fn send(&self, socket: &mut DirectSocket, slots: impl Iterator<Item = Slot>) {
        socket.sent.extend(slots);
        self.sent.send_replace(socket.sent.len() as u64);
    }
}

impl CommitSink for Direct {
    fn take(&self, new: &mut NewCommits<'_>) -> bool {
        let Some(mut socket) = self.socket.try_lock() else { return false };
        if socket.room == 0 || !self.is_open.load(Ordering::Acquire) {
            return false;
        }
        let Some(commits) = new.after(self.cursor.next_slot(), usize::MAX) else { return false };
        let Some(end) = commits.last().map(|commit| commit.end()) else { return true };
        self.send(&mut socket, commits.iter().flat_map(|commit| commit.first()..commit.end()));
        self.cursor.move_to(end);
        socket.room -= 1;
        socket.room > 0
    }
}

/// Follows a room until all is sent; `directly`: with a sink.
async fn follow(life: &Life, directly: bool, sent: watch::Sender<u64>) -> Vec<Slot> {
    const KEY: u32 = 7;
    let tail = life.tail(&room("lobby")).expect("a tail");
    let mut follower = life.follow(tail.clone(), 0);
    let (mut all_sent, cursor) = (sent.subscribe(), follower.cursor().clone());
    let (socket, is_open) = Default::default();
    let direct = Arc::new(Direct { socket, is_open, cursor, sent });
    let mailbox = Arc::new(Mailbox::default());
    let sink = directly.then(|| direct.clone() as Arc<dyn CommitSink>);
    let subscription = tail.subscribe(&mailbox, KEY, sink);
    loop {
        {
            let mut socket = direct.socket.lock();
            subscription.take();
            direct.is_open.store(false, Ordering::Release);
            while let Next::Tail { pieces, .. } = follower.next(usize::MAX) {
                let entries = pieces.iter().flat_map(|piece| piece.entries());
                direct.send(&mut socket, entries.map(|stored| stored.entry.slot));
            }
            direct.is_open.store(true, Ordering::Release);
            socket.room = 2;
        }
        tokio::select! {
            () = mailbox.wait() => assert!(mailbox.take().moved.iter().all(|key| *key == KEY)),
            _ = all_sent.wait_for(|sent| *sent == ALL) => return direct.socket.lock().sent.clone(),
        }
    }
}

/// Two authors, each of whom goes on when the follower has its entry: so each delivery may be the last.
fn all_is_followed(directly: bool) {
    in_many_orders(move || async move {
        let life = start(&Disk::default()).await;
        let (sent, received) = watch::channel(0);
        let follower = {
            let life = life.clone();
            on_thread(async move { follow(&life, directly, sent).await })
        };
        let author = |author: &'static str| {
            let (life, mut received) = (life.clone(), received.clone());
            on_thread(async move {
                let mut connection = Connection::default();
                for n in 0..EACH {
                    let slot = slot(connection.say(&life, nth(author, n)).await);
                    received.wait_for(|sent| *sent > slot).await.expect("a follower");
                }
            })
        };
        for author in AUTHORS.map(author) {
            author.join().expect("an author");
        }
        assert_eq!(follower.join().expect("a follower"), (0..ALL).collect::<Vec<_>>());
        end(life).await;
    });
}

#[test]
fn a_follower_that_reads_when_it_is_told_misses_nothing() {
    all_is_followed(false);
}

#[test]
fn a_follower_that_is_written_to_directly_gets_each_entry_once_and_in_order() {
    all_is_followed(true);
}
