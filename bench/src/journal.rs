//! The journal alone: entries a second at blocks of 1, 8, 64 and 512, beside the floor.
//!
//! Enters: sizes and times. Leaves: a table with each contender's rate, its ratio to the first,
//! which is the floor, the times of single commits, and what was written. Invariant: contenders take turns
//! within a round, on one file system, and one begins when the threads of the one before are done, as far
//! as they can be waited for.

use std::{
    collections::HashMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use roomlog_core::{
    block::{self, BlockName},
    identity::NodeId,
    journal::{Journal, Proposed},
    proposal::Proposal,
    rules::Rules,
};
use roomlog_sqlite::SqliteJournal;
use roomlog_testkit::fixtures::proposal;

use crate::{
    DataDir,
    disk::{Bare, ENTRY},
    segments::{SHAPE, Segments},
    table::{Table, median, quantile, say},
    written::{Written, device_bytes},
};

/// Entries of a block.
const SIZES: [usize; 4] = [1, 8, 64, 512];

/// What the trimmed journal keeps, in bytes: more than its WAL holds, so that the file is written all over.
const KEEP: u64 = 12 << 20;

/// Bytes after which nothing but blocks of one size is in the trimmed journal.
const TURNOVER: usize = 16 << 20;

/// What makes blocks durable.
trait Contender {
    /// For the table.
    fn name(&self) -> &'static str;

    /// Makes a block of `entries` entries with bodies of 200 bytes durable before it returns.
    fn block(&mut self, entries: usize) -> io::Result<()>;

    /// Becomes what it is after a long time of blocks of `entries` entries.
    fn prepare(&mut self, _entries: usize) -> io::Result<()> {
        Ok(())
    }

    /// Waits for threads of its own.
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// For the lines below the table: what it has at the end.
    fn end(&self) -> Option<String> {
        None
    }
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        "append + fdatasync"
    }

    fn block(&mut self, entries: usize) -> io::Result<()> {
        self.append(entries * ENTRY).map(drop)
    }
}

/// Blocks that are encoded beforehand.
#[derive(Default)]
struct Blocks(HashMap<usize, Bytes>);

impl Blocks {
    fn of(&mut self, entries: usize) -> Bytes {
        self.0.entry(entries).or_insert_with(|| encoded(entries)).clone()
    }
}

/// Our journal of one node.
struct OneNode {
    journal: SqliteJournal,
    blocks: Blocks,
    /// Whether all that it has may go at once, so that it is trimmed to [`KEEP`].
    trims: bool,
}

impl OneNode {
    fn new(dir: &Path) -> io::Result<Self> {
        let journal = SqliteJournal::open(&dir.join("journal.db")).map_err(io::Error::other)?;
        Ok(Self { journal, blocks: Blocks::default(), trims: false })
    }

    fn trimmed(dir: &Path) -> io::Result<Self> {
        let journal = SqliteJournal::open_keeping(&dir.join("trimmed.db"), KEEP);
        let journal = journal.map_err(io::Error::other)?;
        Ok(Self { journal, blocks: Blocks::default(), trims: true })
    }
}

impl Contender for OneNode {
    fn name(&self) -> &'static str {
        if self.trims { "roomlog, SQLite, trimmed" } else { "roomlog, SQLite" }
    }

    fn block(&mut self, entries: usize) -> io::Result<()> {
        match self.journal.propose(0, self.blocks.of(entries)).now_or_never() {
            Some(Proposed::Durable(position)) if self.trims => {
                self.journal.trim(0, position);
                Ok(())
            }
            Some(Proposed::Durable(_)) => Ok(()),
            other => Err(io::Error::other(format!("not durable: {other:?}"))),
        }
    }

    fn prepare(&mut self, entries: usize) -> io::Result<()> {
        let blocks = if self.trims { TURNOVER / self.blocks.of(entries).len() } else { 0 };
        (0..blocks).try_for_each(|_| self.block(entries))
    }

    fn end(&self) -> Option<String> {
        let (first, head) = (self.journal.first(0).ok()?, self.journal.head(0).ok()?);
        Some(format!("{}: {} rows of {} blocks", self.name(), head.0 + 1 - first.0, head.0))
    }
}

/// What a journal of our own would cost at least.
struct Prewritten {
    segments: Segments,
    blocks: Blocks,
}

impl Contender for Prewritten {
    fn name(&self) -> &'static str {
        "prewritten segments"
    }

    fn block(&mut self, entries: usize) -> io::Result<()> {
        self.segments.append(self.blocks.of(entries))
    }

    fn settle(&mut self) -> io::Result<()> {
        self.segments.settle()
    }
}

