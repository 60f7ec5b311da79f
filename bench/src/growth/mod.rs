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
    The appends at the rate that count are half a size at most (2 s of them where a size has as many) \
    and lie around it, half before and half after; before them comes a run-in, so that the archive \
    folds already. Where they are less than 5 s they are measured on several logs, and the last one \
    grows on. Their ack times count from when each was due, in ticks of 250 µs, so that a stall shows in all \
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
        for step in steps {
            eprintln!("{}, {} entries", spread.name(), step.size);
            points.push(one(args, step, &mut log, spread)?);
            if let Some(file) = &args.csv {
                fs::write(file, point::csv(points))?;
            }
        }
        log.stop()?;
    }
    Ok(())
}

/// Measures one size, to which the log has not grown yet.
fn one(args: &Args, step: &Step, log: &mut Log<'_>, spread: Spread) -> io::Result<Point> {
    let floor = Duration::from_secs(u64::from(args.floor_seconds)) / step.rounds;
    let mut paced = Paced::default();
    for round in 1..step.rounds {
        eprintln!("  round {round} of {}, on a log of its own", step.rounds);
        let mut other = Log::start(args, spread)?;
        other.grow(step.loaded)?;
        paced.round(&mut other, step, args.rate, floor)?;
        other.stop()?;
    }
    eprintln!("  loading from {}", log.entries());
    let mut load = log.grow(step.loaded)?;
    eprintln!("  floor, {} appends at {} a second, floor", step.counted, args.rate);
    paced.round(log, step, args.rate, floor)?;
    eprintln!("  pages, a lone author, starts");
    let rest = Rest::of(log, args.pages)?;
    if step.rounds > 1 {
        // What was loaded before the appends at the rate is too little to tell a rate of its own.
        let mut other = Log::start(args, spread)?;
        load = other.grow(step.size)?;
        other.stop()?;
    }
    Ok(Point { spread, size: step.size, load, acks: paced.figures(), rest })
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
        let on = if step.rounds == 1 { String::new() } else { format!(" on {} logs", step.rounds) };
        let size = step.size;
        say(&format!("Size {size}: counted from {from} to {to} entries, {seconds:.1} s{on}."));
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
        "1.3 of that at the first size, p99 at most 2 of the floor's, page p50 inside at most 100 µs,",
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
