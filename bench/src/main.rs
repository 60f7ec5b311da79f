//! `roomlog-bench`: what the server costs, compared in one run with a floor that nothing can beat.
//!
//! Enters: a subcommand. Leaves: a table on standard output, progress on standard error. Invariant:
//! every benchmark measures its floor in the same run, uses loopback only, is bounded in count and
//! time, and stops the processes that it starts.
#![allow(clippy::print_stderr, reason = "a command-line tool that reports progress")]

mod acks;
mod args;
mod authors;
mod cluster;
mod disk;
mod fanout;
mod flood;
mod frame;
mod growth;
mod http;
mod idle;
mod journal;
mod load;
mod lone;
mod metrics;
mod nonblocking;
mod page;
mod peer;
mod peers;
mod process;
mod receivers;
mod spread;
mod supply;
mod table;
mod times;
mod ws;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Benchmarks of Roomlog: the server and a floor, measured in one run.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Server CPU per delivered entry, one room with many followers; floor: raw TCP.
    Fanout(fanout::FanoutArgs),
    /// Ack time of a single writer beside hostile connections; floor: the same alone.
    Flood(flood::FloodArgs),
    /// Server memory per idle connection.
    Idle(idle::IdleArgs),
    /// Appends from many connections; floor: append + fdatasync of blocks of the same size.
    Load(load::LoadArgs),
    /// Ack time of a single writer who waits for each ack; floor: one fdatasync.
    Lone(lone::LoneArgs),
    /// The journal engine alone; floor: append + fdatasync.
    Journal(journal::JournalArgs),
    /// Ack times at a rate while the archive folds; floor: append + fdatasync behind sockets.
    Acks(acks::AcksArgs),
    /// A page of 50 over HTTP; floor: nginx serving the same bytes from a file.
    Page(page::PageArgs),
    /// A growing log: ack times, pages, memory, start-up at each size.
    Growth(growth::GrowthArgs),
    /// Three nodes on three NATS servers; floor: bare clients of the same servers.
    Cluster(cluster::ClusterArgs),
    /// Roomlog beside what people would use instead, in turns.
    Peers(peers::PeersArgs),
    /// The floor of `fanout`, which starts it.
    #[command(hide = true)]
    FanoutFloor,
    /// The floor of appends in `peers`, which starts it.
    #[command(hide = true)]
    CeilingFloor { addr: SocketAddr, dir: PathBuf },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Benchmark::Fanout(args) => fanout::run(&args),
        Benchmark::Flood(args) => flood::run(&args),
        Benchmark::Idle(args) => idle::run(&args),
        Benchmark::Load(args) => load::run(&args),
        Benchmark::Lone(args) => lone::run(&args),
        Benchmark::Journal(args) => journal::run(&args),
        Benchmark::Acks(args) => acks::run(&args),
        Benchmark::Page(args) => page::run(&args),
        Benchmark::Growth(args) => growth::run(&args),
        Benchmark::Cluster(args) => cluster::run(&args),
        Benchmark::Peers(args) => peers::run(&args),
        Benchmark::FanoutFloor => fanout::serve_floor(),
        Benchmark::CeilingFloor { addr, dir } => peers::serve_floor(addr, &dir),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roomlog-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
