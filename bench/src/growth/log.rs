//! A log that grows in a directory of its own, and the server that serves it.
//!
//! Enters: how many appends. Leaves: what became of them. Invariant: `counts` knows how long each room
//! is, for every entry is drawn here.

use std::{
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tempfile::TempDir;

use super::{Args, metrics::Metrics};
use crate::{
    authors::{Authors, Plan, Tally},
    process::{Server, cpu_seconds},
    spread::{Rooms, Spread},
    supply::Supply,
};

/// Authors, and appends unanswered at a time on each: places enough for 80 ms of 50,000 a second, so
/// that a stall holds up the sending of those that are due in it no longer than the server does.
const AUTHORS: (u32, u32) = (64, 64);
/// How long the archive may take to hold all.
const FOLDED: Duration = Duration::from_secs(300);
/// Between two looks at how far it is: asking all the time would hinder it.
const LOOK: Duration = Duration::from_millis(20);

/// The log.
pub(super) struct Log<'a> {
    args: &'a Args,
    /// Dropped before the directory. None only where it did not start again.
    server: Option<Server>,
    pub(super) dir: TempDir,
    rooms: Rooms,
    /// Entries of each room.
    counts: Vec<u64>,
    chance: Xoshiro256PlusPlus,
}

/// What became of a load.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) entries: u64,
    /// Until all were acked.
    pub(super) acked: Duration,
    /// Until the archive held them all.
    pub(super) folded: Duration,
    pub(super) busy: u64,
    /// CPU of the server, in seconds.
    pub(super) cpu: f64,
}

impl<'a> Log<'a> {
    /// An empty one.
    ///
    /// # Errors
    /// When the server does not start.
    pub(super) fn start(args: &'a Args, spread: Spread) -> io::Result<Self> {
        let dir = args.server.dir.make()?;
        let server = Some(Server::roomlog(&args.server.binary, &dir.path().join("data"))?);
        let rooms = Rooms::new(spread, args.rooms);
        let counts = vec![0; rooms.len()];
        let chance = Xoshiro256PlusPlus::seed_from_u64(1);
        Ok(Self { args, server, dir, rooms, counts, chance })
    }

    /// Stops the server; the directory is removed.
    ///
    /// # Errors
    /// When it does not stop.
    pub(super) fn stop(self) -> io::Result<()> {
        self.server.map_or(Ok(()), |server| server.stop().map(drop))
    }

    /// Entries that it has.
    pub(super) fn entries(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn server(&self) -> io::Result<&Server> {
        self.server.as_ref().ok_or_else(|| io::Error::other("the server does not run"))
    }

    /// Where its server listens.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn addr(&self) -> io::Result<SocketAddr> {
        Ok(self.server()?.addr)
    }

    /// Its server's process.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn pid(&self) -> io::Result<u32> {
        Ok(self.server()?.pid())
    }

    /// Authors that are logged in.
    ///
    /// # Errors
    /// When the server refuses.
    pub(super) fn authors(&self) -> io::Result<Authors> {
        let plan = Plan::new(AUTHORS.0, AUTHORS.1, self.args.body);
        Authors::connect(self.addr()?, &plan, self.args.rooms)
    }

    /// Appends what `supply` has.
    ///
    /// # Errors
    /// As [`Authors::drive`].
    pub(super) fn append(
        &mut self,
        authors: &mut Authors,
        supply: &mut Supply,
    ) -> io::Result<Tally> {
        authors.drive(supply, &mut || self.next_room() as u64)
    }

    /// The room of the next entry, which is counted: it must be appended.
    pub(super) fn next_room(&mut self) -> usize {
        let room = self.rooms.draw(&mut self.chance);
        self.counts[room] += 1;
        room
    }

    /// Where a page of `count` ends, at random: a room as often as its spread says, and any slot of it
    /// with so many up to it, or its latest slot when it has fewer.
    pub(super) fn place(&mut self, count: u64) -> (usize, u64) {
        loop {
            let room = self.rooms.draw(&mut self.chance);
            if let Some(latest) = self.counts[room].checked_sub(1) {
                return (room, self.chance.random_range((count - 1).min(latest)..=latest));
            }
        }
    }

    /// Grows to `size` as fast as answers come, until all of it is folded too.
    ///
    /// # Errors
    /// When that does not come to its end in time, or appending fails.
    pub(super) fn grow(&mut self, size: u64) -> io::Result<Load> {
        let entries = size.saturating_sub(self.entries());
        let mut authors = self.authors()?;
        let (start, cpu) = (Instant::now(), cpu_seconds(self.pid()?)?);
        let most = Duration::from_secs(self.args.load_seconds);
        let tally = self.append(&mut authors, &mut Supply::of(entries, most))?;
        if self.entries() < size {
            let there = self.entries();
            return Err(io::Error::other(format!("{there} of {size} entries after {most:?}")));
        }
        self.folded()?;
        let cpu = cpu_seconds(self.pid()?)? - cpu;
        Ok(Load { entries, acked: tally.took, folded: start.elapsed(), busy: tally.busy, cpu })
    }

    /// Waits until the archive holds all.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) fn folded(&self) -> io::Result<()> {
        let (addr, start) = (self.addr()?, Instant::now());
        loop {
            let lag = Metrics::of(addr)?.value("roomlog_fold_lag_entries")?;
            if lag == 0.0 {
                return Ok(());
            }
            if start.elapsed() > FOLDED {
                return Err(io::Error::other(format!("{lag} entries not folded in {FOLDED:?}")));
            }
            thread::sleep(LOOK);
        }
    }

    /// Ends the server, by `kill -9` or by SIGTERM, and starts it again: how long the start took.
    ///
    /// # Errors
    /// When it does not stop or not start.
    pub(super) fn restart(&mut self, kill: bool) -> io::Result<Duration> {
        match self.server.take() {
            Some(server) if !kill => drop(server.stop()?),
            server => drop(server),
        }
        let start = Instant::now();
        self.server = Some(Server::roomlog(&self.args.server.binary, &self.data())?);
        Ok(start.elapsed())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Bytes of a file of the data directory, with its WAL.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn file(&self, name: &str) -> io::Result<u64> {
        let wal = fs::metadata(self.data().join(format!("{name}-wal")));
        Ok(fs::metadata(self.data().join(name))?.len() + wal.map_or(0, |it| it.len()))
    }
}
