//! Acks at a rate over sockets: ours, beside a server that appends and fdatasyncs and nothing else.
//!
//! Enters: connections, a rate, seconds, rooms, rounds. Leaves: ack times of both, from when an append was
//! due, the medians of rounds. Invariants: authors, frames, sockets and ticks are the same for both, and
//! share the cores with both; ours folds meanwhile.

mod plain;

use std::io;

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::{
    ServerArgs,
    at_rate::AtRate,
    authors::{Authors, Plan},
    process::Server,
    spread::{Rooms, Spread},
    table::{Table, median, say},
};

use plain::Plain;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    load: AtRate,
}

/// p50, p99 and p99.9, in ms.
type Times = [f64; 3];

/// Measures and prints the table.
///
/// # Errors
/// When the disk or a server fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=args.load.rounds {
        plain.push(of_plain(args)?);
        ours.push(of_ours(args)?);
        eprintln!(
            "round {round}: p50, p99, p99.9 in ms: {:.2?}, ours {:.2?}",
            plain.last(),
            ours.last()
        );
    }
    let mut table =
        Table::new(&["server", "p50, ms", "p99, ms", "p99.9, ms", "p50 of plain", "p99 of plain"]);
    for (name, times) in [("append + fdatasync", &plain), ("roomlog, folding", &ours)] {
        let of = |at: usize| median(&times.iter().map(|it: &Times| it[at]).collect::<Vec<_>>());
        let ratio = |at: usize| {
            let ratios = times.iter().zip(&plain).map(|(it, plain)| it[at] / plain[at]);
            median(&ratios.collect::<Vec<_>>())
        };
        let ms = (0..3).map(|at| format!("{:.2}", of(at)));
        let ratios = (0..2).map(|at| format!("{:.2}", ratio(at)));
        table.row(std::iter::once(name.to_owned()).chain(ms).chain(ratios).collect());
    }
    let Args { load: AtRate { rate, seconds, rooms, rounds }, plan, .. } = args;
    say(&format!(
        "{plan}, bodies of {} bytes, {rate} appends a second for {seconds} s over {rooms} rooms, \
        medians of {rounds} rounds:\n",
        plan.body
    ));
    table.print();
    say("\nAcks count from when an append was due. Bar: p99 at most 2 of append + fdatasync's.");
    Ok(())
}

fn of_plain(args: &Args) -> io::Result<Times> {
    let dir = args.server.dir.make()?;
    let server = Plain::start(dir.path().to_owned())?;
    let authors = Authors::connect(server.addr, &args.plan, args.load.rooms)?;
    let times = at_rate(args, authors)?;
    server.stop()?;
    Ok(times)
}

fn of_ours(args: &Args) -> io::Result<Times> {
    let dir = args.server.dir.make()?;
    let server = Server::roomlog(&args.server.binary, dir.path())?;
    let authors = Authors::connect(server.addr, &args.plan, args.load.rooms)?;
    let times = at_rate(args, authors)?;
    server.stop()?;
    Ok(times)
}

fn at_rate(args: &Args, mut authors: Authors) -> io::Result<Times> {
    let rooms = Rooms::new(Spread::Zipf, args.load.rooms);
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut supply = args.load.supply();
    let tally = authors.drive(&mut supply, &mut || rooms.draw(&mut chance) as u64)?;
    Ok(args.load.times_ms(&tally.ack_us))
}
