//! A log that grows: what a server costs at each size, end to end.
//!
//! ```text
//!  load to the next size ─► floor ─► paced appends ─► floor ─► a lone author ─► pages ─► start again
//! ```
//!
//! Enters: sizes. Leaves: a table, and the same as CSV. Invariant: all of it on one directory, which is
//! removed at the end; the floor of the paced appends is measured right before and after them.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    ServerArgs,
    authors::{Authors, Plan, Until},
    disk::{Bare, ENTRY},
    page::Http,
    process::{Server, memory},
    receivers::body,
    spread::{Rooms, Spread},
    table::{Table, quantile, say},
    ws::Socket,
};

/// Seconds of the floor, before and after the paced appends.
const FLOOR: Duration = Duration::from_secs(4);

/// Appends of the lone author, and pages that are read.
const SAMPLES: u32 = 1_000;

const COLUMNS: [&str; 18] = [
    "entries",
    "entries/s on the way",
    "paced ack p50, ms",
    "paced ack p99, ms",
    "floor p99, ms",
    "p99 of floor",
    "fold lag after",
    "busy",
    "lone p50, µs",
    "lone p99, µs",
    "page p50, µs (wire)",
    "page p99, µs (wire)",
    "page mean, µs (inside)",
    "RSS, MiB",
    "start-up, ms",
    "archive bytes an entry",
    "journal, MiB",
    "paced/s",
];

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Sizes, in entries, growing.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000,10000000")]
    at: Vec<u64>,
    /// Rooms.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// How entries are spread over rooms.
    #[arg(long, value_enum, default_value_t = Spread::Zipf)]
    spread: Spread,
    /// Paced appends a second.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds of them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    paced: u64,
    /// Also written there, as CSV.
    #[arg(long)]
    csv: Option<PathBuf>,
}

/// Measures and prints the table.
///
/// # Errors
/// When the server or the disk fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let dir = args.server.dir.make()?;
    let data = dir.path().join("data");
    let mut server = Server::roomlog(&args.server.binary, &data)?;
    let mut table = Table::new(&COLUMNS);
    let mut csv = COLUMNS.join(";") + "\n";
    let mut there = 0;
    for at in &args.at {
        let row;
        (server, row) = one(args, server, dir.path(), &data, (&mut there, *at))?;
        csv += &(row.join(";") + "\n");
        table.row(row);
    }
    server.stop()?;
    say(&format!(
        "{} rooms, {}, bodies of 200 bytes; paced: {} appends a second for {} s:\n",
        args.rooms,
        args.spread.name(),
        args.rate,
        args.paced
    ));
    table.print();
    say("\nFloor: append + fdatasync of blocks as large as the mean block of the paced appends.");
    say(
        "Bars: ack p50 within 1.3 of that at the first size, p99 at most 2 of the floor's, a page within 100 µs inside, start-up within 1 s.",
    );
    args.csv.as_ref().map_or(Ok(()), |file| fs::write(file, csv))
}

/// Brings the log from what is there to a size and measures there.
fn one(
    args: &Args,
    server: Server,
    dir: &Path,
    data: &Path,
    (there, at): (&mut u64, u64),
) -> io::Result<(Server, Vec<String>)> {
    // A connection that is idle for ten seconds is closed: each look at the server is a new one.
    let addr = server.addr;
    let mut authors = Authors::connect(server.addr, &Plan::new(64, 16, 200), args.rooms)?;
    authors.spread(Rooms::new(args.spread, args.rooms));
    eprintln!("{at} entries: loading from {there}");
    let (start, load) = (Instant::now(), at.saturating_sub(*there));
    authors.run(Until::Entries(load))?;
    let rate = load as f64 / start.elapsed().as_secs_f64();
    settle(addr)?;

    eprintln!("{at} entries: paced");
    let mut bare = Bare::new(dir)?;
    let block = args.rate as usize / 3_000 * ENTRY;
    let mut floor = floor_p99(&mut bare, block)?;
    let before = Counts::of(addr)?;
    let tally = authors.run(Until::Paced(args.rate, Duration::from_secs(args.paced)))?;
    let after = Counts::of(addr)?;
    let block = (after.entries - before.entries) / (after.blocks - before.blocks).max(1.0);
    floor = f64::midpoint(floor, floor_p99(&mut bare, (block * ENTRY as f64) as usize)?);
    drop(authors);
    settle(addr)?;

    eprintln!("{at} entries: a lone author, pages, start-up");
    let lone = lone(&server)?;
    let (wire, inside) = pages(&mut Http::connect(addr)?)?;
    let rss = memory(server.pid())?.rss as f64 / f64::from(1 << 20);
    *there += load + (tally.ack_us.len() + lone.len()) as u64;
    server.stop()?;
    let size = |file: &str| fs::metadata(data.join(file)).map_or(0.0, |it| it.len() as f64);
    let (archive, journal) = (size("archive.db"), size("journal.db"));
    let start = Instant::now();
    let server = Server::roomlog(&args.server.binary, data)?;
    let start_up = start.elapsed();
    let ms = |q| quantile(&tally.ack_us, q) / 1_000.0;
    let row = [
        format!("{at}"),
        format!("{rate:.0}"),
        format!("{:.2}", ms(0.5)),
        format!("{:.2}", ms(0.99)),
        format!("{:.2}", floor / 1_000.0),
        format!("{:.2}", ms(0.99) * 1_000.0 / floor),
        format!("{:.0}", after.lag),
        format!("{:.0}", after.busy - before.busy),
        format!("{:.0}", quantile(&lone, 0.5)),
        format!("{:.0}", quantile(&lone, 0.99)),
        format!("{:.0}", quantile(&wire, 0.5)),
        format!("{:.0}", quantile(&wire, 0.99)),
        format!("{inside:.0}"),
        format!("{rss:.0}"),
        format!("{}", start_up.as_millis()),
        format!("{:.0}", archive / *there as f64),
        format!("{:.0}", journal / f64::from(1 << 20)),
        format!("{:.0}", tally.ack_us.len() as f64 / args.paced as f64),
    ];
    Ok((server, row.into()))
}

