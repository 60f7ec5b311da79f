//! A cluster on loopback: three NATS servers, three nodes, beside a bare client of the same servers.
//!
//! ```text
//!  each round:  authors on every node ──► entries/s, ack times of each node ──► blocks of a mean size
//!               bare clients publish blocks of that size to a stream of their own, as many at once;
//!               then they read them too, as nodes must
//!               one author, and one follower on another node; one bare publish at a time
//!  at the end:  a node without its archive makes it again
//! ```
//!
//! Enters: how much is written. Leaves: a table for each question of the cluster's figures. Invariant: the
//! two of a ratio are measured one after the other, on the same servers.

mod bare;
mod lag;

use std::{
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use roomlog_testkit::nats::{Cluster, Setup};
use tempfile::TempDir;

use self::bare::Bare;
use crate::{
    ServerArgs,
    authors::{Authors, Plan, Tally},
    load::{Stats, stats},
    process::{Server, cpu_seconds},
    table::{Table, median, quantile, say},
};

/// How many nodes, and NATS servers.
const NODES: usize = 3;

/// Blocks that a node has under way at once, and each bare client.
const DEPTH: usize = 8;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    plan: Plan,
    /// Rooms.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// Rounds; each measures the nodes, then the bare clients.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Appends of the one author, and as many bare publishes, one at a time.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    lone: u32,
}

/// Three nodes on their servers.
struct Nodes {
    nats: Cluster,
    binary: PathBuf,
    directory: TempDir,
    servers: Vec<Server>,
}

impl Nodes {
    fn start(args: &ServerArgs) -> io::Result<Self> {
        let directory = args.dir.make()?;
        let nats = Cluster::start(&Setup { servers: NODES, ..Setup::default() })?;
        let mut nodes = Self { nats, binary: args.binary.clone(), directory, servers: Vec::new() };
        for node in 0..NODES {
            nodes.servers.push(nodes.node(node)?);
        }
        Ok(nodes)
    }

    fn node(&self, number: usize) -> io::Result<Server> {
        let data = self.directory.path().join(number.to_string());
        Server::with(&self.binary, &data, &["--journal", &self.nats.url()])
    }

    /// Stops all; what the first says of the blocks that all have applied.
    fn stop(&mut self) -> io::Result<Stats> {
        let mut said = Vec::new();
        for server in self.servers.drain(..) {
            said.push(server.stop()?);
        }
        let stats = said.iter().flatten().find_map(|line| stats(line));
        stats.ok_or_else(|| io::Error::other(format!("a node ended without its stats: {said:?}")))
    }
}

/// One round.
struct Round {
    entries: f64,
    cpu_us: f64,
    ack_p50: f64,
    /// The p99 of each node.
    p99: Vec<f64>,
    blocks: f64,
    entries_a_block: f64,
    bare_blocks: f64,
    bare_p50: f64,
    /// When each bare client reads all blocks too.
    read_blocks: f64,
    /// Cores that each kind of process kept busy.
    cores: Cpu,
}

/// Processor time, in seconds, or in seconds a second.
#[derive(Clone, Copy)]
struct Cpu {
    nodes: f64,
    nats: f64,
    authors: f64,
}

impl Cpu {
    fn of(nodes: &Nodes) -> io::Result<Self> {
        let nats = (0..NODES).filter_map(|index| nodes.nats.pid(index));
        Ok(Self {
            nodes: nodes
                .servers
                .iter()
                .map(|server| cpu_seconds(server.pid()))
                .sum::<io::Result<_>>()?,
            nats: nats.map(cpu_seconds).sum::<io::Result<_>>()?,
            authors: cpu_seconds(std::process::id())?,
        })
    }

    /// What was spent since then, a second.
    fn since(self, before: Self, seconds: f64) -> Self {
        Self {
            nodes: (self.nodes - before.nodes) / seconds,
            nats: (self.nats - before.nats) / seconds,
            authors: (self.authors - before.authors) / seconds,
        }
    }
}

/// Measures and prints the tables.
///
/// # Errors
/// When a server fails, or an append is refused for good.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let mut rounds = Vec::new();
    let mut lone = Vec::new();
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let mut nodes = Nodes::start(&args.server)?;
        rounds.push(one(args, &mut nodes)?);
        for node in 0..NODES {
            let server = nodes.node(node)?;
            nodes.servers.push(server);
        }
        lone.push(lag::measure(&nodes.nats, &nodes.servers, args.lone)?);
        if round + 1 == args.rounds {
            say(&format!(
                "{} on each of {NODES} nodes, {} rooms, bodies of {} bytes, {} s; medians of {} rounds:\n",
                args.plan, args.rooms, args.plan.body, args.seconds, args.rounds
            ));
            print(&rounds);
            lag::print(&lone);
            rebuild(&mut nodes)?;
        }
    }
    Ok(())
}

