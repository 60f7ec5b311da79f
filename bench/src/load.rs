//! Load over WebSocket, compared with append + fdatasync of blocks of the same size.
//!
//! Enters: connections, appends in flight on each, rooms, seconds. Leaves: a table.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    args::ServerArgs,
    authors::{Authors, Plan},
    disk::{ENTRY, FLOOR, SyncedFile},
    process::cpu_seconds,
    table::{Table, say},
};

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    plan: Plan,
    /// Rooms; each number of a list is a run.
    #[arg(long, value_delimiter = ',', default_value = "1,1000",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: Vec<u32>,
    /// Seconds per run.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Seconds of the floor after each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    floor_seconds: u64,
}

/// Measures and prints the table.
pub(crate) fn run(args: &LoadArgs) -> io::Result<()> {
    let mut table = Table::new(&[
        "rooms",
        "entries/s",
        "ack p50, ms",
        "ack p99, ms",
        "CPU µs an entry",
        "busy",
        "blocks/s",
        "entries a block",
        "floor blocks/s",
        "of floor",
        "fold lag max",
    ]);
    for &rooms in &args.rooms {
        eprintln!("{rooms} rooms, {} s", args.seconds);
        table.row(one(args, rooms)?);
    }
    say(&format!("{}, bodies of {} bytes, {} s:\n", args.plan, args.plan.body, args.seconds));
    table.print();
    say(&format!("\nFloor: {FLOOR}, {ENTRY} bytes for each entry of the mean block."));
    say("`busy`: answers that the authors received, and in brackets the server's own count.");
    say("Blocks hold what a turn of the server reads: fewer per second are not slower.");
    Ok(())
}

/// One run, as a row.
fn one(args: &LoadArgs, rooms: u32) -> io::Result<Vec<String>> {
    let dir = args.server.dir.make()?;
    let server = args.server.start(dir.path())?;
    let mut authors = Authors::connect(server.peer(), &args.plan, rooms)?;
    let cpu = cpu_seconds(server.pid())?;
    let start = Instant::now();
    let tally = authors.run(Duration::from_secs(args.seconds))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(server.pid())? - cpu;
    drop(authors);
    let stats = server.stop_with_stats()?;
    let bytes = (stats.entries_per_block() * ENTRY as f64) as usize;
    let time = Duration::from_secs(args.floor_seconds);
    let start = Instant::now();
    let floor = SyncedFile::new(dir.path())?.run(bytes, time)?.len() as f64;
    let floor = floor / start.elapsed().as_secs_f64();
    let (acked, blocks) = (tally.acked as f64, stats.blocks / seconds);
    Ok(vec![
        rooms.to_string(),
        format!("{:.0}", acked / seconds),
        format!("{:.2}", tally.ack.ms(0.5)),
        format!("{:.2}", tally.ack.ms(0.99)),
        format!("{:.1}", cpu * 1e6 / acked),
        format!("{} ({})", tally.busy, stats.busy),
        format!("{blocks:.0}"),
        format!("{:.1}", stats.entries_per_block()),
        format!("{floor:.0}"),
        format!("{:.2}", blocks / floor),
        format!("{:.0}", stats.fold_lag_max),
    ])
}
