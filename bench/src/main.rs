//! `roomlog-bench`: what the server costs, beside what it cannot cost less, in one run.
//!
//! Enters: a subcommand. Leaves: a table on standard output, progress on standard error. Invariant:
//! every benchmark measures its floor in the same run, talks to loopback only, is bounded in count
//! and time, and stops the processes that it starts.
#![allow(clippy::print_stderr, reason = "a tool that ends with its terminal")]

mod acks;
mod at_rate;
mod authors;
mod cluster;
mod disk;
mod fan;
mod fanout;
mod fold;
mod growth;
mod idle;
mod journal;
mod layouts;
mod load;
mod lone;
mod page;
mod places;
mod plot;
mod process;
mod receivers;
mod segments;
mod spike;
mod spread;
mod supply;
mod table;
mod written;
mod ws;

use std::{fmt::Write, io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tempfile::TempDir;
use ulid::Ulid;

/// Benchmarks of Roomlog: the floor and our server, measured in one run.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Server CPU per delivered entry, one room with many followers, against raw TCP.
    Fanout(fanout::Args),
    /// Ways to speak WebSocket, in servers that do nothing but fan-out, against raw TCP.
    Spike(spike::Args),
    /// Server memory of idle connections.
    Idle(idle::Args),
    /// Appends from many connections, against append + fdatasync of blocks as large.
    Load(load::Args),
    /// Ack time of one author who waits for each ack, against one fdatasync.
    Lone(lone::Args),
    /// The journal alone, against append + fdatasync.
    Journal(journal::Args),
    /// The log without sockets at a rate, while the archive folds, against append + fdatasync.
    Fold(fold::Args),
    /// The server at a rate, while the archive folds, against append + fdatasync behind sockets.
    Acks(acks::Args),
    /// Layouts of the archive against each other, as they grow.
    Layouts(layouts::Args),
    /// A page of 50 over HTTP, beside nginx that serves the same bytes from a file.
    Page(page::Args),
    /// A log that grows: ack times, pages, memory, start-up at each size.
    Growth(growth::Args),
    /// Three nodes on three NATS servers, beside a bare client of the same servers.
    Cluster(cluster::Args),
    /// One of the fan-out servers that the others start.
    #[command(hide = true)]
    Peer {
        /// Which.
        kind: spike::Kind,
    },
}

/// Where files are written.
#[derive(Debug, clap::Args)]
struct DataDir {
    /// Files are written to a new directory in here, which is removed at the end. It decides which
    /// file system is measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

impl DataDir {
    fn make(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix("bench-").tempdir_in(&self.dir)
    }
}

/// Our server.
#[derive(Debug, clap::Args)]
struct ServerArgs {
    /// The server's release build.
    #[arg(long, default_value = "target/release/roomlog")]
    binary: PathBuf,
    #[command(flatten)]
    dir: DataDir,
}

/// An `append` with an id of its own; `body` needs no escapes.
fn append_frame(room: &str, body: &str, req: Option<usize>) -> String {
    let id = Ulid::generate();
    let mut frame = format!(r#"{{"type":"append","room":"{room}","id":"{id}","body":"{body}""#);
    if let Some(req) = req {
        // Writing to a string cannot fail.
        let _ = write!(frame, r#","req":{req}"#);
    }
    frame.push('}');
    frame
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Fanout(args) => fanout::run(&args),
        Command::Spike(args) => spike::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Lone(args) => lone::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Layouts(args) => layouts::run(&args),
        Command::Page(args) => page::run(&args),
        Command::Fold(args) => fold::run(&args),
        Command::Acks(args) => acks::run(&args),
        Command::Growth(args) => growth::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Peer { kind } => spike::serve(kind),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roomlog-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomlog_protocol::{ClientFrame, Limits, client};

    #[test]
    fn the_frames_that_are_sent_are_appends() {
        let frame = append_frame("load-7", &receivers::body(200), Some(3));
        let parsed = client::parse(&frame, &Limits::default()).expect("an append");
        let ClientFrame::Append(append) = parsed else { panic!("not an append: {frame}") };
        assert_eq!((append.room.as_str(), append.body.len(), append.req), ("load-7", 200, Some(3)));
    }
}
