//! A wipe: what was trimmed leaves the files, because an entry in it was redacted.
//!
//! ```text
//!  delete rows, a few per commit ─► empty the WAL ─► scrub the pages that rows have left
//! ```
//!
//! Appends are committed between the steps, and folds between the calls. Invariant: after a wipe that
//! is done, neither the file nor the WAL holds bytes of a block up to its position.

use std::{collections::BTreeSet, fs::File, io};

use roomlog_core::journal::JournalError;

use super::{
    BlockWriter, SqliteJournal, failed, rows,
    trim::{Trim, TrimStep},
};
use crate::{
    error::{is_busy, is_full},
    pragma,
    scrub::{self, Search},
};

/// How many steps of the trim one wipe takes at most: 8 MiB.
const WIPE_STEPS: usize = 64;

/// How many pages one wipe looks through: 256 MiB.
const SEARCH_PAGES: u32 = 65_536;

impl SqliteJournal {
    /// Removes blocks that may be trimmed; `false` if it is not done, and another call continues.
    pub(super) fn remove_upto(&self, upto: u64) -> Result<bool, JournalError> {
        for _ in 0..WIPE_STEPS {
            if self.allowed.trimmed() >= upto {
                return self.overwrite_trimmed();
            }
            if !self.writer.lock().wipe_step(upto)? {
                break;
            }
        }
        Ok(false)
    }

    /// Overwrites in the file what was trimmed; `false` if it cannot now. Pages are looked through
    /// while appends go on: what was trimmed is not written into other pages meanwhile.
    fn overwrite_trimmed(&self) -> Result<bool, JournalError> {
        let mut search = self.search.lock();
        if search.is_new() && !self.writer.lock().empty_wal()? {
            return Ok(false);
        }
        let is_done = search.go_on(&self.file, SEARCH_PAGES);
        if !is_done.map_err(|error| not_scrubbed(&error))? {
            return Ok(false);
        }
        let Search { found, .. } = std::mem::take(&mut *search);
        Ok(found.is_empty() || self.writer.lock().scrub(&self.file, &found)?)
    }
}

impl BlockWriter {
    /// Deletes a few of the blocks that may be trimmed, up to `upto`; `false` if it cannot now.
    fn wipe_step(&mut self, upto: u64) -> Result<bool, JournalError> {
        let deleted = self.broken.is_none().then(|| self.delete_step(upto));
        match deleted {
            Some(Ok(step)) => {
                self.note_wal(0, step);
                self.trim.committed(&self.connection, 0, step);
                self.broken = self.limit_wal();
                Ok(step.is_some())
            }
            Some(Err(error)) if is_full(&error) && self.is_undone(*self.moved.borrow()) => {
                Ok(false)
            }
            Some(Err(error)) => Err(self.note_broken("commit failed", &error)),
            None => Ok(false),
        }
    }

    fn delete_step(&self, upto: u64) -> rusqlite::Result<Option<TrimStep>> {
        let Some(step) = self.trim.step_to(&self.connection, upto)? else { return Ok(None) };
        let transaction = self.connection.unchecked_transaction()?;
        Trim::delete(&transaction, step)?;
        transaction.commit()?;
        Ok(Some(step))
    }

    /// Copies the WAL into the file, where deleted rows are overwritten, and empties it; `false` if it
    /// cannot now.
    fn empty_wal(&mut self) -> Result<bool, JournalError> {
        if self.broken.is_some() {
            return Ok(false);
        }
        // Once copied into the file, the last rows are not in the WAL, whose end the scan checks.
        let emptied = rows::set_reached(&self.connection, *self.moved.borrow())
            .and_then(|()| pragma::checkpoint_passive(&self.connection))
            .and_then(|_| pragma::try_truncate(&self.connection));
        match emptied {
            Ok(is_done) => {
                self.begins_round = true;
                if is_done {
                    (self.wal_bytes, self.uncopied) = (0, 0);
                }
                Ok(is_done)
            }
            Err(error) if is_full(&error) || is_busy(&error) => Ok(false),
            Err(error) => Err(self.note_broken("its WAL cannot be copied", &error)),
        }
    }

    /// Scrubs pages of the file; `false` if it cannot now.
    fn scrub(&mut self, file: &File, pages: &BTreeSet<u32>) -> Result<bool, JournalError> {
        // Else it would be copied over the pages later.
        if !self.empty_wal()? {
            return Ok(false);
        }
        match scrub::scrub(file, pages) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(false),
            Err(error) => {
                let error = not_scrubbed(&error);
                self.broken = Some(error.0.clone());
                return Err(error);
            }
        }
        // The pages in memory are as they were, and would be written with the next change.
        let forgotten = self.connection.execute_batch("PRAGMA shrink_memory");
        forgotten.map_err(failed("its memory cannot be released")).map(|()| true)
    }
}

fn not_scrubbed(error: &io::Error) -> JournalError {
    JournalError(format!("journal.db: the free space of its pages cannot be overwritten: {error}"))
}
