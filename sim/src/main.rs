//! `roomlog-sim`: nodes and clients in a simulation. `script/sim` builds it.
//!
//! ```text
//!  seed ──► one thread: clients ──► network ──► gateways and nodes ──► journal
//!                          └── every frame ──► checker ◄── every node's log, at the end
//! ```
//!
//! The gateways and nodes are those of the server, with all their tasks; network, journal, archive, clock and
//! random bytes are simulated. A seed gives all faults, delays and choices, so it gives one history, bit for
//! bit. Each seed has a process of its own: what a run leaves in one would change the next.
//!
//! Enters: seeds. Leaves: a line for each, and what was broken. Invariant: nothing that is simulated knows of
//! real time.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod clock;
mod faults;
mod flooder;
mod host;
mod journal;
mod network;
mod node;
mod pipe;
mod tokens;
mod totals;
mod world;
mod writer;

use std::{
    fs::File,
    io::{self, BufWriter},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;

/// Simulate clusters with clients and faults, and check every frame and every node's log. Prints how to
/// repeat a seed that breaks a promise.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many seeds
    #[arg(value_name = "SEEDS", default_value_t = 1)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run only this seed, in this process
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Write the history of that seed to this file, for `roomlog check`
    #[arg(long, requires = "seed", value_name = "FILE")]
    history: Option<PathBuf>,
    /// Simulated seconds with faults, before all is mended
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_good = match args.seed {
        Some(seed) => run_one(seed, &args),
        None => totals::run(args.from..args.from + args.seeds, args.seconds),
    };
    match is_good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("roomlog-sim: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a seed and prints its line; whether nothing was broken.
fn run_one(seed: u64, args: &Args) -> io::Result<bool> {
    let outcome = world::run(seed, args.seconds * 1_000)?;
    println!("{}", outcome.line());
    if let Some(file) = &args.history {
        outcome.history.write(&mut BufWriter::new(File::create(file)?))?;
    }
    Ok(outcome.broken.is_empty())
}
