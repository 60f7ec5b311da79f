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
    files::{BLANK, segment_name},
    private,
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
            self.pop();
            let retired = segment::retire(&self.directory, oldest.number, oldest.bytes)
                .and_then(|()| fs::remove_file(self.directory.join(BLANK)));
            retired.map_err(|error| self.not_wiped(&oldest, &error))?;
        }
        Ok(false)
    }

    /// Removes the first blocks of the oldest segment.
    fn shorten_oldest(&self, upto: u64) -> Result<bool, JournalError> {
        if self.is_held() {
            return Ok(false);
        }
        let Some(oldest) = self.segment_of(upto) else { return Ok(true) };
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
        write().map_err(|error| self.not_wiped(&oldest, &error))?;
        Ok(true)
    }

    fn not_wiped(&self, segment: &Header, error: &io::Error) -> JournalError {
        let why = failed(&segment_name(segment.number), "cannot be wiped", error);
        let _first_reason = self.failed.set(why.0.clone());
        why
    }
}
