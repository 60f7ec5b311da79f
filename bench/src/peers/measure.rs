//! The measurements: what is done with one system, once.
//!
//! Enters: a system, a directory for its data. Leaves: figures by name. Invariant: each starts the system on
//! an empty directory and stops it.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    generator::Generator,
    system::{PAGE, System},
};
use crate::{
    args::DataDir,
    disk::SyncedFile,
    frame::{BODY, body},
    receivers::Receivers,
    times::Times,
};

/// Authors, in all measurements but that of a single one.
const AUTHORS: usize = 64;

/// Rooms, in measurements of many.
const ROOMS: u32 = 200;

/// How long a system runs before it is measured: the first megabytes of a log differ from the rest.
const WARM_UP: Duration = Duration::from_millis(1_500);

/// Followers of one room.
const FOLLOWERS: usize = 1_000;

/// Entries in a burst.
const BURST: u64 = 32;

/// Appends in flight of whoever loads a log.
const LOADING: usize = 256;

/// What an entry takes in the floor's file.
const BLOCK: usize = 400;

/// Busy cores of which a machine counts as quiet.
const QUIET: f64 = 0.3;

/// How long a quiet machine is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long and how much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of each run.
    pub(super) time: Duration,
    /// Entries of the log that is read.
    pub(super) log: u64,
    /// How many of them are read to catch up.
    pub(super) behind: u64,
    /// The most entries that are told to followers one at a time, and four times the most bursts.
    pub(super) told: u64,
    /// How long that goes on at most.
    pub(super) telling: Duration,
}

impl Sizes {
    pub(super) const FULL: Self = Self {
        time: Duration::from_secs(6),
        log: 1_000_000,
        behind: 100_000,
        told: 400,
        telling: Duration::from_secs(12),
    };
    pub(super) const QUICK: Self = Self {
        time: Duration::from_secs(2),
        log: 200_000,
        behind: 100_000,
        told: 100,
        telling: Duration::from_secs(4),
    };
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(super) enum Measurement {
    /// 64 authors with 1 append in flight each, in one room.
    Appends1,
    /// The same in 200 rooms.
    Appends1Rooms,
    /// 64 authors with 8 appends in flight each, in one room.
    Appends8,
    /// The same in 200 rooms.
    Appends8Rooms,
    /// A single author who waits for each ack.
    Lone,
    /// A room with 1,000 followers, or as many as a system can have.
    Fanout,
    /// Reading 100,000 entries, and pages of 50 at random.
    Reading,
}

/// Figures, by the names of their columns.
pub(super) type Figures = Vec<(&'static str, f64)>;

impl Measurement {
    /// What it is, for the heading of its table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Appends1 => "64 authors, 1 append in flight each, one room",
            Self::Appends1Rooms => "64 authors, 1 append in flight each, 200 rooms",
            Self::Appends8 => "64 authors, 8 appends in flight each, one room",
            Self::Appends8Rooms => "64 authors, 8 appends in flight each, 200 rooms",
            Self::Lone => "A single author, who waits for each ack",
            Self::Fanout => "A room with many followers",
            Self::Reading => "Reading a long log",
        }
    }

    /// What the disk allows, where that is the floor.
    pub(super) fn floor(self, dir: &DataDir, sizes: Sizes) -> io::Result<Option<Figures>> {
        if self != Self::Lone {
            return Ok(None);
        }
        let dir = dir.make()?;
        let times = SyncedFile::new(dir.path())?.run(BLOCK, sizes.time)?;
        Ok(Some(vec![("p50, µs", times.us(0.5)), ("p99, µs", times.us(0.99))]))
    }

    /// Starts the system, measures it, and stops it.
    pub(super) fn measure(
        self,
        system: &dyn System,
        dir: &Path,
        sizes: Sizes,
    ) -> io::Result<Figures> {
        match self {
            Self::Appends1 => appends(system, dir, sizes, (1, 1)),
            Self::Appends1Rooms => appends(system, dir, sizes, (1, ROOMS)),
            Self::Appends8 => appends(system, dir, sizes, (8, 1)),
            Self::Appends8Rooms => appends(system, dir, sizes, (8, ROOMS)),
            Self::Lone => lone(system, dir, sizes),
            Self::Fanout => fan_out(system, dir, sizes),
            Self::Reading => reading(system, dir, sizes),
        }
    }
}

fn appends(
    system: &dyn System,
    dir: &Path,
    sizes: Sizes,
    (in_flight, rooms): (usize, u32),
) -> io::Result<Figures> {
    if in_flight > system.most_in_flight() || rooms > system.most_rooms() {
        return Ok(Vec::new());
    }
    let running = system.start(dir)?;
    system.prepare(running.addr, rooms)?;
    let authors: io::Result<Vec<_>> =
        (0..AUTHORS).map(|number| system.author(running.addr, number)).collect();
    let mut generator = Generator::new(authors?, in_flight, rooms, body(BODY))?;
    generator.run(WARM_UP, u64::MAX)?;
    let (cpu, begun) = (running.cpu_seconds()?, Instant::now());
    let acked = generator.run(sizes.time, u64::MAX)?;
    let (cpu, seconds) = (running.cpu_seconds()? - cpu, begun.elapsed().as_secs_f64());
    Ok(vec![
        ("acks/s", acked.count as f64 / seconds),
        ("p50, ms", acked.times.ms(0.5)),
        ("p99, ms", acked.times.ms(0.99)),
        ("server CPU per ack, µs", cpu * 1e6 / acked.count as f64),
    ])
}

