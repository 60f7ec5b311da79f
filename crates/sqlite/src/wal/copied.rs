//! Whether the database beside a WAL holds what stands behind a bad frame.
//!
//! A WAL is synced before any of it is copied. So when the database holds a page as a frame behind the
//! bad one has it, the bad one was whole once, which no power cut undoes; and what SQLite would make of
//! database and WAL is a mixture of two states.
//!
//! Enters: the frames of the whole part, then those behind. Leaves: whether one of them was copied.
//! Invariant: a page that could be in the database for another reason is no evidence: it has to differ
//! from what the whole part says, or be one that the whole part's database does not have.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, path::Path};

pub(super) struct Copied {
    database: File,
    wal: File,
    /// Where the newest version of a page stands in the whole part of the WAL.
    latest: HashMap<u32, u64>,
    /// Those of a transaction that has not ended.
    pending: Vec<(u32, u64)>,
    /// How many pages the database has by the whole part; 0 when it says nothing.
    pages: u32,
}

impl Copied {
    pub(super) fn new(database: &Path, wal: &Path) -> io::Result<Self> {
        let (database, wal) = (File::open(database)?, File::open(wal)?);
        Ok(Self { database, wal, latest: HashMap::new(), pending: Vec::new(), pages: 0 })
    }

    /// Takes note of a frame of the whole part: its page, where that stands, and how many pages the
    /// database has when a transaction ends with it, else 0.
    pub(super) fn note(&mut self, page: u32, at: u64, pages: u32) {
        self.pending.push((page, at));
        if pages > 0 {
            self.pages = pages;
            self.latest.extend(self.pending.drain(..));
        }
    }

    /// Whether the database holds this page, which a frame behind the bad one has, from there.
    pub(super) fn holds(&self, page: u32, content: &[u8]) -> io::Result<bool> {
        if self.pages == 0 {
            return Ok(false);
        }
        let at = u64::from(page - 1) * content.len() as u64;
        if !is(&self.database, at, content)? {
            return Ok(false);
        }
        match self.latest.get(&page) {
            Some(at) => Ok(!is(&self.wal, *at, content)?),
            None => Ok(page > self.pages),
        }
    }
}

fn is(file: &File, at: u64, content: &[u8]) -> io::Result<bool> {
    let mut there = vec![0; content.len()];
    match file.read_exact_at(&mut there, at) {
        Ok(()) => Ok(there == content),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
