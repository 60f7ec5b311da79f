//! The backup of a directory that is served: a copy of the archive at one moment.
//!
//! ```text
//!  archive.db ──one read transaction──► SQLite's backup, 2 MiB per step ──► backup.tmp ──► bytes
//! ```
//!
//! Enters: an archive that was folded up to the head. Leaves: a manifest and the copy's bytes.
//! Invariants: the copy is synced every 16 MiB, so that no sync of gigabytes delays the journal's;
//! its name is removed before its bytes are read, so that a crash leaves nothing then; a copy that
//! an earlier crash left is removed at the next start. The read transaction is long on purpose:
//! without it, SQLite's backup would start over with every fold. The archive's WAL grows by what is
//! folded meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use roomlog_core::{
    archive::Archive,
    backup::{ArchiveCopy, Backup, BackupError, Progress},
};
use rusqlite::{
    Connection, OptionalExtension,
    backup::{Backup as PageCopy, StepResult},
};

use crate::{
    archive::{self, SqliteArchive},
    files::{self, ARCHIVE, COPY, remove_database, wal_of},
    journal::{SegmentJournal, now_ms},
    pragma, private, scrub,
};

/// Pages per step: 2 MiB.
const STEP_PAGES: i32 = 256;

const STEPS_PER_SYNC: u32 = 8;

/// The bytes that a copy leaves free in the data directory for the log, which continues meanwhile.
const LEFT_FREE: u64 = 64 << 20;

/// The delay before a step is retried, if the archive is locked for a moment.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// Backups of a directory.
pub struct SqliteBackup {
    directory: PathBuf,
    /// The directory's own journal, which is not trimmed during a backup.
    journal: Option<Arc<SegmentJournal>>,
    archive: Arc<SqliteArchive>,
}

impl Backup for SqliteBackup {
    fn hold(&self) -> Box<dyn Send> {
        Box::new(self.journal.as_ref().map(|journal| journal.hold_trim()))
    }

    fn copy(&self, go_on: &mut dyn FnMut(Progress) -> bool) -> Result<ArchiveCopy, BackupError> {
        remove_database(&self.directory, COPY).map_err(failed)?;
        let path = self.directory.join(COPY);
        let copied = self.copy_to(&path, go_on);
        let copy = copied.and_then(|taken_at| open_copy(&path, taken_at));
        let removed = remove_database(&self.directory, COPY).map_err(failed);
        copy.and_then(|copy| removed.map(|()| copy))
    }
}

fn failed(why: impl ToString) -> BackupError {
    BackupError::Failed(why.to_string())
}

/// Opens the copy for reading, which works on after its name is removed.
fn open_copy(path: &Path, taken_at: u64) -> Result<ArchiveCopy, BackupError> {
    let manifest = archive::manifest(path, taken_at).map_err(failed)?;
    let file = private::open(path).map_err(failed)?;
    // What was copied from the WAL and from memory was not scrubbed yet.
    let archive = scrub::reader(file, manifest.archive_bytes).map_err(failed)?;
    Ok(ArchiveCopy { archive: Box::new(archive), manifest })
}

impl SqliteBackup {
    pub(crate) fn new(
        directory: PathBuf,
        journal: Option<Arc<SegmentJournal>>,
        archive: Arc<SqliteArchive>,
    ) -> Self {
        Self { directory, journal, archive }
    }

    /// Copies the archive to a file; returns the moment of the copy, in ms since the epoch.
    fn copy_to(
        &self,
        path: &Path,
        go_on: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<u64, BackupError> {
        self.check_room()?;
        let source = pragma::open_reader(&self.directory.join(ARCHIVE)).map_err(failed)?;
        let moment = source.unchecked_transaction().map_err(failed)?;
        {
            // A fold removes texts before it counts what removes them.
            let _between_folds = self.archive.between_folds();
            // The first read fixes the moment.
            moment
                .query_row("SELECT state FROM state", [], |_| Ok(()))
                .optional()
                .map_err(failed)?;
        }
        let taken_at = now_ms();
        let bytes_per_page: i64 =
            moment.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
        let mut copy = pragma::open_plain(path).map_err(failed)?;
        // An incomplete copy is removed, so SQLite need not protect it.
        copy.pragma_update(None, "journal_mode", "OFF").map_err(failed)?;
        copy.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        steps(&moment, &mut copy, path, bytes_per_page.unsigned_abs(), go_on)?;
        copy.close().map_err(|(_, error)| failed(error))?;
        files::sync(path).map_err(failed)?;
        Ok(taken_at)
    }

    fn check_room(&self) -> Result<(), BackupError> {
        // An archive that cannot be read is the more useful error.
        self.archive.applied(0).map_err(failed)?;
        let size = |file: &Path| fs::metadata(file).map_or(0, |it| it.len());
        let archive = self.directory.join(ARCHIVE);
        let needed = size(&archive) + size(&wal_of(&archive)) + LEFT_FREE;
        let disk = rustix::fs::statvfs(&self.directory).map_err(failed)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < needed { Err(BackupError::NoSpace { needed, free }) } else { Ok(()) }
    }
}

fn steps(
    source: &Connection,
    copy: &mut Connection,
    path: &Path,
    bytes_per_page: u64,
    go_on: &mut dyn FnMut(Progress) -> bool,
) -> Result<(), BackupError> {
    let copying = PageCopy::new(source, copy).map_err(failed)?;
    for step in 1_u32.. {
        let result = copying.step(STEP_PAGES).map_err(failed)?;
        let progress = copying.progress();
        let of = u64::try_from(progress.pagecount).unwrap_or(0);
        let done = of.saturating_sub(u64::try_from(progress.remaining).unwrap_or(0));
        if !go_on(Progress { done: done * bytes_per_page, of: of * bytes_per_page }) {
            return Err(BackupError::Ended);
        }
        match result {
            StepResult::Done => return Ok(()),
            StepResult::More if step % STEPS_PER_SYNC == 0 => {
                private::open(path).and_then(|file| file.sync_data()).map_err(failed)?;
            }
            StepResult::More => {}
            _ => std::thread::sleep(RETRY_AFTER),
        }
    }
    Ok(())
}
