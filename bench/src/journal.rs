//! The journal alone: entries a second at blocks of 1, 8, 64 and 512, beside the floor.
//!
//! Enters: sizes and times. Leaves: a table with each contender's rate and its ratio to the first,
//! which is the floor. Invariant: contenders take turns within a round, on one file system.

use std::{
    collections::HashMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use roomlog_core::{
    block::{self, BlockName, NodeId},
    journal::{Journal, Proposed},
    proposal::Proposal,
    suites::archive::proposal,
};
use roomlog_sqlite::SqliteJournal;

use crate::{
    DataDir,
    disk::{Bare, ENTRY},
    table::{Table, median, say},
};

/// Entries of a block.
const SIZES: [usize; 4] = [1, 8, 64, 512];

/// What makes blocks durable.
trait Contender {
    /// For the table.
    fn name(&self) -> &'static str;

    /// Makes a block of `entries` entries with bodies of 200 bytes durable before it returns.
    fn block(&mut self, entries: usize) -> io::Result<()>;
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        "append + fdatasync"
    }

    fn block(&mut self, entries: usize) -> io::Result<()> {
        self.append(entries * ENTRY).map(drop)
    }
}

/// Our journal of one node, given blocks that are encoded beforehand.
struct OneNode {
    journal: SqliteJournal,
    blocks: HashMap<usize, Bytes>,
}

impl OneNode {
    fn new(dir: &Path) -> io::Result<Self> {
        let journal = SqliteJournal::open(&dir.join("journal.db")).map_err(io::Error::other)?;
        Ok(Self { journal, blocks: HashMap::new() })
    }
}

impl Contender for OneNode {
    fn name(&self) -> &'static str {
        "roomlog, SQLite"
    }

    fn block(&mut self, entries: usize) -> io::Result<()> {
        let block = self.blocks.entry(entries).or_insert_with(|| encoded(entries)).clone();
        match self.journal.propose(0, block).now_or_never() {
            Some(Proposed::Durable(_)) => Ok(()),
            other => Err(io::Error::other(format!("not durable: {other:?}"))),
        }
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
    block::encode(name, proposals.iter())
}

/// All that are compared; the first is the floor.
fn contenders(dir: &Path) -> io::Result<Vec<Box<dyn Contender>>> {
    Ok(vec![Box::new(Bare::new(dir)?), Box::new(OneNode::new(dir)?)])
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
    let mut contenders = contenders(dir.path())?;
    let mut table =
        Table::new(&["journal", "entries a block", "blocks/s", "entries/s", "of floor"]);
    for size in SIZES {
        let mut rates = vec![Vec::new(); contenders.len()];
        for _ in 0..args.rounds {
            for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
                rates.push(rate(contender.as_mut(), size, Duration::from_millis(args.ms))?);
            }
        }
        for (contender, ours) in contenders.iter().zip(&rates) {
            let ratios: Vec<f64> = ours.iter().zip(&rates[0]).map(|(a, floor)| a / floor).collect();
            table.row(vec![
                contender.name().into(),
                size.to_string(),
                format!("{:.0}", median(ours)),
                format!("{:.0}", median(ours) * size as f64),
                format!("{:.2}", median(&ratios)),
            ]);
        }
    }
    table.print();
    say(&format!(
        "\nMedians of {} rounds. Bar: at least 0.5 of the floor at each size.",
        args.rounds
    ));
    Ok(())
}

/// Blocks a second.
fn rate(contender: &mut dyn Contender, size: usize, time: Duration) -> io::Result<f64> {
    let (start, mut blocks) = (Instant::now(), 0.0);
    while start.elapsed() < time {
        contender.block(size)?;
        blocks += 1.0;
    }
    Ok(blocks / start.elapsed().as_secs_f64())
}
