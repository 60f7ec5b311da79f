//! `roomlog-chaos`: runs of faults. `script/chaos` builds what it needs.
#![allow(clippy::print_stderr, reason = "a command-line tool")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use roomlog_chaos::{Fault, Plan, run};

/// Run a cluster on loopback under load, inject one fault after the other, then check every node's
/// log and every frame against the guarantees of the protocol.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The `roomlog` executable
    #[arg(long, default_value = "target/release/roomlog", value_name = "FILE")]
    roomlog: PathBuf,
    /// Faults to inject, in this order [default: each once that needs no root, shuffled each round]
    #[arg(value_name = "FAULT")]
    faults: Vec<Fault>,
    /// Number of rounds
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Seed of the shuffle
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let NATS servers ack before they fsync, and tell the nodes otherwise: shows what the checker
    /// finds
    #[arg(long)]
    unsynced: bool,
    /// Number of nodes
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Number of writers
    #[arg(long, default_value_t = 9)]
    writers: usize,
    /// Time between two appends of a writer, in ms
    #[arg(long, default_value_t = 20)]
    pace_ms: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    for round in 0..args.rounds {
        let mut faults = args.faults.clone();
        if faults.is_empty() {
            faults = Fault::ALL.to_vec();
            faults.shuffle(&mut StdRng::seed_from_u64(args.seed + round));
        }
        let mut plan = Plan::new(&args.roomlog, &faults);
        (plan.nodes, plan.writers) = (args.nodes, args.writers);
        plan.pace = Duration::from_millis(args.pace_ms);
        (plan.synced, plan.talks) = (!args.unsynced, true);
        eprintln!("chaos: round {round}, seed {}", args.seed + round);
        match run(&plan).await {
            Ok(outcome) => {
                eprintln!("{outcome}");
                if !outcome.is_good() {
                    return ExitCode::FAILURE;
                }
            }
            Err(why) => {
                eprintln!("chaos: the run failed: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
