//! One layout, from empty to its largest size, looked at on the way.
//!
//! Enters: a layout, the sizes. Leaves: a [`Point`] for each. Invariants: only folds are in the times
//! of folds, not the making of the entries; what is read is compared with what must be there.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use roomlog_core::archive::IdKey;
use rustix::time::{ClockId, clock_gettime};

use super::{Outcome, input::Input, layout::Contender};
use crate::{
    table::quantile,
    written::{Written, file_bytes},
};

/// Entries of a page.
const PAGE: u64 = 50;
/// Ids that are looked up together.
const BATCH: u64 = 32;
/// How often progress is told.
const TELL: Duration = Duration::from_secs(5);

/// How much is measured.
pub(super) struct Amount {
    /// Entries of a window.
    pub(super) window: usize,
    /// Pages, and ids of each sort, that are read at each size.
    pub(super) reads: u32,
}

/// How a layout does at a size.
pub(super) struct Point {
    pub(super) entries: u64,
    /// Since the point before: entries folded a second.
    pub(super) rate: f64,
    /// Since the point before: CPU of the folding thread for an entry, µs.
    pub(super) cpu_us: f64,
    /// Since the point before: bytes written for an entry.
    pub(super) written: f64,
    /// Bytes of the files for an entry, WAL included.
    pub(super) file: f64,
    /// Times of pages, µs.
    pub(super) page_p50: f64,
    pub(super) page_p99: f64,
    /// Time for an id in a batch of ids that are not there, µs.
    pub(super) new_p50: f64,
    /// Time for an id in a batch of ids that are there, µs.
    pub(super) known_p50: f64,
}

/// CPU that this thread has used.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A layout that is being filled.
pub(super) struct Run<'a> {
    pub(super) name: &'a str,
    pub(super) contender: Box<dyn Contender>,
    pub(super) dir: &'a Path,
    pub(super) input: Input,
    pub(super) written: Written,
    pub(super) amount: &'a Amount,
}

impl Run<'_> {
    /// Fills up to a size and looks.
    pub(super) fn point(&mut self, entries: u64) -> Outcome<Point> {
        let before = (self.input.entries(), self.written.read(self.dir)?);
        let (wall, cpu) = self.fill(entries)?;
        let folded = (self.input.entries() - before.0) as f64;
        let written = self.written.read(self.dir)?.saturating_sub(before.1);
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(entries);
        let pages = self.pages(&mut chance)?;
        let known = self.ids(|_| chance.random_range(0..entries), true)?;
        let new = self.ids(|n| entries + n, false)?;
        Ok(Point {
            entries,
            rate: folded / wall.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / folded,
            written: written as f64 / folded,
            file: file_bytes(self.dir)? as f64 / entries as f64,
            page_p50: quantile(&pages, 0.5),
            page_p99: quantile(&pages, 0.99),
            new_p50: quantile(&new, 0.5),
            known_p50: quantile(&known, 0.5),
        })
    }

    /// Folds windows; the time and the CPU of the folds.
    fn fill(&mut self, entries: u64) -> Outcome<(Duration, Duration)> {
        let (mut wall, mut cpu, mut told) = (Duration::ZERO, Duration::ZERO, Instant::now());
        while self.input.entries() < entries {
            let left = entries - self.input.entries();
            let most = self.amount.window;
            let window = self.input.window(usize::try_from(left).map_or(most, |n| n.min(most)))?;
            let (start, start_cpu) = (Instant::now(), thread_cpu());
            self.contender.fold(&window)?;
            wall += start.elapsed();
            cpu += thread_cpu() - start_cpu;
            if told.elapsed() > TELL {
                told = Instant::now();
                eprintln!("  {}: {} of {entries} entries", self.name, self.input.entries());
            }
        }
        Ok((wall, cpu))
    }

    /// Reads pages at random places of rooms that are drawn as entries are; the µs of each.
    fn pages(&self, chance: &mut Xoshiro256PlusPlus) -> Outcome<Vec<f64>> {
        let mut times = Vec::with_capacity(self.amount.reads as usize);
        while times.len() < self.amount.reads as usize {
            let room = self.input.room(chance);
            let end = room.head.end;
            if end == 0 {
                continue;
            }
            let first = chance.random_range(0..=end.saturating_sub(PAGE));
            let span = first..end.min(first + PAGE);
            let start = Instant::now();
            let page = self.contender.page(&room.name, span.clone())?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            if !span.eq(page.iter().map(|stored| stored.entry.slot)) {
                return Err(format!("the page of {} is not what was asked for", room.name).into());
            }
        }
        Ok(times)
    }

    /// Looks ids up in batches; the µs an id in each.
    fn ids(&self, mut number: impl FnMut(u64) -> u64, are_there: bool) -> Outcome<Vec<f64>> {
        let mut times = Vec::new();
        for batch in 0..u64::from(self.amount.reads).div_ceil(BATCH) {
            let numbers = (0..BATCH).map(|at| number(batch * BATCH + at));
            let keys: Vec<IdKey> =
                numbers.map(|n| Ok(self.input.name(n)?.1)).collect::<Outcome<_>>()?;
            let start = Instant::now();
            let found = self.contender.find(&keys)?;
            times.push(start.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
            if found.len() != keys.len() || found.iter().any(|known| known.is_some() != are_there) {
                return Err("an id that is there was not found, or one that is not was".into());
            }
        }
        Ok(times)
    }
}
