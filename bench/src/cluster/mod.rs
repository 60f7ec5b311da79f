//! A cluster on loopback: three NATS servers and three nodes, compared with bare clients of the
//! same servers.
//!
//! ```text
//!  each round:  authors on every node ──► entries/s, ack times of each node ──► the mean block
//!               bare clients publish blocks of that size to their own stream, as many in flight;
//!               then they also read them, as nodes must
//!               a single writer, and a follower on another node; one bare publish at a time
//!  at the end:  a node without its archive rebuilds it
//! ```
//!
//! Enters: rounds, seconds, rooms. Leaves: a table for each question. Invariant: both sides of a
//! ratio are measured one after the other, on the same servers.

mod bare;
mod lone;

use std::{
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use roomlog_testkit::nats::{Cluster, Setup};
use tempfile::TempDir;

use self::{bare::BareClients, lone::LoneTimes};
use crate::{
    args::ServerArgs,
    authors::{Authors, Plan, Tally},
    disk::ENTRY,
    process::{Server, Stats, cpu_seconds},
    table::{Table, say},
    times::{Times, median},
};

/// Nodes, and NATS servers.
const NODES: usize = 3;

/// Blocks that a node, and each bare client, has in flight.
const DEPTH: usize = 8;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    plan: Plan,
    /// Rooms.
    #[arg(long, default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// Rounds; each measures the nodes, then the bare clients.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Appends of the single writer, one at a time.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    lone: u32,
}

/// Three nodes and their NATS servers.
struct Nodes {
    nats: Cluster,
    binary: PathBuf,
    dir: TempDir,
    servers: Vec<Server>,
}

impl Nodes {
    fn start(args: &ServerArgs) -> io::Result<Self> {
        let dir = args.dir.make()?;
        let nats = Cluster::start(&Setup { servers: NODES, ..Setup::default() })?;
        let mut nodes = Self { nats, binary: args.binary.clone(), dir, servers: Vec::new() };
        nodes.start_all()?;
        Ok(nodes)
    }

    fn start_all(&mut self) -> io::Result<()> {
        self.servers = (0..NODES).map(|node| self.start_one(node)).collect::<io::Result<_>>()?;
        Ok(())
    }

    fn start_one(&self, node: usize) -> io::Result<Server> {
        let data = self.dir.path().join(node.to_string());
        Server::roomlog(&self.binary, &data, &["--journal", &self.nats.url()], None)
    }

    /// Stops the nodes; returns the counts of the first: all nodes apply all blocks.
    fn stop(&mut self) -> io::Result<Stats> {
        let stats = self.servers.drain(..).map(Server::stop_with_stats);
        let stats = stats.collect::<io::Result<Vec<_>>>()?;
        stats.into_iter().next().ok_or_else(|| io::Error::other("no node"))
    }
}

/// The figures of one round.
struct ClusterRound {
    entries: f64,
    cpu_us: f64,
    ack_p50: f64,
    /// The p99 of each node.
    p99: Vec<f64>,
    blocks: f64,
    entries_per_block: f64,
    bare_blocks: f64,
    bare_p50: f64,
    /// Bare blocks per second if each client also reads them all.
    read_blocks: f64,
    /// Cores that each kind of process kept busy.
    cores: Cpu,
}

/// CPU time of each kind of process: in seconds, or in cores.
#[derive(Clone, Copy)]
struct Cpu {
    nodes: f64,
    nats: f64,
    authors: f64,
}

impl Cpu {
    fn of(nodes: &Nodes) -> io::Result<Self> {
        let nats = (0..NODES).filter_map(|index| nodes.nats.pid(index));
        let servers = nodes.servers.iter().map(|server| cpu_seconds(server.pid()));
        Ok(Self {
            nodes: servers.sum::<io::Result<_>>()?,
            nats: nats.map(cpu_seconds).sum::<io::Result<_>>()?,
            authors: cpu_seconds(std::process::id())?,
        })
    }

    /// The cores used since `before`.
    fn since(self, before: Self, seconds: f64) -> Self {
        Self {
            nodes: (self.nodes - before.nodes) / seconds,
            nats: (self.nats - before.nats) / seconds,
            authors: (self.authors - before.authors) / seconds,
        }
    }
}

