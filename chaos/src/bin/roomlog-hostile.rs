//! `roomlog-hostile`: what hostile clients do to a server. `script/hostile` builds what it needs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use roomlog_chaos::hostile::{Attack, Hostility, TABLE, run};

/// Attack a server on loopback in one way after the other, and measure an honest author beside that.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The `roomlog` executable
    #[arg(long, default_value = "target/release/roomlog", value_name = "FILE")]
    roomlog: PathBuf,
    /// Attacks, in this order [default: each once]
    #[arg(value_name = "ATTACK")]
    attacks: Vec<Attack>,
    /// Number of attackers at a time
    #[arg(long, default_value_t = 200)]
    attackers: usize,
    /// How long the author is measured beside each attack, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Make each attack on another server of this machine too, before: what is left of the harm then is not
    /// the server's
    #[arg(long)]
    elsewhere: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let all = || Attack::value_variants().to_vec();
    let plan = Hostility {
        binary: args.roomlog,
        attacks: if args.attacks.is_empty() { all() } else { args.attacks },
        attackers: args.attackers,
        time: Duration::from_secs(args.seconds),
        elsewhere: args.elsewhere,
    };
    println!("{TABLE}");
    match run(&plan, |harm| println!("{harm}")).await {
        Ok(harms) if harms.iter().all(|harm| harm.refused.is_empty()) => ExitCode::SUCCESS,
        Ok(harms) => {
            for harm in harms.iter().filter(|harm| !harm.refused.is_empty()) {
                let codes = harm.refused.join(" ");
                eprintln!("the author was refused beside {:?}: {codes}", harm.attack);
            }
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("roomlog-hostile: {why}");
            ExitCode::FAILURE
        }
    }
}
