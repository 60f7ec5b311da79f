//! Whether the database beside a WAL holds pages from a bad frame or from frames after it.
//!
//! A WAL is synced before any of it is copied. So if the database holds such pages, the bad frame was intact
//! once, and no power cut tears it afterwards; what SQLite would make of database and WAL mixes two states.
//!
//! SQLite copies the newest version of each page, in the order of their numbers. So a page is proof if
//!
//! - the database has it as a frame from the bad one's transaction on has it, and not as the intact part has it;
//! - it is not zeros, as pages are again and again, whenever they are free;
//! - the pages before it, of which the WAL has versions, are in the database in their newest one, too. A page may
//!   have become again what it was before the WAL; all of them together do not.
//!
//! Enters: the frames of a WAL. Leaves: whether there is proof.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{private, scrub};

/// How many pages before the proof may be others: that of the bad frame, whose number may be what was changed.
const OTHERS: usize = 1;

pub(super) struct CopiedPages {
    database: File,
    wal: File,
    page_bytes: usize,
    /// Where the intact part of the WAL has the newest version of a page.
    latest: HashMap<u32, u64>,
    /// The pages of a transaction that is not committed yet.
    pending: Vec<(u32, u64)>,
    /// The page of the bad frame, and of frames of its transaction and after it.
    bad: Option<(u32, u64)>,
    after: Vec<(u32, u64)>,
    /// How many pages the database has by the intact part; 0 if it has no commit.
    pages: u32,
}

impl CopiedPages {
    pub(super) fn new(database: &Path, wal: &Path, page_bytes: usize) -> io::Result<Self> {
        let (database, wal) = (private::open(database)?, private::open(wal)?);
        let (latest, pending, bad, after) = Default::default();
        Ok(Self { database, wal, page_bytes, latest, pending, bad, after, pages: 0 })
    }

    /// Adds a frame of the intact part: its page, where the page is, and, if the frame is a commit,
    /// how many pages the database has; else 0.
    pub(super) fn note(&mut self, page: u32, at: u64, pages: u32) {
        self.pending.push((page, at));
        if pages > 0 {
            self.pages = pages;
            self.latest.extend(self.pending.drain(..));
        }
    }

    /// Adds the bad frame; `None` if it is not of this round.
    pub(super) fn note_bad(&mut self, frame: Option<(u32, u64)>) {
        self.bad = frame;
        self.after.append(&mut self.pending);
    }

    /// Adds a frame behind the bad one that is chained to the one before it.
    pub(super) fn note_after(&mut self, page: u32, at: u64) {
        self.after.push((page, at));
    }

    /// Whether the database holds any of them.
    pub(super) fn are_there(&self) -> io::Result<bool> {
        // The usual end of a WAL: it costs nothing.
        if self.after.is_empty() && self.bad.is_none() {
            return Ok(false);
        }
        let mut versions: BTreeMap<u32, Vec<(u64, u32)>> = BTreeMap::new();
        // One bit of the bad frame may be another one.
        for (&(page, at), bits) in
            self.after.iter().map(|it| (it, 0)).chain(self.bad.iter().map(|it| (it, 1)))
        {
            versions.entry(page).or_default().push((at, bits));
        }
        let pages: BTreeSet<u32> = versions.keys().chain(self.latest.keys()).copied().collect();
        let mut others = 0;
        for page in pages.into_iter().filter(|page| *page > 0) {
            let in_database = read(&self.database, self.page_bytes, offset(page, self.page_bytes))?;
            let Some(in_database) = in_database else {
                others += 1;
                continue;
            };
            match versions.get(&page) {
                None => others += usize::from(!self.is_latest(page, &in_database)?),
                Some(versions) if !self.is_one_of(versions, &in_database)? => others += 1,
                Some(_) if is_zeros(&in_database) => {}
                Some(_) if self.is_new(page, &in_database)? => return Ok(others <= OTHERS),
                Some(_) => {}
            }
        }
        Ok(false)
    }

    /// Whether a page is as the intact part has it.
    fn is_latest(&self, page: u32, in_database: &[u8]) -> io::Result<bool> {
        match self.latest.get(&page) {
            Some(at) => self.is_one_of(&[(*at, 0)], in_database),
            None => Ok(false),
        }
    }

    /// Whether a page cannot be of the intact part, or of the time before it.
    fn is_new(&self, page: u32, in_database: &[u8]) -> io::Result<bool> {
        match self.latest.get(&page) {
            Some(_) => Ok(!self.is_latest(page, in_database)?),
            None => Ok(self.pages > 0 && page > self.pages),
        }
    }

    /// Whether a page is one of these versions, but for so many bits.
    fn is_one_of(&self, versions: &[(u64, u32)], in_database: &[u8]) -> io::Result<bool> {
        for (at, bits) in versions {
            let version = read(&self.wal, self.page_bytes, *at)?.unwrap_or_default();
            if version.len() == in_database.len()
                && scrub::bits_that_differ(in_database, &version) <= *bits
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn offset(page: u32, bytes: usize) -> u64 {
    u64::from(page - 1) * bytes as u64
}

fn is_zeros(page: &[u8]) -> bool {
    page.iter().all(|byte| *byte == 0)
}

/// A page of a file; `None` beyond its end.
fn read(file: &File, bytes: usize, at: u64) -> io::Result<Option<Vec<u8>>> {
    let mut page = vec![0; bytes];
    match file.read_exact_at(&mut page, at) {
        Ok(()) => Ok(Some(page)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
