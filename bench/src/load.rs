//! End to end under load: appends over WebSocket, beside bare fdatasyncs of blocks as large.
//!
//! Enters: how many connections, each with how many appends in flight, over how many rooms, for how
//! long. Leaves: a table. Invariant: an append that is answered `busy` is sent again with its id
//! after the time that the server asks for, and its ack time counts from the first sending.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    ServerArgs,
    authors::{Authors, Plan, Tally},
    disk::{Bare, ENTRY},
    process::{Server, cpu_seconds},
    table::{Table, quantile, say},
};

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    plan: Plan,
    /// Rooms; several numbers are several runs.
    #[arg(long, value_delimiter = ',', default_value = "1,1000",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: Vec<u32>,
    /// Seconds of a run.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Seconds of the floor after each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    floor_seconds: u64,
}

/// What the server says of itself when it ends.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Stats {
    pub(crate) blocks: f64,
    pub(crate) entries: f64,
    busy: f64,
    fold_lag_max: f64,
}

/// Measures and prints the table.
///
/// # Errors
/// When the server or the disk fails, or an append is refused for good.
pub(crate) fn run(args: &Args) -> io::Result<()> {
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
    say(&format!("\nFloor: append + fdatasync, {ENTRY} bytes for each entry of the mean block."));
    say("Bar: at least 0.5 of the floor's blocks a second.");
    Ok(())
}

/// One run, as a row.
fn one(args: &Args, rooms: u32) -> io::Result<Vec<String>> {
    let dir = args.server.dir.make()?;
    let server = Server::roomlog(&args.server.binary, dir.path())?;
    let mut authors = Authors::connect(server.addr, &args.plan, rooms)?;
    let cpu = cpu_seconds(server.pid())?;
    let start = Instant::now();
    let tally = authors.run(Duration::from_secs(args.seconds))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(server.pid())? - cpu;
    drop(authors);
    let lines = server.stop()?;
    let stats = lines.iter().find_map(|line| stats(line)).ok_or_else(|| {
        io::Error::other(format!("the server ended without its stats line: {lines:?}"))
    })?;
    let block = stats.entries / stats.blocks.max(1.0);
    let bytes = (block * ENTRY as f64) as usize;
    let floor = Bare::new(dir.path())?.rate(bytes, Duration::from_secs(args.floor_seconds))?;
    Ok(row(rooms, seconds, cpu, &tally, &stats, floor))
}

fn row(
    rooms: u32,
    seconds: f64,
    cpu: f64,
    tally: &Tally,
    stats: &Stats,
    floor: f64,
) -> Vec<String> {
    let entries = tally.ack_us.len() as f64;
    let ms = |q| format!("{:.2}", quantile(&tally.ack_us, q) / 1000.0);
    let blocks = stats.blocks / seconds;
    vec![
        rooms.to_string(),
        format!("{:.0}", entries / seconds),
        ms(0.5),
        ms(0.99),
        format!("{:.1}", cpu * 1e6 / entries),
        format!("{} ({})", tally.busy, stats.busy),
        format!("{blocks:.0}"),
        format!("{:.1}", stats.entries / stats.blocks.max(1.0)),
        format!("{floor:.0}"),
        format!("{:.2}", blocks / floor),
        format!("{:.0}", stats.fold_lag_max),
    ]
}

/// Reads `roomlog: stats blocks=N entries=N busy=N fold_lag_max=N`.
pub(crate) fn stats(line: &str) -> Option<Stats> {
    let (_, fields) = line.split_once("stats ")?;
    let field = |name: &str| {
        let of = |field: &str| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
        fields.split_whitespace().find_map(of)
    };
    Some(Stats {
        blocks: field("blocks")?,
        entries: field("entries")?,
        busy: field("busy")?,
        fold_lag_max: field("fold_lag_max")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_the_server_are_read() {
        let line = "roomlog: stats blocks=4 entries=32 busy=1 fold_lag_max=9";
        let read = Stats { blocks: 4.0, entries: 32.0, busy: 1.0, fold_lag_max: 9.0 };
        assert_eq!(stats(line), Some(read));
        assert_eq!(stats("roomlog: stats blocks=4 entries=32"), None);
    }
}
