//! A log that grows in a directory of its own, and the server on it.
//!
//! Enters: numbers of appends. Leaves: how long they took. Invariant: `counts` has the length of
//! each room, because the room of every entry is drawn here.

use std::{
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use roomlog_sqlite::directory::file_sizes;
use tempfile::TempDir;

use super::args::GrowthArgs;
use crate::{
    authors::{Authors, Plan, Tally},
    metrics::Metrics,
    process::{Server, cpu_seconds},
    spread::{Rooms, Spread},
    supply::Supply,
};

/// Authors, and appends in flight on each: enough for 80 ms of 50,000 per second, so a stall of the
/// server does not delay the sending of the appends that are due in it.
const AUTHORS: (u32, u32) = (64, 64);
/// Timeout of folding all entries.
const FOLDED: Duration = Duration::from_secs(300);
/// Interval of polling the fold lag: more often would slow the fold.
const POLL: Duration = Duration::from_millis(20);

/// The log.
pub(super) struct GrowingLog<'a> {
    args: &'a GrowthArgs,
    /// Dropped before the directory. `None` only after a failed restart.
    server: Option<Server>,
    pub(super) dir: TempDir,
    rooms: Rooms,
    /// Entries of each room.
    counts: Vec<u64>,
    rng: Xoshiro256PlusPlus,
}

/// How long an unpaced load took.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) entries: u64,
    /// Until all were acked.
    pub(super) acked: Duration,
    /// Until the archive had them all.
    pub(super) folded: Duration,
    pub(super) busy: u64,
    /// CPU seconds of the server.
    pub(super) cpu: f64,
}

impl<'a> GrowingLog<'a> {
    /// An empty log.
    pub(super) fn start(args: &'a GrowthArgs, spread: Spread) -> io::Result<Self> {
        let dir = args.server.dir.make()?;
        let server = Some(args.server.start(&dir.path().join("data"))?);
        let (rooms, counts) = (Rooms::new(spread, args.rooms), vec![0; args.rooms as usize]);
        let rng = Xoshiro256PlusPlus::seed_from_u64(1);
        Ok(Self { args, server, dir, rooms, counts, rng })
    }

    /// Stops the server and removes the directory.
    pub(super) fn stop(self) -> io::Result<()> {
        self.server.map_or(Ok(()), |server| server.stop().map(drop))
    }

    pub(super) fn entries(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn server(&self) -> io::Result<&Server> {
        self.server.as_ref().ok_or_else(|| io::Error::other("the server is not running"))
    }

    pub(super) fn addr(&self) -> io::Result<SocketAddr> {
        Ok(self.server()?.addr)
    }

    /// Where the server's metrics are.
    pub(super) fn metrics_addr(&self) -> io::Result<SocketAddr> {
        self.server()?.control.ok_or_else(|| io::Error::other("the server serves no metrics"))
    }

    /// The server's process.
    pub(super) fn pid(&self) -> io::Result<u32> {
        Ok(self.server()?.pid())
    }

    /// Authors that have logged in.
    pub(super) fn authors(&self) -> io::Result<Authors> {
        let plan = Plan::new(AUTHORS.0, AUTHORS.1, self.args.body);
        Authors::connect(self.addr()?, &plan, self.args.rooms)
    }

    /// Appends what is due.
    pub(super) fn append(
        &mut self,
        authors: &mut Authors,
        supply: &mut Supply,
    ) -> io::Result<Tally> {
        authors.drive(supply, &mut || self.next_room() as u64)
    }

    /// Draws the room of the next entry and counts the entry, which the caller must append.
    pub(super) fn next_room(&mut self) -> usize {
        let room = self.rooms.draw(&mut self.rng);
        self.counts[room] += 1;
        room
    }

    /// The room and the last slot of a random page: rooms by their spread, and in a room any slot
    /// that ends a full page of `count`, or its latest slot if it has fewer entries.
    pub(super) fn random_page(&mut self, count: u64) -> (usize, u64) {
        loop {
            let room = self.rooms.draw(&mut self.rng);
            if let Some(latest) = self.counts[room].checked_sub(1) {
                return (room, self.rng.random_range((count - 1).min(latest)..=latest));
            }
        }
    }

    /// Grows to `size` entries as fast as possible and waits until all are folded.
    pub(super) fn grow(&mut self, size: u64) -> io::Result<Load> {
        let entries = size.saturating_sub(self.entries());
        let mut authors = self.authors()?;
        let (start, cpu) = (Instant::now(), cpu_seconds(self.pid()?)?);
        let limit = Duration::from_secs(self.args.load_seconds);
        let tally = self.append(&mut authors, &mut Supply::unpaced(entries, limit))?;
        if self.entries() < size {
            let reached = self.entries();
            return Err(io::Error::other(format!("{reached} of {size} entries after {limit:?}")));
        }
        self.folded()?;
        let cpu = cpu_seconds(self.pid()?)? - cpu;
        Ok(Load { entries, acked: tally.took, folded: start.elapsed(), busy: tally.busy, cpu })
    }

    /// Waits until the archive has all entries.
    pub(super) fn folded(&self) -> io::Result<()> {
        let (addr, start) = (self.metrics_addr()?, Instant::now());
        loop {
            let lag = Metrics::of(addr)?.fold_lag()?;
            if lag == 0.0 {
                return Ok(());
            }
            if start.elapsed() > FOLDED {
                return Err(io::Error::other(format!("{lag} entries not folded in {FOLDED:?}")));
            }
            thread::sleep(POLL);
        }
    }

    /// Ends the server, by `kill -9` or by SIGTERM, and starts it again; returns how long the start
    /// took.
    pub(super) fn restart(&mut self, kill: bool) -> io::Result<Duration> {
        match self.server.take() {
            Some(server) if !kill => drop(server.stop()?),
            server => drop(server),
        }
        let start = Instant::now();
        self.server = Some(self.args.server.start(&self.data())?);
        Ok(start.elapsed())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Bytes of the journal.
    pub(super) fn journal_bytes(&self) -> io::Result<u64> {
        Ok(file_sizes(&self.data())?.get("journal").copied().unwrap_or(0))
    }

    /// Bytes of a file in the data directory and its WAL.
    pub(super) fn file_bytes(&self, name: &str) -> io::Result<u64> {
        let wal = fs::metadata(self.data().join(format!("{name}-wal")));
        Ok(fs::metadata(self.data().join(name))?.len() + wal.map_or(0, |it| it.len()))
    }
}
