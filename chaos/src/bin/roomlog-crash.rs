//! `roomlog-crash`: kills a server, or flips bits of its files, and checks what is left. `script/crash` builds
//! what it needs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use roomlog_chaos::{
    crash::{CrashPlan, Life, run},
    flips,
};
use serde_json::Value;

/// How many crashes a server lives through before all that was written is checked.
const CRASHES: u64 = 20;

/// Kill a server on loopback under load, verify its directory after each crash, and check every frame and
/// its log at the end of each 20 crashes.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many crashes, or flips
    #[arg(value_name = "N")]
    count: u64,
    /// Cut the power of the server's disk instead, which drops what was not fsynced; needs root
    #[arg(long, conflicts_with = "flips")]
    power: bool,
    /// Flip a bit of a random file of a stopped server instead
    #[arg(long)]
    flips: bool,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write a line after each 20 crashes to this file; the lines that it has count, so that a run can be
    /// resumed
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// The `roomlog` executable
    #[arg(long, default_value = "target/release/roomlog", value_name = "FILE")]
    roomlog: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = if args.flips { flip(&args).await } else { crash(&args).await };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("roomlog-crash: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was broken.
async fn crash(args: &Args) -> io::Result<bool> {
    let (mut done, mut seed) = (0, args.seed);
    if let Some(lines) = args.lines.as_ref().filter(|lines| lines.exists()) {
        (done, seed) = resumed(lines, seed)?;
        eprintln!("{done} crashes were done before");
    }
    while done < args.count {
        let crashes = CRASHES.min(args.count - done);
        let plan = CrashPlan { binary: args.roomlog.clone(), seed, crashes, power: args.power };
        let life = run(&plan).await?;
        println!("{}", life.line());
        if let Some(lines) = &args.lines {
            let mut lines = OpenOptions::new().create(true).append(true).open(lines)?;
            writeln!(lines, "{}", life.line())?;
        }
        if !life.broken.is_empty() {
            return keep(&life).map(|()| false);
        }
        (done, seed) = (done + crashes, seed + 1);
    }
    Ok(true)
}

/// The crashes that the lines of a file count, and the seed after theirs.
fn resumed(lines: &Path, first: u64) -> io::Result<(u64, u64)> {
    let (mut done, mut next) = (0, first);
    for line in BufReader::new(File::open(lines)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        done += line["crashes"].as_u64().unwrap_or(0);
        next = next.max(line["seed"].as_u64().unwrap_or(0) + 1);
    }
    Ok((done, next))
}

/// Writes what `roomlog check` reads.
fn keep(life: &Life) -> io::Result<()> {
    let name = format!("crash-{}.txt", life.seed);
    life.history.write(&mut io::BufWriter::new(File::create(&name)?))?;
    eprintln!("its frames are in {name}, for `roomlog check`");
    Ok(())
}

/// Whether no changed entry was served.
async fn flip(args: &Args) -> io::Result<bool> {
    let flips = flips::run(&args.roomlog, args.seed, args.count).await?;
    let flips::Flips { found, harmless, served } = flips;
    println!("{found} found, {harmless} change nothing that is served, {} served", served.len());
    for served in &served {
        println!("  {served}");
    }
    Ok(served.is_empty())
}
