//! A growing log: what the server costs at each size, end to end.
//!
//! ```text
//!  for each spread, a log of its own; at each size:
//!    load ─► floor ─► appends at a rate ─► floor ─► pages ─► a single writer ─► starts
//! ```
//!
//! Enters: sizes, spreads, a rate. Leaves: tables, the same as CSV, and plots. Invariants: a log
//! keeps the entries of all earlier sizes; each figure has the size that the log really had; after
//! an error, what was measured before it is reported.

mod args;
mod charts;
mod log;
mod paced;
mod point;
mod rest;
mod steps;

use std::{fs, io, time::Duration};

pub(crate) use args::GrowthArgs;

use self::{
    log::GrowingLog,
    paced::Paced,
    point::{Point, SECTIONS},
    rest::AtRest,
    steps::Step,
};
use crate::{spread::Spread, table::say};

/// Measures and prints the tables.
pub(crate) fn run(args: &GrowthArgs) -> io::Result<()> {
    let steps = steps::steps(&args.at, args.rate, args.paced)?;
    let mut points = Vec::new();
    let outcome = measure(args, &steps, &mut points);
    if !points.is_empty() {
        report(args, &steps, &points)?;
    }
    outcome
}

/// Measures each size of each spread into `points`.
fn measure(args: &GrowthArgs, steps: &[Step], points: &mut Vec<Point>) -> io::Result<()> {
    for spread in args.spread.iter().copied() {
        if points.iter().any(|point| point.spread == spread) {
            // Listed twice.
            continue;
        }
        let mut log = GrowingLog::start(args, spread)?;
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

/// Grows the log to one size and measures it. `first` is the first size, unless this is it: a round
/// of it precedes each round of this one.
fn one(
    args: &GrowthArgs,
    first: Option<&Step>,
    step: &Step,
    log: &mut GrowingLog<'_>,
    spread: Spread,
) -> io::Result<Point> {
    let floor = Duration::from_secs(u64::from(args.floor_seconds)) / step.rounds;
    let (mut paced, mut beside) = (Paced::default(), Paced::default());
    eprintln!("  loading from {}", log.entries());
    let mut load = log.grow(step.loaded)?;
    for round in 1..=step.rounds {
        let (rounds, counted, rate) = (step.rounds, step.counted, args.rate);
        eprintln!("  round {round} of {rounds}: floor, {counted} appends at {rate}/s, floor");
        if let Some(first) = first {
            on_new_log(args, first, spread, &mut beside, Duration::ZERO)?;
        }
        if step.apart && round < step.rounds {
            on_new_log(args, step, spread, &mut paced, floor)?;
        } else {
            paced.round(log, step, args.rate, floor)?;
        }
    }
    eprintln!("  pages, a single writer, starts");
    let rest = AtRest::measure(log, args.pages)?;
    if step.apart {
        // Too little was loaded before the paced appends to measure a rate.
        let mut other = GrowingLog::start(args, spread)?;
        load = other.grow(step.size)?;
        other.stop()?;
    }
    let of_first = first.map_or(1.0, |_| paced.ack.p50_ratio(&beside.ack));
    Ok(Point { spread, size: step.size, load, of_first, paced, rest })
}

/// A round of a step on a new log.
fn on_new_log(
    args: &GrowthArgs,
    step: &Step,
    spread: Spread,
    paced: &mut Paced,
    floor: Duration,
) -> io::Result<()> {
    let mut log = GrowingLog::start(args, spread)?;
    log.grow(step.loaded)?;
    paced.round(&mut log, step, args.rate, floor)?;
    log.stop()
}

/// Prints the tables and draws the plots.
fn report(args: &GrowthArgs, steps: &[Step], points: &[Point]) -> io::Result<()> {
    say(&format!(
        "{} rooms, bodies of {} bytes, 64 connections. At the rate: {} appends per second.",
        args.rooms, args.body, args.rate
    ));
    for step in steps {
        let (from, to) = step.span();
        let seconds = step.counted as f64 / f64::from(args.rate);
        let (size, rounds) = (step.size, step.rounds);
        let on = if step.apart { ", each on a log of its own" } else { "" };
        say(&format!(
            "Size {size}: counted from {from} to {to} entries, {rounds} rounds of {seconds:.1} \
             s{on}."
        ));
    }
    for section in &SECTIONS {
        say(&format!("\n{}:\n", section.title));
        section.table(points).print();
    }
    say(&format!(
        "\nFloor: append + fdatasync of blocks as large as the mean block of the appends at the\n\
         rate, right before and right after them. Ack times count from when an append was due;\n\
         `inside` is from reading to answering it, interpolated in six buckets per decade. Bars:\n\
         ack p50 at most 1.3 of that of the first size beside it, p99 at most 2 of the floor's,\n\
         page p50 inside at most 100 µs, start-up within 1 s, folding keeps up with {} entries\n\
         per second.",
        args.rate
    ));
    let Some(dir) = &args.plots else { return Ok(()) };
    fs::create_dir_all(dir)?;
    charts::draw(points, args.rate, dir)
}