/// What is counted before and after.
struct Counts {
    entries: f64,
    blocks: f64,
    busy: f64,
    lag: f64,
}

impl Counts {
    fn of(addr: SocketAddr) -> io::Result<Self> {
        let http = &mut Http::connect(addr)?;
        Ok(Self {
            entries: metric(http, "roomlog_entries_total")?,
            blocks: metric(http, "roomlog_blocks_total")?,
            busy: metric(http, "roomlog_appends_total{outcome=\"busy\"}")?,
            lag: metric(http, "roomlog_fold_lag_entries")?,
        })
    }
}

/// One value of `/metrics`.
fn metric(http: &mut Http, name: &str) -> io::Result<f64> {
    let text = String::from_utf8_lossy(http.get("/metrics")?).into_owned();
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| io::Error::other(format!("/metrics has no {name}")))
}

/// Waits until the archive has caught up.
fn settle(addr: SocketAddr) -> io::Result<()> {
    let http = &mut Http::connect(addr)?;
    let begun = Instant::now();
    while metric(http, "roomlog_fold_lag_entries")? > 0.0 {
        if begun.elapsed() > Duration::from_secs(120) {
            return Err(io::Error::other("the archive does not catch up"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// µs.
fn floor_p99(bare: &mut Bare, bytes: usize) -> io::Result<f64> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < FLOOR {
        times.push(bare.append(bytes)?.as_secs_f64() * 1e6);
    }
    Ok(quantile(&times, 0.99))
}

/// Ack times, µs.
fn lone(server: &Server) -> io::Result<Vec<f64>> {
    let (mut author, body) = (Socket::login(server.addr, "lone")?, body(200));
    let ack = |_| {
        let frame = crate::append_frame("load-1", &body, None);
        let start = Instant::now();
        author.send(&[frame])?;
        author.expect("appended")?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    (0..SAMPLES).map(ack).collect()
}

/// Pages of 50 at random places: µs on the wire, and their mean inside the server.
fn pages(http: &mut Http) -> io::Result<(Vec<f64>, f64)> {
    let latest = |http: &mut Http, room: u32| -> io::Result<u64> {
        let head = http.get(&format!("/v1/rooms/load-{room}"))?;
        let head: serde_json::Value = serde_json::from_slice(head).map_err(io::Error::other)?;
        Ok(head["latest"].as_u64().unwrap_or(0))
    };
    let mut places = Vec::new();
    for n in 0..SAMPLES {
        let room = n % 100;
        let slots = latest(http, room)?.max(51);
        places.push((room, 50 + u64::from(n) * 7_919_993 % (slots - 50)));
    }
    let sum = "roomlog_page_seconds_sum";
    let count = "roomlog_page_seconds_count";
    let before = (metric(http, sum)?, metric(http, count)?);
    let mut times = Vec::new();
    for (room, upto) in places {
        let start = Instant::now();
        http.get(&format!("/v1/rooms/load-{room}/entries?count=50&upto={upto}"))?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let after = (metric(http, sum)?, metric(http, count)?);
    Ok((times, (after.0 - before.0) * 1e6 / (after.1 - before.1).max(1.0)))
}