fn lone(system: &dyn System, dir: &Path, sizes: Sizes) -> io::Result<Figures> {
    let running = system.start(dir)?;
    system.prepare(running.addr, 1)?;
    let author = system.author(running.addr, 0)?;
    let mut generator = Generator::new(vec![author], 1, 1, body(BODY))?;
    generator.run(WARM_UP, u64::MAX)?;
    let acked = generator.run(sizes.time, u64::MAX)?;
    Ok(vec![("p50, µs", acked.times.us(0.5)), ("p99, µs", acked.times.us(0.99))])
}

fn fan_out(system: &dyn System, dir: &Path, sizes: Sizes) -> io::Result<Figures> {
    let followers = FOLLOWERS.min(system.most_followers());
    let running = system.start(dir)?;
    system.prepare(running.addr, 1)?;
    let streams: io::Result<Option<Vec<_>>> =
        (0..followers).map(|_| system.follower(running.addr, 0)).collect();
    let Some(streams) = streams? else { return Ok(Vec::new()) };
    let mut receivers = Receivers::new(streams)?;
    let most = usize::try_from(BURST).unwrap_or(1).min(system.most_in_flight());
    let mut generator = Generator::new(vec![system.teller(running.addr)?], most, 1, body(BODY))?;
    let mut tell = |entries: u64, times: u64| {
        let (mut last, cpu) = (Times::default(), running.cpu_seconds()?);
        let (first, mut told) = (Instant::now(), 0);
        while told < times && first.elapsed() < sizes.telling {
            let begun = Instant::now();
            generator.run(PATIENCE, entries)?;
            receivers.take(entries)?;
            last.record(begun.elapsed());
            told += 1;
        }
        let delivered = (told * entries * followers as u64) as f64;
        Ok::<_, io::Error>((last, (running.cpu_seconds()? - cpu) * 1e6 / delivered))
    };
    tell(1, sizes.told / 10)?;
    let (last, single) = tell(1, sizes.told)?;
    let (_, burst) = tell(BURST, sizes.told / 4)?;
    Ok(vec![
        ("server CPU per delivery, µs", single),
        ("the last has it, p50, ms", last.ms(0.5)),
        ("in bursts of 32: CPU per delivery, µs", burst),
        ("followers", followers as f64),
    ])
}

fn reading(system: &dyn System, dir: &Path, sizes: Sizes) -> io::Result<Figures> {
    let most = LOADING.min(system.most_in_flight());
    // One append at a time would take too long.
    if most == 1 {
        return Ok(Vec::new());
    }
    let running = system.start(dir)?;
    system.prepare(running.addr, 1)?;
    if system.reader(running.addr, 0, 0, 0)?.is_none() {
        return Ok(Vec::new());
    }
    let mut generator = Generator::new(vec![system.loader(running.addr)?], most, 1, body(BODY))?;
    generator.run(Duration::from_secs(600), sizes.log)?;
    wait_until_quiet()?;
    let mut times = Times::default();
    for _ in 0..5 {
        let first = sizes.log - sizes.behind;
        let Some(read) = system.reader(running.addr, 0, first, sizes.behind)? else { break };
        let begun = Instant::now();
        read()?;
        times.record(begun.elapsed());
    }
    let mut figures = vec![("catching up with 100,000, s", times.ms(0.5) / 1e3)];
    if let Some(mut page) = system.pager(running.addr, 0)? {
        let (mut pages, mut rng) = (Times::default(), SmallRng::seed_from_u64(sizes.log));
        let begun = Instant::now();
        while begun.elapsed() < sizes.time {
            let first = rng.random_range(0..sizes.log - PAGE);
            let asked = Instant::now();
            page(first)?;
            pages.record(asked.elapsed());
        }
        figures.push(("page of 50 at random, p50, µs", pages.us(0.5)));
        figures.push(("p99, µs", pages.us(0.99)));
    }
    Ok(figures)
}

/// Waits until hardly anything else runs, or for a minute: what a system does after a load is not charged to
/// the next measurement.
pub(super) fn wait_until_quiet() -> io::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let before = busy_seconds()?;
        thread::sleep(Duration::from_secs(1));
        if busy_seconds()? - before < QUIET {
            break;
        }
    }
    Ok(())
}

/// Seconds that all cores have been busy; see proc_stat(5).
fn busy_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
    // All but idle and iowait.
    let busy = ticks.iter().enumerate().filter(|(at, _)| matches!(at, 0..=2 | 5..=6));
    let busy: u64 = busy.map(|(_, ticks)| ticks).sum();
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}
