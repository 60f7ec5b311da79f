//! `roomlog-chaos`: a run of faults, as long as it is wanted. `script/chaos` builds what it needs.
#![allow(clippy::print_stderr, reason = "a tool that ends with its terminal")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use roomlog_chaos::{Fault, Plan, run};

/// Three NATS servers and some nodes on loopback, writers, and one fault after the other; then every node's
/// log and every frame are held against the promises.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The `roomlog` to run.
    #[arg(long, default_value = "target/release/roomlog", value_name = "FILE")]
    roomlog: PathBuf,
    /// Faults, in this order [default: each once, in an order of its own each round]
    #[arg(value_name = "FAULT")]
    faults: Vec<Fault>,
    /// How many rounds.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// What the order of faults comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// NATS servers ack before they fsync, and the nodes are told that they do: what that loses is found.
    #[arg(long)]
    unsynced: bool,
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// How many writers.
    #[arg(long, default_value_t = 9)]
    writers: usize,
    /// The time between two appends of a writer, in ms.
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
                eprintln!("chaos: the run could not be finished: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