/// Measures and prints the tables.
pub(crate) fn run(args: &ClusterArgs) -> io::Result<()> {
    let mut rounds = Vec::new();
    let mut lone = LoneTimes::default();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        let mut nodes = Nodes::start(&args.server)?;
        rounds.push(measure(args, &mut nodes)?);
        nodes.start_all()?;
        lone.round(&nodes.nats, &nodes.servers, args.lone)?;
        if round == args.rounds {
            say(&format!(
                "{} on each of {NODES} nodes, {} rooms, bodies of {} bytes, {} s; medians of {} \
                 rounds:\n",
                args.plan, args.rooms, args.plan.body, args.seconds, args.rounds
            ));
            print(&rounds);
            lone.print();
            rebuild(&mut nodes)?;
        }
    }
    Ok(())
}

/// Authors on all nodes concurrently, then bare clients with blocks of the same size.
fn measure(args: &ClusterArgs, nodes: &mut Nodes) -> io::Result<ClusterRound> {
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
    let bytes = (stats.entries_per_block() * ENTRY as f64) as usize;
    let clients = BareClients::connect(&nodes.nats, NODES)?;
    let bare = clients.publish(bytes, DEPTH, time)?;
    let read_blocks = clients.publish_and_read(bytes, DEPTH, time)?;
    let mut all = Times::default();
    tallies.iter().for_each(|tally| all.add(&tally.ack));
    let acked = all.len() as f64;
    Ok(ClusterRound {
        entries: acked / seconds,
        cpu_us: cores.nodes * seconds * 1e6 / acked,
        ack_p50: all.ms(0.5),
        p99: tallies.iter().map(|tally| tally.ack.ms(0.99)).collect(),
        blocks: stats.blocks / seconds,
        entries_per_block: stats.entries_per_block(),
        bare_blocks: bare.per_s,
        bare_p50: bare.ack.ms(0.5),
        read_blocks,
        cores,
    })
}

fn print(rounds: &[ClusterRound]) {
    let mut table = Table::new(&[
        "entries/s",
        "CPU µs per entry",
        "ack p50, ms",
        "ack p99 of each node, ms",
        "slowest of fastest",
        "blocks/s",
        "entries per block",
        "bare blocks/s",
        "of bare",
        "bare p50, ms",
        "bare, also read: blocks/s",
        "of that",
    ]);
    let of = |value: fn(&ClusterRound) -> f64| median(rounds.iter().map(value));
    let node = |node: usize| median(rounds.iter().map(|it| it.p99[node]));
    let p99: Vec<String> = (0..NODES).map(|number| format!("{:.1}", node(number))).collect();
    let spread = |round: &ClusterRound| {
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
        format!("{:.1}", of(|it| it.entries_per_block)),
        format!("{:.0}", of(|it| it.bare_blocks)),
        format!("{:.2}", of(|it| it.blocks / it.bare_blocks)),
        format!("{:.1}", of(|it| it.bare_p50)),
        format!("{:.0}", of(|it| it.read_blocks)),
        format!("{:.2}", of(|it| it.blocks / it.read_blocks)),
    ]);
    table.print();
    say(&format!(
        "\nBusy cores: {:.2} by the nodes, {:.2} by the NATS servers, {:.2} by the authors.",
        of(|it| it.cores.nodes),
        of(|it| it.cores.nats),
        of(|it| it.cores.authors)
    ));
    say("\nBars: blocks/s at least 0.6 of bare; the slowest node's p99 at most 3 of the fastest's");
    say("(one room).");
}

/// How fast a node rebuilds a lost archive.
fn rebuild(nodes: &mut Nodes) -> io::Result<()> {
    let server = nodes.servers.pop().ok_or_else(|| io::Error::other("no node"))?;
    server.stop()?;
    let data = nodes.dir.path().join((NODES - 1).to_string());
    for file in ["archive.db", "archive.db-wal", "archive.db-shm"] {
        match fs::remove_file(data.join(file)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
    }
    let begun = Instant::now();
    let server = nodes.start_one(NODES - 1)?;
    let took = begun.elapsed().as_secs_f64();
    let entries = server.stop_with_stats()?.entries;
    say(&format!(
        "\nArchive rebuilt: {entries:.0} entries in {took:.1} s, {:.0} per second. Bar: 100,000.",
        entries / took
    ));
    Ok(())
}
