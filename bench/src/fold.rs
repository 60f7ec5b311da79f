//! The log without its sockets: acks at a rate while the archive folds, and while it does not.
//!
//! ```text
//!  floor ─► a node that folds, at a rate ─► floor ─► a node that does not, at the same rate ─► floor
//! ```
//!
//! Enters: a rate, seconds, rooms. Leaves: ack times, from when an append was due until its outcome was
//! taken, beside the floor. Invariants: the node is put together as `serve` does it, on SQLite; what no
//! node can do without is all that is left out: sockets, and clients that take the cores.

use std::{
    io,
    os::fd::AsFd,
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
    Node, NodeSettings, Running,
    mailbox::{Mailbox, Outcome},
    merge::QueueId,
    proposal::Proposal,
    sequencer::{Submit, Ticket},
    suites::archive::proposal,
};
use roomlog_sqlite::Directory;
use tokio::runtime::{Builder, Runtime};

use crate::{
    DataDir,
    disk::{Bare, ENTRY},
    process::cpu_seconds,
    receivers::body,
    spread::{Rooms, Spread},
    supply::Supply,
    table::{Table, quantile, say},
};

/// Seconds of the floor, each time.
const FLOOR: Duration = Duration::from_secs(4);

/// Queues that appends come from, in each room.
const QUEUES: u64 = 64;

/// The places that `serve` gives the threads that write the journal and fold.
const GO_FIRST: i32 = -10;
const GO_LAST: i32 = 5;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    dir: DataDir,
    /// Appends a second.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds, of which the first is not counted: no fold has begun in it.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Rooms, which are taken by Zipf's law.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
}

/// What a run has shown.
struct Seen {
    ack_us: Vec<f64>,
    block_entries: f64,
    blocks_per_s: f64,
    cpu_us: f64,
    folded: u64,
    lag_max: u64,
}

/// Measures and prints the table.
///
/// # Errors
/// When the disk or a node fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let dir = args.dir.make()?;
    let mut bare = Bare::new(dir.path())?;
    let mut block = (args.rate as usize / 3_000).max(1) * ENTRY;
    let mut floor = bare.times_us(block, FLOOR)?;
    let mut rows = Vec::new();
    for (name, folds) in [("folding", true), ("not folding", false)] {
        eprintln!("{name}: {} appends a second for {} s", args.rate, args.seconds);
        let seen = one(args, &dir.path().join(name), folds)?;
        block = (seen.block_entries * ENTRY as f64) as usize;
        floor.extend(bare.times_us(block, FLOOR)?);
        rows.push((name, seen));
    }
    let mut table = Table::new(&[
        "node",
        "acks/s",
        "p50, ms",
        "p99, ms",
        "floor p50, ms",
        "floor p99, ms",
        "p99 of floor p99",
        "entries a block",
        "blocks/s",
        "CPU µs an entry",
        "folded entries/s",
        "fold lag max",
    ]);
    let of_floor = |q| quantile(&floor, q) / 1e3;
    let counted = (args.seconds - 1) as f64;
    for (name, seen) in &rows {
        let ms = |q| quantile(&seen.ack_us, q) / 1e3;
        table.row(vec![
            (*name).into(),
            format!("{:.0}", seen.ack_us.len() as f64 / counted),
            format!("{:.2}", ms(0.5)),
            format!("{:.2}", ms(0.99)),
            format!("{:.2}", of_floor(0.5)),
            format!("{:.2}", of_floor(0.99)),
            format!("{:.2}", ms(0.99) / of_floor(0.99)),
            format!("{:.1}", seen.block_entries),
            format!("{:.0}", seen.blocks_per_s),
            format!("{:.1}", seen.cpu_us),
            format!("{:.0}", seen.folded as f64 / args.seconds as f64),
            format!("{}", seen.lag_max),
        ]);
    }
    table.print();
    say("\nFloor: append + fdatasync of blocks as large, before, between and after.");
    say(
        "Acks count from when an append was due. Bar: p99 at most 2 of the floor's while it folds.",
    );
    Ok(())
}

/// A node at the rate.
fn one(args: &Args, data: &Path, folds: bool) -> io::Result<Seen> {
    let directory = Directory::open(data).map_err(io::Error::other)?;
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
    let Directory { identity, journal, archive, .. } = &directory;
    let (node, Running { task, folder }) =
        Node::open(*identity, journal.clone(), archive.clone(), settings)
            .map_err(io::Error::other)?;
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
    let seen = appended(args, &node, &runtime)?;
    node.inbox.close();
    let ended = runtime.block_on(applying).map_err(io::Error::other)?;
    ended.map_err(io::Error::other)?;
    let panicked = |_| io::Error::other("a thread of the node panicked");
    sequencing.join().map_err(panicked)?.map_err(io::Error::other)?;
    folder.join().map_err(panicked)?;
    Ok(seen)
}

/// Gives the calling thread its place among the others, as far as the system lets it.
fn take_place(nice: i32) {
    let thread = Some(rustix::thread::gettid());
    let _or_it_stays = rustix::process::setpriority_process(thread, nice);
}

/// Appends at the rate; what came of it.
fn appended(args: &Args, node: &Node, runtime: &Runtime) -> io::Result<Seen> {
    let entries = u64::from(args.rate) * args.seconds;
    let begun = Instant::now();
    let due: Arc<Vec<AtomicU64>> = Arc::new((0..entries).map(|_| AtomicU64::new(0)).collect());
    let mailbox = Arc::new(Mailbox::default());
    let taker = runtime.spawn(take(mailbox.clone(), due.clone(), begun));
    let cpu = cpu_seconds(std::process::id())?;
    let mut supply = Supply::paced(entries, args.rate, Duration::from_secs(args.seconds * 3));
    let mut author = Author::new(args.rooms, mailbox);
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
    // The first second is before any fold.
    let counted = ack_us.into_iter().skip(args.rate as usize).collect();
    Ok(Seen {
        ack_us: counted,
        block_entries: acked / stats.blocks().max(1) as f64,
        blocks_per_s: stats.blocks() as f64 / took,
        cpu_us: (cpu_seconds(std::process::id())? - cpu) * 1e6 / acked,
        folded: stats.entries() - stats.unfolded(),
        lag_max: stats.unfolded_max(),
    })
}

/// Waits for the next tick.
fn wait(ticks: &impl AsFd) -> io::Result<()> {
    let mut poll = [rustix::event::PollFd::new(ticks, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, None)?;
    let mut count = [0; 8];
    rustix::io::read(ticks, &mut count)?;
    Ok(())
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
