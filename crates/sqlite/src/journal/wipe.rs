//! A wipe: what was trimmed leaves the files, because an entry in it was redacted.
//!
//! ```text
//!  segments that end before the position ──► zeros: the blank one
//!  the one that has it ──► its header begins after the position ──► zeros before that
//! ```
//!
//! Appends go on meanwhile: they are written to other sectors. Invariant: after a wipe that is done, no file
//! holds bytes of a block up to its position; one that a crash cuts off is finished at the next start.

use std::io;

use roomlog_core::journal::JournalError;

use super::{
    format::{Header, RECORDS},
    records::Records,
    segment::{self, failed},
    shared::Shared,
};
use crate::{error::is_disk_full, files::segment_name, private};

/// How many segments one call retires at most: 32 MiB of zeros.
const SEGMENTS: usize = 2;

impl Shared {
    /// Removes blocks up to a position, of which an archive has all; `false` if it is not done, and another
    /// call goes on. After an error the journal fails.
    pub(super) fn wipe(&self, upto: u64, head: u64) -> Result<bool, JournalError> {
        for _ in 0..SEGMENTS {
            // For one segment at a time: the writer may need the next one.
            let mut blank = self.files.lock();
            let Some(oldest) = self.removable(upto) else {
                return self.shorten_oldest(upto.min(head));
            };
            let removed = self.retire(&mut blank, &oldest);
            if !self.is_done(removed, &oldest)? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Removes the first blocks of the oldest segment.
    fn shorten_oldest(&self, upto: u64) -> Result<bool, JournalError> {
        // A hold may have ended since.
        let oldest = self.segment_of(upto.max(self.first())).filter(|it| it.first == self.first());
        let Some(oldest) = oldest.filter(|_| !self.is_held()) else { return Ok(false) };
        let mut shorter = oldest.clone();
        if oldest.first <= upto {
            let mut records = Records::open(&self.directory, &oldest)?;
            records.seek(upto + 1)?;
            let (first, at, time) = (records.next, records.at, records.time);
            shorter = Header { first, at, time, continues: None, ..shorter };
        }
        let write = || {
            let file = private::open_to_write(&self.directory.join(segment_name(shorter.number)))?;
            if shorter != oldest {
                segment::rewrite(&file, &shorter)?;
                self.shorten(&shorter);
            }
            // Also what an earlier call has left, for lack of space.
            segment::clear(&file, RECORDS as u64, shorter.at)
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
