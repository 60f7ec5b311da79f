//! Ack times at a rate while the archive folds, compared with a server that only appends and syncs.
//!
//! Enters: connections, a rate, seconds, rooms, rounds. Leaves: ack times of both, counted from
//! when an append was due; medians of the rounds. Invariants: authors, frames, sockets and ticks
//! are the same for both and share the cores with the server.

mod plain;

use std::{io, net::SocketAddr, time::Duration};

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use self::plain::PlainServer;
use crate::{
    args::ServerArgs,
    authors::{Authors, Plan},
    disk::FLOOR,
    spread::{Rooms, Spread},
    supply::Supply,
    table::{Table, say},
    times::median,
};

/// A server that falls behind may take this many times the time.
const BEHIND: u64 = 3;

const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct AcksArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    plan: Plan,
    /// Appends per second.
    #[arg(long, default_value_t = 50_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds per measurement. The first one does not count: nothing is folded in it.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Rooms, drawn by Zipf's law.
    #[arg(long, default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// Rounds; each measures both servers once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// The [`QUANTILES`] of one measurement, ms.
type Measured = [f64; 3];

/// Measures and prints the table.
pub(crate) fn run(args: &AcksArgs) -> io::Result<()> {
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        let dir = args.server.dir.make()?;
        let server = PlainServer::start(dir.path().to_owned())?;
        let floor = measure(args, server.addr)?;
        server.stop()?;
        let dir = args.server.dir.make()?;
        let server = args.server.start(dir.path())?;
        let this = measure(args, server.addr)?;
        server.stop()?;
        eprintln!("round {round}: p50, p99, p99.9 in ms: {floor:.2?}, ours {this:.2?}");
        plain.push(floor);
        ours.push(this);
    }
    let mut table =
        Table::new(&["server", "p50, ms", "p99, ms", "p99.9, ms", "p50 of plain", "p99 of plain"]);
    for (name, rounds) in [(FLOOR, &plain), ("roomlog, folding", &ours)] {
        let of = |at: usize| median(rounds.iter().map(|round: &Measured| round[at]));
        let ratio = |at: usize| median(rounds.iter().zip(&plain).map(|(a, b)| a[at] / b[at]));
        let ms = (0..QUANTILES.len()).map(|at| format!("{:.2}", of(at)));
        let ratios = (0..2).map(|at| format!("{:.2}", ratio(at)));
        table.row(std::iter::once(name.to_owned()).chain(ms).chain(ratios).collect());
    }
    let AcksArgs { rate, seconds, rooms, rounds, plan, .. } = args;
    say(&format!(
        "{plan}, bodies of {} bytes, {rate} appends per second for {seconds} s over {rooms} rooms, \
         medians of {rounds} rounds:\n",
        plan.body
    ));
    table.print();
    say("\nAcks count from when an append was due. Bar: p99 at most 2 of append + fdatasync's.");
    Ok(())
}

fn measure(args: &AcksArgs, addr: SocketAddr) -> io::Result<Measured> {
    let mut authors = Authors::connect(addr, &args.plan, args.rooms)?;
    let rooms = Rooms::new(Spread::Zipf, args.rooms);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let limit = Duration::from_secs(BEHIND * args.seconds);
    let mut supply = Supply::paced(u64::from(args.rate) * args.seconds, args.rate, limit);
    supply.warm_up = u64::from(args.rate);
    let tally = authors.drive(&mut supply, &mut || rooms.draw(&mut rng) as u64)?;
    Ok(QUANTILES.map(|q| tally.ack.ms(q)))
}
