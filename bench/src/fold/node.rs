//! A node without sockets, at a rate.
//!
//! Enters: a journal, a rate. Leaves: ack times and what the node counted. Invariants: it has the threads
//! and places that `serve` gives it, on the archive of `serve`; one thread appends, as sockets would, and
//! one task takes outcomes.

use std::{
    any::Any,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use roomlog_core::{
    Node, NodeError, NodeSettings,
    append::{
        merge::QueueId,
        sequencer::{Submit, Ticket},
    },
    journal::Journal,
    mailbox::Mailbox,
    outcome::Outcome,
    proposal::Proposal,
};
use roomlog_sqlite::Directory;
use roomlog_testkit::fixtures::proposal;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use super::{
    Args, OfNode, Seen,
    journals::{Engine, Remembered},
};
use crate::{
    places::{GO_FIRST, GO_LAST, take_place},
    process::cpu_seconds,
    receivers::body,
    spread::{Rooms, Spread},
    supply::wait,
};

/// Queues that appends come from, in each room.
const QUEUES: u64 = 64;

/// A node at the rate on such a journal.
///
/// # Errors
/// When the disk or the node fails.
pub(super) fn measure(args: &Args, data: &Path, engine: Engine, folds: bool) -> io::Result<Seen> {
    let running = Started::new(data, engine, folds)?;
    let seen = appended(args, &running.node, &running.runtime)?;
    running.end()?;
    Ok(seen)
}

/// What `other` measures while such a node, with a journal that is no file, folds at the rate.
///
/// # Errors
/// When the disk, the node or `other` fails.
pub(super) fn beside(
    args: &Args,
    data: &Path,
    other: impl FnOnce() -> io::Result<Vec<f64>> + Send,
) -> io::Result<Seen> {
    let running = Started::new(data, Engine::Nowhere, true)?;
    let us = thread::scope(|scope| {
        let other = scope.spawn(other);
        appended(args, &running.node, &running.runtime)?;
        other.join().map_err(panicked)?
    })?;
    running.end()?;
    Ok(Seen::of(&us, args.load))
}

/// A node that has caught up.
struct Started {
    node: Node,
    runtime: Runtime,
    applying: JoinHandle<Result<(), NodeError>>,
    sequencing: thread::JoinHandle<Result<(), NodeError>>,
    folder: thread::JoinHandle<()>,
}

impl Started {
    fn new(data: &Path, engine: Engine, folds: bool) -> io::Result<Self> {
        let Directory { identity, journal, archive, .. } =
            Directory::open(data).map_err(io::Error::other)?;
        let journal: Arc<dyn Journal> = match engine {
            Engine::Sqlite => journal,
            _ => Arc::new(Remembered::new(engine, &journal.facts().log, data)?),
        };
        let settings = match folds {
            true => NodeSettings::default(),
            false => NodeSettings {
                fold_wait: Duration::from_secs(3_600),
                fold_entries: usize::MAX,
                unfolded_entries: usize::MAX,
                unfolded_bytes: usize::MAX,
                ..NodeSettings::default()
            },
        };
        let (node, running) =
            Node::open(identity, journal, archive, settings).map_err(io::Error::other)?;
        let (task, folder) = running.one();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let alone = Builder::new_current_thread().build()?;
        let sequencing = thread::spawn(move || {
            take_place(GO_FIRST);
            alone.block_on(task.sequencing.run())
        });
        let applying = runtime.spawn(task.applying.run());
        let folder = thread::spawn(move || {
            take_place(GO_LAST);
            folder.run();
        });
        if !runtime.block_on(node.caught_up()) {
            return Err(io::Error::other("the node did not start"));
        }
        Ok(Self { node, runtime, applying, sequencing, folder })
    }

    fn end(self) -> io::Result<()> {
        self.node.inbox.close();
        let ended = self.runtime.block_on(self.applying).map_err(io::Error::other)?;
        ended.map_err(io::Error::other)?;
        self.sequencing.join().map_err(panicked)?.map_err(io::Error::other)?;
        self.folder.join().map_err(panicked)
    }
}

fn panicked(_: Box<dyn Any + Send>) -> io::Error {
    io::Error::other("a thread panicked")
}

/// Appends at the rate; what came of it.
fn appended(args: &Args, node: &Node, runtime: &Runtime) -> io::Result<Seen> {
    let entries = args.load.entries();
    let begun = Instant::now();
    let due: Arc<Vec<AtomicU64>> = Arc::new((0..entries).map(|_| AtomicU64::new(0)).collect());
    let mailbox = Arc::new(Mailbox::default());
    let taker = runtime.spawn(take(mailbox.clone(), due.clone(), begun));
    let cpu = cpu_seconds(std::process::id())?;
    let mut supply = args.load.supply();
    let mut author = Author::new(args.load.rooms, mailbox);
    let ticks = supply.ticks()?.ok_or_else(|| io::Error::other("no ticks"))?;
    supply.begin();
    let mut sent = 0;
    while !supply.ended() {
        let now = Instant::now();
        while let Some(since) = supply.take(now) {
            let nanos = u64::try_from((since - begun).as_nanos()).unwrap_or(u64::MAX);
            due[sent as usize].store(nanos, Ordering::Relaxed);
            author.append(node, sent)?;
            sent += 1;
        }
        node.inbox.ring();
        author.prepare();
        wait(&ticks)?;
    }
    let ack_us = runtime.block_on(taker).map_err(io::Error::other)??;
    let took = begun.elapsed().as_secs_f64();
    let (stats, acked) = (&node.stats, entries as f64);
    let of_node = OfNode {
        block_entries: acked / stats.blocks().max(1) as f64,
        blocks_per_s: stats.blocks() as f64 / took,
        cpu_us: (cpu_seconds(std::process::id())? - cpu) * 1e6 / acked,
        folded_per_s: (stats.entries() - stats.unfolded()) as f64 / args.load.seconds as f64,
        lag_max: stats.unfolded_max() as f64,
    };
    Ok(Seen { node: Some(of_node), ..Seen::of(&ack_us, args.load) })
}

/// Takes outcomes until each append has one: µs of each, in the order of the appends.
async fn take(
    mailbox: Arc<Mailbox>,
    due: Arc<Vec<AtomicU64>>,
    begun: Instant,
) -> io::Result<Vec<f64>> {
    let (mut us, mut left) = (vec![0.0; due.len()], due.len());
    while left > 0 {
        mailbox.wait().await;
        let now = begun.elapsed().as_nanos() as f64;
        for (token, outcome) in mailbox.take().outcomes {
            if !matches!(outcome, Outcome::Committed { repeat: false, .. }) {
                return Err(io::Error::other(format!("append {token}: {outcome:?}")));
            }
            let token = token as usize;
            us[token] = (now - due[token].load(Ordering::Relaxed) as f64) / 1e3;
            left -= 1;
        }
    }
    Ok(us)
}

/// Who appends.
struct Author {
    rooms: Rooms,
    chance: Xoshiro256PlusPlus,
    body: String,
    mailbox: Arc<Mailbox>,
    /// Appends that were made ready while nothing was due.
    ready: Vec<(u64, Proposal)>,
    made: u64,
}

impl Author {
    fn new(rooms: u32, mailbox: Arc<Mailbox>) -> Self {
        let chance = Xoshiro256PlusPlus::seed_from_u64(1);
        let rooms = Rooms::new(Spread::Zipf, rooms);
        let mut author =
            Self { rooms, chance, body: body(200), mailbox, ready: Vec::new(), made: 0 };
        author.prepare();
        author
    }

    fn make(&mut self) -> (u64, Proposal) {
        let room = self.rooms.draw(&mut self.chance);
        let queue = self.made % QUEUES * self.rooms.len() as u64 + room as u64;
        self.made += 1;
        let id = format!("01JD9ZQW4K8Y3V7N5M{:08}", self.made);
        (queue, proposal(&format!("load-{room}"), "ada", &id, &self.body))
    }

    fn prepare(&mut self) {
        while self.ready.len() < 64 {
            let made = self.make();
            self.ready.push(made);
        }
    }

    fn append(&mut self, node: &Node, token: u64) -> io::Result<()> {
        let (queue, proposal) = match self.ready.pop() {
            Some(ready) => ready,
            None => self.make(),
        };
        let ticket =
            Ticket { mailbox: self.mailbox.clone(), token, queue: QueueId(queue), seq: None };
        let taken = node.inbox.put(Submit { proposal, time: token, ticket });
        taken.map_err(|turned| io::Error::other(format!("append {token}: {turned:?}")))
    }
}
