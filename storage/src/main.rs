//! `roomlog-storage`: the real journal and archive on a disk that fails, and one that loses what was not synced.
//! `script/storage` builds it.
//!
//! ```text
//!  seed ──► appends ──► node ──► journal, archive (SQLite) ──► the C library's calls ──► disk ──► files
//!                        └── logs ──► compared with what was acked          faults, power cuts ──┘
//! ```
//!
//! Enters: seeds. Leaves: a line for each that broke something, and sums. Invariant: the engines are those of the
//! server, unchanged; only what the C library answers them is ours.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod appends;
mod calls;
mod disk;
mod run;

use std::{collections::BTreeMap, io, process::ExitCode};

use clap::Parser;

/// Run a node on a disk that fails, or loses what was not synced; start it again, and compare its logs with what was
/// acked.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many seeds
    #[arg(value_name = "SEEDS", default_value_t = 1)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Print a line for every seed
    #[arg(long)]
    all: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match seeds(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("roomlog-storage: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was broken.
async fn seeds(args: &Args) -> io::Result<bool> {
    let (mut broken, mut faults, mut acked) = (0, BTreeMap::<String, u64>::new(), 0);
    let mut backups = 0;
    for seed in args.from..args.from + args.seeds {
        let run = run::run(seed).await?;
        let line = run.line();
        if args.all || !run.broken.is_empty() {
            println!("{line}");
        }
        if !run.broken.is_empty() {
            // Threads take turns as they like, so it may go well the next time.
            println!("  again: script/storage --from {seed}");
            broken += 1;
        }
        acked += line["acked"].as_u64().unwrap_or(0);
        backups += u64::from(line["backup"] == true);
        if line["hits"] != 0 {
            *faults.entry(line["fault"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    println!(
        "{} seeds, {acked} appends acked and compared, {backups} backups started; seeds in which a fault came: \
         {faults:?}; {broken} broken",
        args.seeds
    );
    Ok(broken == 0)
}
