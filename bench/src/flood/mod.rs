//! How much hostile neighbours delay an author who waits for each ack.
//!
//! ```text
//!  round: server ──► quiet ──► drain ──► 2 flooders ──► drain ──► 20 flooders ──► …
//!                      └─────── the same author in each step, on its own thread ──┘
//! ```
//!
//! Enters: numbers of flooders, what they append, seconds. Leaves: a table with a row per number.
//! Invariants: an ack time of the author counts from the first sending, refusals included, and an
//! append that was never acked counts with the time it had waited; a refused append is counted, not
//! an error; a server that does not answer in time is one.

mod author;
mod flooders;

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use memchr::memmem;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    args::ServerArgs,
    process::{Server, cpu_seconds, resident},
    table::{Table, say},
    times::{Times, median_ratio},
};
use author::Author;
use flooders::{Flood, Flooders};

/// The flooders' head start: the author is measured beside a flood that has reached the bounds.
const RAMP: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct FloodArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    flood: Flood,
    /// Flooding connections; each number of a list is a step.
    #[arg(long, value_delimiter = ',', default_value = "2,20,200",
        value_parser = clap::value_parser!(u32).range(1..=4000))]
    flooders: Vec<u32>,
    /// The loopback address that the author connects from; the flooders use 127.0.0.1.
    #[arg(long, default_value = "127.0.0.1")]
    author_address: IpAddr,
    /// Rounds; each starts a new server and measures the quiet author and every step.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds per step.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// Outcomes of appends.
#[derive(Default)]
struct Outcomes {
    acked: u64,
    /// `busy` and `rate_limited`.
    busy: u64,
    other: u64,
    /// The author's appends given up at the end of a step; flooders that the server closed.
    lost: u64,
}

impl Outcomes {
    /// Counts an answer, without parsing it; false if it is none to an append.
    fn count(&mut self, answer: &[u8]) -> bool {
        let has = |part: &str| memmem::find(answer, part.as_bytes()).is_some();
        let count = match () {
            () if has(r#""type":"appended""#) => &mut self.acked,
            () if !has(r#""type":"error""#) => return false,
            () if has(r#""code":"busy""#) || has(r#""code":"rate_limited""#) => &mut self.busy,
            () => &mut self.other,
        };
        *count += 1;
        true
    }

    fn add(&mut self, more: &Self) {
        self.acked += more.acked;
        self.busy += more.busy;
        self.other += more.other;
        self.lost += more.lost;
    }
}

/// What a step measured, in all rounds.
#[derive(Default)]
struct Step {
    ack: Times,
    /// The p99 of each round, ms.
    p99s: Vec<f64>,
    author: Outcomes,
    flood: Outcomes,
    flood_seconds: f64,
    /// The server's peak memory in any round.
    peak: u64,
    seconds: f64,
    /// CPU seconds of the server and of this program.
    cpu: [f64; 2],
}

/// Measures and prints the table.
pub(crate) fn run(args: &FloodArgs) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let mut steps: BTreeMap<usize, Step> = BTreeMap::new();
    for round in 1..=args.rounds {
        let dir = args.server.dir.make()?;
        let server = args.server.start(dir.path())?;
        let mut author = Author::connect(server.peer(), args.author_address)?;
        let numbers = std::iter::once(0).chain(args.flooders.iter().copied());
        for (number, flooders) in numbers.enumerate() {
            eprintln!("round {round}, {flooders} flooders, {} s", args.seconds);
            measure(args, &server, &mut author, flooders, steps.entry(number).or_default())?;
            author.drain()?;
        }
        // Its end is not measured: dropping `server` kills it, however much it has left to fold.
    }
    print(args, &steps);
    Ok(())
}

/// One step of a round.
fn measure(
    args: &FloodArgs,
    server: &Server,
    author: &mut Author,
    flooders: u32,
    step: &mut Step,
) -> io::Result<()> {
    let flood = Flooders::connect(server.peer(), &args.flood, flooders)?;
    let pid = server.pid();
    // 5 resets the peak (proc(5)).
    fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    let stop = &AtomicBool::new(false);
    let ((ack, author), (flood, seconds)) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood.run(stop));
        let measured = scope.spawn(|| {
            thread::sleep(if flooders > 0 { RAMP } else { Duration::ZERO });
            let (start, before) = (Instant::now(), cpu(pid)?);
            let round = author.run(Duration::from_secs(args.seconds))?;
            step.seconds += start.elapsed().as_secs_f64();
            let used = cpu(pid)?;
            (0..2).for_each(|of| step.cpu[of] += used[of] - before[of]);
            Ok::<_, io::Error>(round)
        });
        let panicked = |_| io::Error::other("a thread of the benchmark panicked");
        let round = measured.join().map_err(panicked).flatten();
        stop.store(true, Ordering::Relaxed);
        Ok::<_, io::Error>((round?, flood.join().map_err(panicked).flatten()?))
    })?;
    step.p99s.push(ack.ms(0.99));
    step.ack.add(&ack);
    step.author.add(&author);
    step.flood.add(&flood);
    step.flood_seconds += seconds;
    step.peak = step.peak.max(resident(pid)?.peak);
    Ok(())
}

/// CPU seconds of the server and of this program so far.
fn cpu(pid: u32) -> io::Result<[f64; 2]> {
    Ok([cpu_seconds(pid)?, cpu_seconds(std::process::id())?])
}

fn print(args: &FloodArgs, steps: &BTreeMap<usize, Step>) {
    let mut table = Table::new(&[
        "flooders",
        "author's acks",
        "p50, ms",
        "p99, ms",
        "max, ms",
        "p99 of quiet",
        "busy",
        "other errors",
        "unacked",
        "flood entries/s",
        "MB/s",
        "refused/s: busy",
        "other",
        "closed",
        "peak RSS, MiB",
        "server cores",
        "driver cores",
    ]);
    let names = std::iter::once("none".into()).chain(args.flooders.iter().map(u32::to_string));
    for (name, (number, step)) in names.zip(steps) {
        let (author, flood) = (&step.author, &step.flood);
        let rate = |count: u64| count as f64 / step.flood_seconds.max(1e-9);
        let cores = |cpu: f64| format!("{:.2}", cpu / step.seconds.max(1e-9));
        let quiet = steps.get(&0).map_or(&[][..], |quiet| &quiet.p99s);
        let of_quiet = if *number == 0 { 1.0 } else { median_ratio(&step.p99s, quiet) };
        table.row(vec![
            name,
            author.acked.to_string(),
            format!("{:.2}", step.ack.ms(0.5)),
            format!("{:.2}", step.ack.ms(0.99)),
            format!("{:.2}", step.ack.ms(1.0)),
            format!("{of_quiet:.1}"),
            author.busy.to_string(),
            author.other.to_string(),
            author.lost.to_string(),
            format!("{:.0}", rate(flood.acked)),
            format!("{:.1}", rate(flood.acked) * f64::from(args.flood.body) / 1e6),
            format!("{:.0}", rate(flood.busy)),
            format!("{:.0}", rate(flood.other)),
            flood.lost.to_string(),
            format!("{:.0}", step.peak as f64 / 1_048_576.0),
            cores(step.cpu[0]),
            cores(step.cpu[1]),
        ]);
    }
    say(&format!(
        "One author, 64-byte bodies, from {}; flooders: {}; {} rounds of {} s:\n",
        args.author_address, args.flood, args.rounds, args.seconds
    ));
    table.print();
    say("\nTimes count from the first sending of an append, refusals and waits included; \"p99 of");
    say("quiet\" is the median of the rounds' ratios. `busy` includes `rate_limited`.");
}
