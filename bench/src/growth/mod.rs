//! A log that grows: what a server costs at each size, end to end.
//!
//! ```text
//!  for each spread, a log of its own; at each size:
//!    load ─► floor ─► appends at a rate ─► floor ─► pages ─► a lone author ─► kill -9, start; stop, start
//! ```
//!
//! Enters: sizes, spreads, a rate. Leaves: tables, the same as CSV, and plots. Invariants: a log has all
//! that the sizes before it left; the size of each figure is the one that the log really had; what was
//! measured before an error is told.

mod charts;
mod log;
mod metrics;
mod paced;
mod point;
mod rest;
mod steps;

use std::{fs, io, path::PathBuf, time::Duration};

use self::{
    log::Log,
    paced::Paced,
    point::{Point, SECTIONS},
    rest::Rest,
    steps::Step,
};
use crate::{ServerArgs, spread::Spread, table::say};

/// What is measured.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "At each size: entries/s since the size before, until they are acked and until the archive has \
    them too; acks of appends at a rate, between two rounds of append + fdatasync of blocks as large; \
    then, with nobody else at it, pages of 50 at random places, a lone author, memory, files, starts. \
    The appends at the rate come in rounds that lie around a size, half before and half after; in each \
    of them those that count come behind a run-in, so that the archive folds all the while. A size too \
    small for that has a log for each round, and the last one grows on. Before each round of a later size \
    comes one of the first size, on a log of its own: the p50s of two rounds are compared, and the median \
    of that is told, because minutes of a machine differ more than sizes do. Ack times count from when each was due, in ticks of 250 µs, so that a stall shows in all \
    that it holds up, and so does what this program was late; from when it was sent, and inside the \
    server, they stand beside that. Quantiles inside the server come from its histograms, with \
    six buckets a decade: they are interpolated. What was measured before an error is printed all the same."
)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Sizes in entries, from 10,000, ascending; those that are too near are refused.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000,10000000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    at: Vec<u64>,
    /// Rooms.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// How entries, and the pages that are read, are spread over the rooms.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "zipf,uniform")]
    spread: Vec<Spread>,
    /// Bytes of a body.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    body: u32,
    /// Appends a second at the rate.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    rate: u32,
    /// Seconds of them that count, where a size has as many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    paced: u64,
    /// Seconds of the floor before them, and again after them, all rounds together.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    floor_seconds: u32,
    /// Pages that are read.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pages: u32,
    /// Seconds that getting to one size may take.
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    load_seconds: u64,
    /// The figures go there too, as CSV; written after each size.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Plots go into this directory, which is made if it is not there.
    #[arg(long)]
    plots: Option<PathBuf>,
}

/// Measures and prints the tables.
///
/// # Errors
/// When the sizes are not in order, the server or the disk fails, an append is refused for good, or a
/// file cannot be written.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let steps = steps::steps(&args.at, args.rate, args.paced)?;
    let mut points = Vec::new();
    let outcome = measure(args, &steps, &mut points);
    if !points.is_empty() {
        report(args, &steps, &points)?;
    }
    outcome
}

/// Measures each size of each spread; what was measured before an error is in `points`.
fn measure(args: &Args, steps: &[Step], points: &mut Vec<Point>) -> io::Result<()> {
    for spread in args.spread.iter().copied() {
        if points.iter().any(|point| point.spread == spread) {
            // Named twice.
            continue;
        }
        let mut log = Log::start(args, spread)?;
        for (at, step) in steps.iter().enumerate() {
            eprintln!("{}, {} entries", spread.name(), step.size);
            let first = steps.first().filter(|_| at > 0);
            points.push(one(args, first, step, &mut log, spread)?);
            if let Some(file) = &args.csv {
                fs::write(file, point::csv(points))?;
            }
        }
        log.stop()?;
    }
    Ok(())
}

/// Measures one size, to which the log has not grown yet. `first` is the first size, when this is a
/// later one: a round of it comes before each of this one's.
fn one(
    args: &Args,
    first: Option<&Step>,
    step: &Step,
    log: &mut Log<'_>,
    spread: Spread,
) -> io::Result<Point> {
    let floor = Duration::from_secs(u64::from(args.floor_seconds)) / step.rounds;
    let (mut paced, mut beside) = (Paced::default(), Paced::default());
    eprintln!("  loading from {}", log.entries());
    let mut load = log.grow(step.loaded)?;
    for round in 1..=step.rounds {
        let (rounds, counted, rate) = (step.rounds, step.counted, args.rate);
        eprintln!(
            "  round {round} of {rounds}: floor, {counted} appends at {rate} a second, floor"
        );
        if let Some(first) = first {
            apart(args, first, spread, &mut beside, Duration::ZERO)?;
        }
        if step.apart && round < step.rounds {
            apart(args, step, spread, &mut paced, floor)?;
        } else {
            paced.round(log, step, args.rate, floor)?;
        }
    }
    eprintln!("  pages, a lone author, starts");
    let rest = Rest::of(log, args.pages)?;
    if step.apart {
        // What was loaded before the appends at the rate is too little to tell a rate of its own.
        let mut other = Log::start(args, spread)?;
        load = other.grow(step.size)?;
        other.stop()?;
    }
    let of_first = first.map_or(1.0, |_| paced.p50_of(&beside));
    Ok(Point { spread, size: step.size, load, of_first, acks: paced.figures(), rest })
}

/// A round of a step on a log of its own.
fn apart(
    args: &Args,
    step: &Step,
    spread: Spread,
    paced: &mut Paced,
    floor: Duration,
) -> io::Result<()> {
    let mut log = Log::start(args, spread)?;
    log.grow(step.loaded)?;
    paced.round(&mut log, step, args.rate, floor)?;
    log.stop()
}

/// Prints the tables and writes the plots.
fn report(args: &Args, steps: &[Step], points: &[Point]) -> io::Result<()> {
    say(&format!(
        "{} rooms, bodies of {} bytes, 64 connections. At the rate: {} appends a second.",
        args.rooms, args.body, args.rate
    ));
    for step in steps {
        let (from, to) = step.span();
        let seconds = step.counted as f64 / f64::from(args.rate);
        let (size, rounds) = (step.size, step.rounds);
        let on = if step.apart { ", each on a log of its own" } else { "" };
        say(&format!(
            "Size {size}: counted between {from} and {to} entries, {rounds} rounds of {seconds:.1} s{on}."
        ));
    }
    for section in &SECTIONS {
        say(&format!("\n{}:\n", section.title()));
        section.table(points).print();
    }
    say(
        "\nFloor: append + fdatasync of blocks as large as the mean block of the appends at the rate,",
    );
    say(
        "right before and right after them. Ack times count from when an append was due; `inside` is",
    );
    say(
        "from reading it to answering it, interpolated in six buckets a decade. Bars: ack p50 at most",
    );
    say(
        "1.3 of that at the first size beside it, p99 at most 2 of the floor's, page p50 inside at most 100 µs,",
    );
    say(&format!("start-up within 1 s, folding keeps up with {} entries a second.", args.rate));
    let Some(dir) = &args.plots else { return Ok(()) };
    fs::create_dir_all(dir)?;
    for chart in charts::charts(points, args.rate) {
        let file = dir.join(format!("{}.svg", chart.name));
        fs::write(&file, chart.svg())?;
        eprintln!("{}", file.display());
    }
    Ok(())
}
