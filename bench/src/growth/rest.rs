//! What a log costs without other load: pages, a single writer, memory, files, starts.
//!
//! Enters: a log. Leaves: figures. Invariant: the single writer comes last, so a start after `kill
//! -9` finds entries that no checkpoint has copied.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{log::GrowingLog, steps::LONE};
use crate::{
    frame::{BODY, body, count_entries},
    http::Http,
    metrics::{Buckets, Metrics},
    process::resident,
    times::{Times, median},
    ws::Socket,
};

/// Entries of a page.
const PAGE: u64 = 50;
/// The bar for a page inside the server, in seconds.
pub(super) const PAGE_BAR: f64 = 100e-6;
/// Starts after SIGTERM.
const STARTS: u32 = 3;

/// Times of pages.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) http: Times,
    /// Inside the server, in seconds.
    pub(super) inside: Buckets,
}

/// The figures.
#[derive(Debug)]
pub(super) struct AtRest {
    /// Entries of the log.
    pub(super) entries: u64,
    /// Pages as found: what the system has not cached comes from the disk.
    pub(super) pages: Pages,
    /// The same pages right after that, from the system's cache.
    pub(super) cached: Pages,
    pub(super) lone: Times,
    /// Resident bytes, after the pages and the single writer.
    pub(super) memory: u64,
    /// The maximum since the server was started at the previous size: usually during the load.
    pub(super) peak: u64,
    /// Without pages of files.
    pub(super) anonymous: u64,
    /// The median after SIGTERM.
    pub(super) start: Duration,
    pub(super) start_killed: Duration,
    /// Bytes of the files, WAL included.
    pub(super) archive: u64,
    pub(super) journal: u64,
}

impl AtRest {
    /// Measures a log that is folded; `pages` are read.
    pub(super) fn measure(log: &mut GrowingLog<'_>, pages: u32) -> io::Result<Self> {
        let places: Vec<_> = (0..pages).map(|_| log.random_page(PAGE)).collect();
        let pages = read_pages(log, &places)?;
        let cached = read_pages(log, &places)?;
        let lone = lone(log)?;
        log.folded()?;
        let memory = resident(log.pid()?)?;
        let start_killed = log.restart(true)?;
        let starts = (0..STARTS).map(|_| Ok(log.restart(false)?.as_secs_f64()));
        let starts = starts.collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            entries: log.entries(),
            pages,
            cached,
            lone,
            memory: memory.now,
            peak: memory.peak,
            anonymous: memory.anonymous,
            start: Duration::from_secs_f64(median(starts)),
            start_killed,
            archive: log.file_bytes("archive.db")?,
            journal: log.journal_bytes()?,
        })
    }
}

/// Reads pages, given by room and last slot.
fn read_pages(log: &GrowingLog<'_>, places: &[(usize, u64)]) -> io::Result<Pages> {
    let mut http = Http::connect(log.addr()?)?;
    let before = Metrics::of(log.metrics_addr()?)?;
    let mut times = Times::default();
    for (room, upto) in places {
        let path = format!("/v1/rooms/load-{room}/entries?count={PAGE}&upto={upto}");
        let start = Instant::now();
        let page = http.get(&path)?;
        times.record(start.elapsed());
        let (entries, wanted) = (count_entries(page), PAGE.min(upto + 1));
        if entries != wanted {
            return Err(io::Error::other(format!("{path}: {entries} entries, not {wanted}")));
        }
    }
    let inside = Metrics::of(log.metrics_addr()?)?.observed(&before, "roomlog_page_seconds")?;
    Ok(Pages { http: times, inside })
}

/// Acks of one author who waits for each.
fn lone(log: &mut GrowingLog<'_>) -> io::Result<Times> {
    let (mut author, body) = (Socket::login(log.addr()?, "lone")?, body(BODY));
    let acks = (0..LONE).map(|_| author.append(&format!("load-{}", log.next_room()), &body));
    acks.collect()
}
