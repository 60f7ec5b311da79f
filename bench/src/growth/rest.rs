//! What a log costs when nobody else is at it: pages, a lone author, memory, files, starts.
//!
//! Enters: a log. Leaves: figures. Invariant: the lone author comes last, so a start after `kill -9`
//! finds what no checkpoint has taken.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    log::Log,
    metrics::{Histogram, Metrics},
};
use crate::{page::Http, process::resident, receivers::body, table::quantile, ws::Socket};

/// Appends of the lone author.
pub(super) const LONE: u64 = 1_000;
/// Entries of a page.
const PAGE: u64 = 50;
/// What a page may take inside the server, in seconds.
pub(super) const PAGE_BAR: f64 = 100e-6;
/// Starts after SIGTERM.
const STARTS: u32 = 3;

/// What pages took.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Over HTTP, µs.
    pub(super) us: Vec<f64>,
    /// Inside the server, seconds.
    pub(super) inside: Histogram,
}

/// The figures.
#[derive(Debug)]
pub(super) struct Rest {
    /// Entries of the log.
    pub(super) entries: u64,
    /// Pages as they are found: what the system has not kept in memory comes from the disk.
    pub(super) pages: Pages,
    /// The same pages right after that.
    pub(super) pages_again: Pages,
    pub(super) lone_us: Vec<f64>,
    /// Bytes, after pages and the lone author.
    pub(super) memory: u64,
    /// Bytes, at most since the server was started at the size before: in the load, mostly.
    pub(super) peak: u64,
    /// Bytes that are no pages of files.
    pub(super) anonymous: u64,
    /// Median after SIGTERM.
    pub(super) start: Duration,
    pub(super) start_killed: Duration,
    /// Bytes, while the server is stopped or idle, WAL included.
    pub(super) archive: u64,
    pub(super) journal: u64,
}

impl Rest {
    /// Measures a log that is folded; `pages` are read.
    ///
    /// # Errors
    /// When the server fails.
    pub(super) fn of(log: &mut Log<'_>, pages: u32) -> io::Result<Self> {
        let places: Vec<_> = (0..pages).map(|_| log.place(PAGE)).collect();
        let pages = read_pages(log, &places)?;
        let pages_again = read_pages(log, &places)?;
        let lone_us = lone(log)?;
        log.folded()?;
        let memory = resident(log.pid()?)?;
        let start_killed = log.restart(true)?;
        let starts = (0..STARTS).map(|_| Ok(log.restart(false)?.as_secs_f64()));
        let starts = starts.collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            entries: log.entries(),
            pages,
            pages_again,
            lone_us,
            memory: memory.now,
            peak: memory.peak,
            anonymous: memory.anonymous,
            start: Duration::from_secs_f64(quantile(&starts, 0.5)),
            start_killed,
            archive: log.file("archive.db")?,
            journal: log.file("journal.db")?,
        })
    }
}

/// Pages that end at these places: a room, a slot.
fn read_pages(log: &Log<'_>, places: &[(usize, u64)]) -> io::Result<Pages> {
    let mut http = Http::connect(log.addr()?)?;
    let before = Metrics::ask(&mut http)?;
    let mut us = Vec::new();
    for (room, upto) in places {
        let path = format!("/v1/rooms/load-{room}/entries?count={PAGE}&upto={upto}");
        let start = Instant::now();
        let page = http.get(&path)?;
        us.push(start.elapsed().as_secs_f64() * 1e6);
        // Each body has one pair of marks.
        let entries = memchr::memmem::find_iter(page, b"~~").count() as u64;
        let wanted = PAGE.min(upto + 1);
        if entries != wanted {
            return Err(io::Error::other(format!("{path}: {entries} entries, not {wanted}")));
        }
    }
    let after = Metrics::ask(&mut http)?;
    Ok(Pages { us, inside: after.observed(&before, "roomlog_page_seconds")? })
}

/// Acks of one author who waits for each, in µs.
fn lone(log: &mut Log<'_>) -> io::Result<Vec<f64>> {
    let (mut author, body) = (Socket::login(log.addr()?, "lone")?, body(200));
    let ack = |_| {
        let frame = crate::append_frame(&format!("load-{}", log.next_room()), &body, None);
        let start = Instant::now();
        author.send(&[frame])?;
        author.expect("appended")?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    (0..LONE).map(ack).collect()
}
