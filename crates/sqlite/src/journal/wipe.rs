//! A wipe: what was trimmed leaves the files, because an entry in it was redacted.
//!
//! ```text
//!  segments that end before the position ──► zeros, removed
//!  the one that has it ──► its header begins after the position ──► zeros before that
//! ```
//!
//! Appends go on meanwhile: they are written to other sectors. Invariant: after a wipe that is done, no file
//! holds bytes of a block up to its position; one that a crash cuts off is finished at the next start.

use std::{fs, io};

use roomlog_core::journal::JournalError;

use super::{
    format::Header,
    records::Records,
    segment::{self, failed},
    shared::Shared,
};
use crate::{
    error::is_disk_full,
    files::{BLANK, segment_name},
    private::{self, if_exists},
};

/// How many segments one call removes at most: 32 MiB of zeros.
const SEGMENTS: usize = 2;

impl Shared {
    /// Removes blocks up to a position, of which an archive has all; `false` if it is not done, and another
    /// call goes on. After an error the journal fails.
    pub(super) fn wipe(&self, upto: u64, head: u64) -> Result<bool, JournalError> {
        let _one = self.files.lock();
        for _ in 0..SEGMENTS {
            let Some(oldest) = self.removable(upto) else {
                return self.shorten_oldest(upto.min(head));
            };
            let removed = self.retire(&oldest);
            let removed = removed
                .and_then(|()| if_exists(fs::remove_file(self.directory.join(BLANK))).map(drop));
            if !self.is_done(removed, &oldest)? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Removes the first blocks of the oldest segment.
    fn shorten_oldest(&self, upto: u64) -> Result<bool, JournalError> {
        let Some(oldest) = self.segment_of(upto) else { return Ok(true) };
        // A hold may have ended since.
        if self.is_held() || oldest.first != self.first() {
            return Ok(false);
        }
        let mut records = Records::open(&self.directory, &oldest)?;
        records.seek(upto + 1)?;
        let (first, at, time) = (records.next, records.at, records.time);
        let shorter = Header { first, at, time, continues: None, ..oldest.clone() };
        let write = || {
            let file = private::open_to_write(&self.directory.join(segment_name(shorter.number)))?;
            segment::rewrite(&file, &shorter)?;
            self.shorten(&shorter);
            segment::zero(&file, oldest.at, at)
        };
        self.is_done(write(), &oldest)
    }

    /// Whether it is done; `false` if the disk is full.
    fn is_done(&self, written: io::Result<()>, segment: &Header) -> Result<bool, JournalError> {
        match written {
            Ok(()) => Ok(true),
            Err(error) if is_disk_full(&error) => Ok(false),
            Err(error) => {
                let why = failed(&segment_name(segment.number), "cannot be wiped", &error);
                let _first_reason = self.failed.set(why.0.clone());
                Err(why)
            }
        }
    }
}
