//! The journal engine alone, compared with append + fdatasync, in blocks of 1 to 512 entries.
//!
//! Enters: rounds and times. Leaves: for each contender its rate, the ratio to the floor, commit
//! times and bytes written. Invariant: contenders take turns within a round, on one file system.
//!
//! This is the only benchmark of something inside the server: a new engine has no binary before it
//! is chosen. It becomes a [`Contender`] here.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use roomlog_core::journal::{Journal, Proposed};
use roomlog_sqlite::{JOURNAL_BYTES, SegmentJournal};

use crate::{
    args::DataDir,
    disk::{ENTRY, FLOOR, SyncedFile, device_written, process_written},
    table::{Table, say},
    times::{Times, median, median_ratio},
};

/// Entries per block.
const SIZES: [usize; 4] = [1, 8, 64, 512];

/// Bytes that the trimmed journal keeps.
const KEEP: u64 = 12 << 20;

/// After this many bytes the trimmed journal holds blocks of one size only.
const TURNOVER: usize = 16 << 20;

/// Something that makes blocks durable.
trait Contender {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Returns when a block of `entries` entries is durable.
    fn commit(&mut self, entries: usize) -> io::Result<()>;

    /// Brings it to the state that it has after many blocks of `entries` entries.
    fn prepare(&mut self, _entries: usize) -> io::Result<()> {
        Ok(())
    }
}

impl Contender for SyncedFile {
    fn name(&self) -> &'static str {
        FLOOR
    }

    fn commit(&mut self, entries: usize) -> io::Result<()> {
        self.append(entries * ENTRY).map(drop)
    }
}

/// The journal of a single node. It does not look into blocks, so they need no real entries.
struct Segments {
    journal: SegmentJournal,
    /// Blocks by their number of entries.
    blocks: HashMap<usize, Bytes>,
    /// Whether it is trimmed to [`KEEP`], as after a long time.
    trimmed: bool,
}

impl Segments {
    fn new(dir: &Path, trimmed: bool) -> io::Result<Self> {
        let (name, keep) = if trimmed { ("trimmed", KEEP) } else { ("kept", JOURNAL_BYTES) };
        fs::create_dir(dir.join(name))?;
        let journal = SegmentJournal::open_keeping(&dir.join(name), keep);
        let journal = journal.map_err(io::Error::other)?;
        Ok(Self { journal, blocks: HashMap::new(), trimmed })
    }
}

impl Contender for Segments {
    fn name(&self) -> &'static str {
        if self.trimmed { "roomlog, trimmed" } else { "roomlog" }
    }

    fn commit(&mut self, entries: usize) -> io::Result<()> {
        let block = self.blocks.entry(entries);
        let block = block.or_insert_with(|| vec![b'x'; entries * ENTRY].into()).clone();
        match self.journal.propose(0, block).now_or_never() {
            Some(Proposed::Durable(position)) => {
                if self.trimmed {
                    self.journal.trim(0, position);
                }
                Ok(())
            }
            other => Err(io::Error::other(format!("not durable: {other:?}"))),
        }
    }

    fn prepare(&mut self, entries: usize) -> io::Result<()> {
        let blocks = if self.trimmed { TURNOVER / (entries * ENTRY) } else { 0 };
        (0..blocks).try_for_each(|_| self.commit(entries))
    }
}

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalArgs {
    #[command(flatten)]
    dir: DataDir,
    /// Rounds; each measures every contender once at each size.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Milliseconds per measurement.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    ms: u64,
}

/// Measures and prints the table.
pub(crate) fn run(args: &JournalArgs) -> io::Result<()> {
    let dir = args.dir.make()?;
    // The first one is the floor.
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(SyncedFile::new(dir.path())?),
        Box::new(Segments::new(dir.path(), false)?),
        Box::new(Segments::new(dir.path(), true)?),
    ];
    let mut table = Table::new(&[
        "journal",
        "entries per block",
        "blocks/s",
        "entries/s",
        "of floor",
        "p50, µs",
        "p99, µs",
        "bytes written per entry",
        "to the device",
    ]);
    let time = Duration::from_millis(args.ms);
    for size in SIZES {
        contenders.iter_mut().try_for_each(|contender| contender.prepare(size))?;
        let mut figures: Vec<_> = contenders.iter().map(|_| Figures::default()).collect();
        for _ in 0..args.rounds {
            for (contender, figures) in contenders.iter_mut().zip(&mut figures) {
                figures.round(contender.as_mut(), size, time, dir.path())?;
            }
        }
        for (contender, ours) in contenders.iter().zip(&figures) {
            table.row(ours.row(contender.name(), size, &figures[0]));
        }
    }
    table.print();
    say(&format!(
        "\nMedians of {} rounds; p99 of all commits. Bar: at least 0.5 of the floor at each size.",
        args.rounds
    ));
    say("Bytes written: `write_bytes` of this process, checkpoints included. To the device: by");
    say("the whole machine, including the file system's journal.");
    Ok(())
}

/// The results of one contender at one size.
#[derive(Default)]
struct Figures {
    /// Blocks per second, p50 in µs, and bytes per entry, of each round.
    rates: Vec<f64>,
    p50_us: Vec<f64>,
    written: Vec<f64>,
    /// Bytes per entry that the machine wrote to the device; empty if it does not count them.
    device: Vec<f64>,
    /// All commits.
    all: Times,
}

impl Figures {
    fn round(
        &mut self,
        contender: &mut dyn Contender,
        size: usize,
        time: Duration,
        dir: &Path,
    ) -> io::Result<()> {
        let (written, device) = (process_written(), device_written(dir));
        let (start, mut times) = (Instant::now(), Times::default());
        let mut last = Duration::ZERO;
        while last < time {
            contender.commit(size)?;
            let now = start.elapsed();
            times.record(now - last);
            last = now;
        }
        let entries = times.len() as f64 * size as f64;
        let per_entry = |now: Option<u64>, before: Option<u64>| {
            Some(now?.saturating_sub(before?) as f64 / entries)
        };
        self.written.extend(per_entry(process_written(), written));
        self.device.extend(per_entry(device_written(dir), device));
        self.rates.push(times.len() as f64 / last.as_secs_f64());
        self.p50_us.push(times.us(0.5));
        self.all.add(&times);
        Ok(())
    }

    fn row(&self, name: &str, size: usize, floor: &Self) -> Vec<String> {
        let median = |values: &[f64]| median(values.iter().copied());
        let bytes = |values: &[f64]| match values {
            [] => "?".to_owned(),
            values => format!("{:.0}", median(values)),
        };
        vec![
            name.into(),
            size.to_string(),
            format!("{:.0}", median(&self.rates)),
            format!("{:.0}", median(&self.rates) * size as f64),
            format!("{:.2}", median_ratio(&self.rates, &floor.rates)),
            format!("{:.0}", median(&self.p50_us)),
            format!("{:.0}", self.all.us(0.99)),
            bytes(&self.written),
            bytes(&self.device),
        ]
    }
}
