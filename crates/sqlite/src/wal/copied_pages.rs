//! Whether the database beside a WAL holds pages from frames after a bad one.
//!
//! A WAL is synced before any of it is copied. So if the database holds a page as a frame after the
//! bad one has it, the bad frame was intact once, and no power cut tears it afterwards; what SQLite
//! would make of database and WAL mixes two states. Invariant: a page that could be in the database
//! for another reason proves nothing: it must differ from the intact part of the WAL, or lie beyond
//! the end of the database by the intact part.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, path::Path};

use crate::{private, scrub};

pub(super) struct CopiedPages {
    database: File,
    wal: File,
    /// Where the intact part of the WAL has the newest version of a page.
    latest: HashMap<u32, u64>,
    /// The pages of a transaction that is not committed yet.
    pending: Vec<(u32, u64)>,
    /// How many pages the database has by the intact part; 0 if it has no commit.
    pages: u32,
}

impl CopiedPages {
    pub(super) fn new(database: &Path, wal: &Path) -> io::Result<Self> {
        let (database, wal) = (private::open(database)?, private::open(wal)?);
        Ok(Self { database, wal, latest: HashMap::new(), pending: Vec::new(), pages: 0 })
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

    /// Whether the database has this page from a frame after the bad one.
    pub(super) fn holds(&self, page: u32, content: &[u8]) -> io::Result<bool> {
        if self.pages == 0 {
            return Ok(false);
        }
        let at = u64::from(page - 1) * content.len() as u64;
        if !has(&self.database, at, content)? {
            return Ok(false);
        }
        match self.latest.get(&page) {
            Some(at) => Ok(!has(&self.wal, *at, content)?),
            None => Ok(page > self.pages),
        }
    }
}

fn has(file: &File, at: u64, content: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; content.len()];
    match file.read_exact_at(&mut bytes, at) {
        // The file is scrubbed, the WAL is not.
        Ok(()) => Ok(scrub::scrubbed(bytes) == scrub::scrubbed(content.to_vec())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
