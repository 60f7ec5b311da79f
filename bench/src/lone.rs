//! A single writer on an idle server: how long an ack takes, compared with an fdatasync.

use std::io;

use crate::{
    args::ServerArgs,
    disk::SyncedFile,
    frame::{BODY, body},
    table::{Table, say},
    times::{Rounds, Times},
    ws::Socket,
};

/// Bytes that the floor appends: about what one entry takes in a journal.
const BLOCK: usize = 400;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct LoneArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Rounds; each measures the floor and the server.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Appends, one at a time, in each round.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    appends: u32,
}

/// Measures and prints the table.
pub(crate) fn run(args: &LoneArgs) -> io::Result<()> {
    let dir = args.server.dir.make()?;
    let server = args.server.start(dir.path())?;
    let mut author = Socket::login(server.peer(), "ada")?;
    let mut file = SyncedFile::new(dir.path())?;
    let body = body(BODY);
    let (mut floor, mut ours) = (Rounds::default(), Rounds::default());
    for _ in 0..args.rounds {
        let syncs = (0..args.appends).map(|_| file.append(BLOCK));
        floor.push(&syncs.collect::<io::Result<Times>>()?);
        let acks = (0..args.appends).map(|_| author.append("lone", &body));
        ours.push(&acks.collect::<io::Result<Times>>()?);
    }
    let mut table = Table::new(&["one at a time", "p50, µs", "p99, µs", "p50 of floor"]);
    for (name, rounds) in [("append + fdatasync, 400 bytes", &floor), ("append → appended", &ours)]
    {
        table.row(vec![
            name.into(),
            format!("{:.0}", rounds.p50_us()),
            format!("{:.0}", rounds.p99_us()),
            format!("{:.2}", rounds.p50_ratio(&floor)),
        ]);
    }
    table.print();
    say(&format!(
        "\n{} rounds of {}; p50 is the median of the rounds' p50s. Bar: p50 at most 2 fdatasyncs.",
        args.rounds, args.appends
    ));
    drop(author);
    server.stop().map(drop)
}