/// Authors on all nodes at once, then bare clients that publish blocks as large.
fn one(args: &Args, nodes: &mut Nodes) -> io::Result<Round> {
    let time = Duration::from_secs(args.seconds);
    let before = Cpu::of(nodes)?;
    let begun = Instant::now();
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let author = |server: &Server| {
            let addr = server.addr;
            scope.spawn(move || Authors::connect(addr, &args.plan, args.rooms)?.run(time))
        };
        let authors: Vec<_> = nodes.servers.iter().map(author).collect();
        let panicked = |_| io::Error::other("a thread of authors panicked");
        authors.into_iter().map(|it| it.join().map_err(panicked)?).collect::<io::Result<_>>()
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let cores = Cpu::of(nodes)?.since(before, seconds);
    let stats = nodes.stop()?;
    let block = stats.entries / stats.blocks.max(1.0);
    let bytes = (block * crate::disk::ENTRY as f64) as usize;
    let bare = Bare::connect(&nodes.nats, NODES)?;
    let (bare_blocks, bare_us) = bare.publish(bytes, DEPTH, time)?;
    let read_blocks = bare.publish_and_read(bytes, DEPTH, time)?;
    let all: Vec<f64> = tallies.iter().flat_map(|tally| tally.ack_us.iter().copied()).collect();
    Ok(Round {
        entries: all.len() as f64 / seconds,
        cpu_us: cores.nodes * seconds * 1e6 / all.len() as f64,
        ack_p50: quantile(&all, 0.5) / 1e3,
        p99: tallies.iter().map(|tally| quantile(&tally.ack_us, 0.99) / 1e3).collect(),
        blocks: stats.blocks / seconds,
        entries_a_block: block,
        bare_blocks,
        bare_p50: quantile(&bare_us, 0.5) / 1e3,
        read_blocks,
        cores,
    })
}

fn print(rounds: &[Round]) {
    let mut table = Table::new(&[
        "entries/s",
        "CPU µs an entry",
        "ack p50, ms",
        "ack p99 of each node, ms",
        "slowest of fastest",
        "blocks/s",
        "entries a block",
        "bare blocks/s",
        "of bare",
        "bare p50, ms",
        "bare, read too: blocks/s",
        "of that",
    ]);
    let of = |value: fn(&Round) -> f64| median(&rounds.iter().map(value).collect::<Vec<_>>());
    let node = |node: usize| median(&rounds.iter().map(|it| it.p99[node]).collect::<Vec<_>>());
    let p99: Vec<String> = (0..NODES).map(|number| format!("{:.1}", node(number))).collect();
    let spread = |round: &Round| {
        let max = round.p99.iter().copied().fold(0.0, f64::max);
        max / round.p99.iter().copied().fold(f64::MAX, f64::min)
    };
    table.row(vec![
        format!("{:.0}", of(|it| it.entries)),
        format!("{:.1}", of(|it| it.cpu_us)),
        format!("{:.1}", of(|it| it.ack_p50)),
        p99.join(" "),
        format!("{:.2}", of(spread)),
        format!("{:.0}", of(|it| it.blocks)),
        format!("{:.1}", of(|it| it.entries_a_block)),
        format!("{:.0}", of(|it| it.bare_blocks)),
        format!("{:.2}", of(|it| it.blocks / it.bare_blocks)),
        format!("{:.1}", of(|it| it.bare_p50)),
        format!("{:.0}", of(|it| it.read_blocks)),
        format!("{:.2}", of(|it| it.blocks / it.read_blocks)),
    ]);
    table.print();
    say(&format!(
        "\nCores that were busy: {:.2} by the nodes, {:.2} by the NATS servers, {:.2} by the authors.",
        of(|it| it.cores.nodes),
        of(|it| it.cores.nats),
        of(|it| it.cores.authors)
    ));
    say(
        "\nBars: blocks/s at least 0.6 of bare; the slowest node's p99 at most 3 of the fastest's (one room).",
    );
}

/// How fast a node that lost its archive makes it again.
fn rebuild(nodes: &mut Nodes) -> io::Result<()> {
    let server = nodes.servers.pop().ok_or_else(|| io::Error::other("no node"))?;
    server.stop()?;
    let data = nodes.directory.path().join((NODES - 1).to_string());
    for file in ["archive.db", "archive.db-wal", "archive.db-shm"] {
        match fs::remove_file(data.join(file)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
    }
    let begun = Instant::now();
    let server = nodes.node(NODES - 1)?;
    let took = begun.elapsed().as_secs_f64();
    let lines = server.stop()?;
    let stats = lines.iter().find_map(|line| stats(line));
    let entries = stats.map_or(0.0, |stats| stats.entries);
    say(&format!(
        "\nAn archive made again: {entries:.0} entries in {took:.1} s, {:.0} a second. Bar: 100,000.",
        entries / took
    ));
    Ok(())
}
