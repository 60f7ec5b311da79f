//! Roomlog beside what people would use instead: appends, a single author, followers, reading.
//!
//! ```text
//!  for each round ─► for each measurement ─► for each system: start, measure, stop
//! ```
//!
//! Enters: systems, rounds, seconds. Leaves: a table per measurement. Invariants: systems have their turns in
//! the same rounds, one at a time, with the same generator; a figure is the median of the rounds, and its
//! spread is shown; what a system refuses or loses ends the run.

mod ceiling;
mod durable_streams;
mod generator;
mod http1;
mod measure;
mod nats;
mod node;
mod pgwire;
mod plot;
mod postgres;
mod redis;
mod report;
mod roomlog;
mod s2_lite;
mod socket_io;
mod system;

use std::{io, path::PathBuf};

use clap::ValueEnum;

pub(crate) use self::ceiling::serve as serve_floor;
use self::{
    durable_streams::DurableStreams,
    measure::{Measurement, Sizes},
    node::Script,
    report::Report,
    s2_lite::S2Lite,
    socket_io::SocketIo,
    system::System,
};
use crate::args::DataDir;

/// A system that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    Roomlog,
    Redis,
    Nats,
    Postgres,
    SocketIo,
    DurableStreams,
    S2Lite,
    Ceiling,
}

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct PeersArgs {
    /// The server to measure, a release build.
    #[arg(long, default_value = "target/release/roomlog")]
    binary: PathBuf,
    #[command(flatten)]
    dir: DataDir,
    /// The directory with the servers that run on Node, after `npm ci` in it.
    #[arg(long, value_name = "DIR", default_value = "bench/peers")]
    node_peers: PathBuf,
    /// The server of s2-lite: DIR/bin/server after `cargo install s2-lite --version 0.43.4 --root DIR`.
    #[arg(long, value_name = "FILE")]
    s2: Option<PathBuf>,
    /// Systems; all by default, but s2-lite only if its server is given.
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<Peer>,
    /// Measurements; all by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Measurement>,
    /// Rounds; each measures every system once. By default 3, or 1 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Draw the first column of each table as an SVG file in this directory.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Shorter runs and smaller logs, and one round.
    #[arg(long)]
    quick: bool,
}

impl PeersArgs {
    /// The systems to measure.
    fn systems(&self) -> io::Result<Vec<Box<dyn System>>> {
        let mut peers = all_or(&self.systems);
        if self.systems.is_empty() && self.s2.is_none() {
            peers.retain(|peer| *peer != Peer::S2Lite);
        }
        peers.into_iter().map(|peer| self.system(peer)).collect()
    }

    fn system(&self, peer: Peer) -> io::Result<Box<dyn System>> {
        let script = |file| Script { dir: self.node_peers.clone(), file };
        Ok(match peer {
            Peer::Roomlog => Box::new(roomlog::Roomlog { binary: self.binary.clone() }),
            Peer::Redis => Box::new(redis::Redis),
            Peer::Nats => Box::new(nats::Nats),
            Peer::Postgres => Box::new(postgres::Postgres),
            Peer::SocketIo => Box::new(SocketIo(script("socket-io.mjs"))),
            Peer::DurableStreams => Box::new(DurableStreams(script("durable-streams.mjs"))),
            Peer::S2Lite => {
                let binary = self.s2.clone().ok_or_else(|| {
                    io::Error::other(
                        "no server of s2-lite: run cargo install s2-lite --version 0.43.4 --root DIR, \
                         and give --s2 DIR/bin/server",
                    )
                })?;
                Box::new(S2Lite { binary })
            }
            Peer::Ceiling => Box::new(ceiling::Ceiling),
        })
    }
}

/// Every value of an option that was not given.
fn all_or<T: ValueEnum + Clone>(given: &[T]) -> Vec<T> {
    if given.is_empty() { T::value_variants().to_vec() } else { given.to_vec() }
}

/// Measures and prints the tables.
pub(crate) fn run(args: &PeersArgs) -> io::Result<()> {
    let sizes = if args.quick { Sizes::QUICK } else { Sizes::FULL };
    let systems = args.systems()?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let mut report = Report::default();
    for round in 1..=rounds {
        for measurement in all_or(&args.only) {
            eprintln!("round {round} of {rounds}: {measurement:?}");
            if let Some(floor) = measurement.floor(&args.dir, sizes)? {
                report.add(measurement, "append + fdatasync", "", floor);
            }
            for system in &systems {
                let dir = args.dir.make()?;
                measure::wait_until_quiet()?;
                let figures = measurement.measure(&**system, dir.path(), sizes)?;
                eprintln!("  {:<16} {}", system.name(), report::line(&figures));
                report.add(measurement, system.name(), system.ack(), figures);
            }
        }
    }
    report.print(sizes, args.plots.as_deref());
    args.plots.as_ref().map_or(Ok(()), |dir| report.draw(dir))
}
