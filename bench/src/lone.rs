//! One author on an idle server: how long an ack takes, in fdatasyncs.

use std::{io, time::Instant};

use crate::{
    ServerArgs,
    disk::Bare,
    process::Server,
    receivers::body,
    spike::BODY,
    table::{Table, median, quantile, say},
    ws::Socket,
};

/// Bytes that the floor appends: what one entry takes in a journal, about.
const BLOCK: usize = 400;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Rounds; each measures the floor and the server.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Appends, one at a time, in each round.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    appends: u32,
}

/// Times of all rounds, in µs.
#[derive(Default)]
struct Times {
    all: Vec<f64>,
    /// The p50 of each round.
    p50: Vec<f64>,
}

impl Times {
    fn round(&mut self, times: &[f64]) {
        self.p50.push(median(times));
        self.all.extend_from_slice(times);
    }

    fn row(&self, name: &str, floor: &Self) -> Vec<String> {
        let ratios: Vec<f64> = self.p50.iter().zip(&floor.p50).map(|(a, b)| a / b).collect();
        vec![
            name.into(),
            format!("{:.0}", median(&self.p50)),
            format!("{:.0}", quantile(&self.all, 0.99)),
            format!("{:.2}", median(&ratios)),
        ]
    }
}

/// Measures and prints the table.
///
/// # Errors
/// When the server or the disk fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let dir = args.server.dir.make()?;
    let server = Server::roomlog(&args.server.binary, dir.path())?;
    let mut author = Socket::login(server.addr, "ada")?;
    let mut bare = Bare::new(dir.path())?;
    let body = body(BODY);
    let (mut floor, mut ours) = (Times::default(), Times::default());
    for _ in 0..args.rounds {
        let sync = |_| Ok(bare.append(BLOCK)?.as_secs_f64() * 1e6);
        floor.round(&(0..args.appends).map(sync).collect::<io::Result<Vec<_>>>()?);
        let ack = |_| {
            let frame = crate::append_frame("lone", &body, None);
            let start = Instant::now();
            author.send(&[frame])?;
            author.expect("appended")?;
            Ok(start.elapsed().as_secs_f64() * 1e6)
        };
        ours.round(&(0..args.appends).map(ack).collect::<io::Result<Vec<_>>>()?);
    }
    let mut table = Table::new(&["one at a time", "p50, µs", "p99, µs", "p50 of floor"]);
    table.row(floor.row("append + fdatasync, 400 bytes", &floor));
    table.row(ours.row("append → appended", &floor));
    table.print();
    say(&format!(
        "\n{} rounds of {}; p50 is the median of the rounds'. Bar: p50 at most 2 fdatasyncs.",
        args.rounds, args.appends
    ));
    drop(author);
    server.stop().map(drop)
}