/// A block of as many entries as are asked for, with bodies of 200 bytes.
fn encoded(entries: usize) -> Bytes {
    let proposals: Vec<Proposal> = (0..entries)
        .map(|n| {
            proposal("general", "ada", &format!("01JD9ZQW4K8Y3V7N5M2X{n:06}"), &"x".repeat(200))
        })
        .collect();
    let name = BlockName { node: NodeId([1; 16]), incarnation: 1, n: 0 };
    block::encode(name, Rules::FIRST, proposals.iter())
}

/// All that are compared; the first is the floor.
fn contenders(dir: &Path) -> io::Result<Vec<Box<dyn Contender>>> {
    let segments = Segments::new(dir, SHAPE)?;
    Ok(vec![
        Box::new(Bare::new(dir)?),
        Box::new(OneNode::new(dir)?),
        Box::new(OneNode::trimmed(dir)?),
        Box::new(Prewritten { segments, blocks: Blocks::default() }),
    ])
}

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    dir: DataDir,
    /// Rounds; each measures every contender once at each size.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Milliseconds of one measurement.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    ms: u64,
}

/// Measures and prints the table.
///
/// # Errors
/// When a contender fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let dir = args.dir.make()?;
    let written = Written::here(dir.path())?;
    let mut contenders = contenders(dir.path())?;
    let mut table = Table::new(&[
        "journal",
        "entries a block",
        "blocks/s",
        "entries/s",
        "of floor",
        "p50, µs",
        "p99, µs",
        "bytes written an entry",
        "to the device",
    ]);
    for size in SIZES {
        contenders.iter_mut().try_for_each(|contender| contender.prepare(size))?;
        let mut figures: Vec<_> = contenders.iter().map(|_| Figures::default()).collect();
        for _ in 0..args.rounds {
            for (contender, figures) in contenders.iter_mut().zip(&mut figures) {
                let before = written.read(dir.path())?;
                let device = device_bytes(dir.path());
                let time = Duration::from_millis(args.ms);
                let (times, took) = times_us(contender.as_mut(), size, time)?;
                let entries = (times.len() * size) as f64;
                let bytes = written.read(dir.path())?.saturating_sub(before);
                figures.round(&times, took, bytes as f64 / entries);
                let device = device_bytes(dir.path())
                    .zip(device)
                    .map(|(now, then)| now.saturating_sub(then));
                figures.device.extend(device.map(|bytes| bytes as f64 / entries));
            }
        }
        for (contender, ours) in contenders.iter().zip(&figures) {
            table.row(ours.row(contender.name(), size, &figures[0]));
        }
    }
    table.print();
    say(&format!(
        "\nMedians of {} rounds; p99 of all commits. Bar: ours at least 0.5 of the floor at each size.",
        args.rounds
    ));
    say(&format!(
        "Bytes: {}, of all threads: SQLite's copies of its WAL are in it, zeroes that segments were made of are not. \
         To the device: by all of the machine, the file system's journal included.",
        written.name()
    ));
    contenders.iter().filter_map(|contender| contender.end()).for_each(|line| say(&line));
    Ok(())
}

/// What the rounds of a contender gave at one size.
#[derive(Default)]
struct Figures {
    /// Blocks a second, of each round.
    rates: Vec<f64>,
    /// The p50 of each round, µs.
    p50: Vec<f64>,
    /// Times of all commits, µs.
    all: Vec<f64>,
    /// Bytes written an entry, of each round.
    bytes: Vec<f64>,
    /// Bytes that the machine wrote to the device for an entry, of each round; none where it cannot tell.
    device: Vec<f64>,
}

impl Figures {
    fn round(&mut self, times: &[f64], took: Duration, bytes: f64) {
        self.rates.push(times.len() as f64 / took.as_secs_f64());
        self.p50.push(median(times));
        self.all.extend_from_slice(times);
        self.bytes.push(bytes);
    }

    fn row(&self, name: &str, size: usize, floor: &Self) -> Vec<String> {
        let ratios: Vec<f64> = self.rates.iter().zip(&floor.rates).map(|(a, b)| a / b).collect();
        vec![
            name.into(),
            size.to_string(),
            format!("{:.0}", median(&self.rates)),
            format!("{:.0}", median(&self.rates) * size as f64),
            format!("{:.2}", median(&ratios)),
            format!("{:.0}", median(&self.p50)),
            format!("{:.0}", quantile(&self.all, 0.99)),
            format!("{:.0}", median(&self.bytes)),
            if self.device.is_empty() {
                "?".into()
            } else {
                format!("{:.0}", median(&self.device))
            },
        ]
    }
}

/// How long each commit took, µs, and all of them.
fn times_us(
    contender: &mut dyn Contender,
    size: usize,
    time: Duration,
) -> io::Result<(Vec<f64>, Duration)> {
    let (start, mut times) = (Instant::now(), Vec::new());
    let mut before = Duration::ZERO;
    while before < time {
        contender.block(size)?;
        let now = start.elapsed();
        times.push((now - before).as_secs_f64() * 1e6);
        before = now;
    }
    contender.settle()?;
    Ok((times, before))
}
