//! The backup of a directory that is served: the archive, copied as it stands at one moment.
//!
//! ```text
//!  archive.db ──read transaction: one moment──► SQLite's backup, a MiB a step ──► backup.tmp ──► its bytes
//! ```
//!
//! Enters: the wish, when the archive was folded to the head. Leaves: a manifest and the copy's bytes.
//! Invariants: the copy is synced every few MiB, so that no single sync of gigabytes holds up the
//! journal's; it has no name any more when its bytes are read, so that no crash can leave it then; one
//! that a crash left before is removed at the next start.
//!
//! The read transaction is long, on purpose: with it SQLite's backup never begins anew, however much is
//! folded meanwhile. The archive's WAL grows by that much until the copy is made.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use roomlog_core::{
    archive::Archive,
    backup::{Backup, BackupError, Copy, Progress},
};
use rusqlite::{
    Connection,
    backup::{Backup as Copying, StepResult},
};

use crate::{
    SqliteArchive, SqliteJournal, archive,
    directory::{ARCHIVE, COPY, Directory},
    pragma, restore,
};

/// Pages of a step: with SQLite's pages of 4 KiB, a MiB.
const STEP_PAGES: i32 = 256;

/// Steps between two syncs of the copy.
const STEPS_PER_SYNC: u32 = 8;

/// What a copy leaves free in the data directory for the log that goes on beside it, in bytes.
const LEFT_FREE: u64 = 64 << 20;

/// How long a step waits before it is tried again, when the archive is locked for a moment.
const BUSY_AGAIN: Duration = Duration::from_millis(5);

/// Backups of a directory.
pub struct SqliteBackup {
    directory: PathBuf,
    /// Where it is this directory's: it is not trimmed meanwhile.
    journal: Option<Arc<SqliteJournal>>,
    archive: Arc<SqliteArchive>,
}

impl Directory {
    /// What makes backups of this directory while it is served. One at a time.
    #[must_use]
    pub fn backup(&self) -> SqliteBackup {
        let (journal, archive) = (Some(self.journal.clone()), self.archive.clone());
        SqliteBackup { directory: self.path().into(), journal, archive }
    }
}

impl Backup for SqliteBackup {
    fn hold(&self) -> Box<dyn Send> {
        Box::new(self.journal.as_ref().map(|journal| journal.hold_trim()))
    }

    fn copy(&self, go_on: &mut dyn FnMut(Progress) -> bool) -> Result<Copy, BackupError> {
        restore::sweep(&self.directory, COPY).map_err(failed)?;
        let path = self.directory.join(COPY);
        let copied = self.copy_to(&path, go_on);
        let opened = copied.and_then(|taken_at| opened(&path, taken_at));
        let swept = restore::sweep(&self.directory, COPY);
        let copy = opened?;
        swept.map_err(failed)?;
        Ok(copy)
    }
}

fn failed(why: impl ToString) -> BackupError {
    BackupError::Failed(why.to_string())
}

/// The copy, to be read; what is read goes on to be there when its name is gone.
fn opened(path: &Path, taken_at: u64) -> Result<Copy, BackupError> {
    let manifest = archive::heads::manifest(path, taken_at).map_err(failed)?;
    let file = File::open(path).map_err(failed)?;
    Ok(Copy { archive: Box::new(file.take(manifest.archive_bytes)), manifest })
}

impl SqliteBackup {
    /// Backups of a directory whose journal is elsewhere, and is never trimmed.
    pub(crate) fn of_derived(directory: PathBuf, archive: Arc<SqliteArchive>) -> Self {
        Self { directory, journal: None, archive }
    }

    /// Copies the archive to a file; when that was, ms since the epoch.
    fn copy_to(
        &self,
        path: &Path,
        go_on: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<u64, BackupError> {
        self.make_sure_of_room()?;
        let source = pragma::open_reader(&self.directory.join(ARCHIVE)).map_err(failed)?;
        let moment = source.unchecked_transaction().map_err(failed)?;
        // The first read fixes the moment.
        let bytes_per_page: i64 = moment
            .query_row("SELECT state FROM state", [], |_| Ok(()))
            .or_else(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                other => Err(other),
            })
            .and_then(|()| moment.pragma_query_value(None, "page_size", |row| row.get(0)))
            .map_err(failed)?;
        let taken_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let taken_at = taken_at.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        let mut copy = Connection::open(path).map_err(failed)?;
        // A copy that is not whole is thrown away: it needs no journal of its own.
        copy.pragma_update(None, "journal_mode", "OFF").map_err(failed)?;
        copy.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        steps(&moment, &mut copy, path, bytes_per_page.unsigned_abs(), go_on)?;
        copy.close().map_err(|(_, error)| failed(error))?;
        File::open(path).and_then(|file| file.sync_all()).map_err(failed)?;
        Ok(taken_at)
    }

    fn make_sure_of_room(&self) -> Result<(), BackupError> {
        // A read, so that one who cannot read the archive is told that.
        self.archive.applied(0).map_err(failed)?;
        let size = |file: &str| fs::metadata(self.directory.join(file)).map_or(0, |it| it.len());
        let needed = size(ARCHIVE) + size("archive.db-wal") + LEFT_FREE;
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
    let copying = Copying::new(source, copy).map_err(failed)?;
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
                File::open(path).and_then(|file| file.sync_data()).map_err(failed)?;
            }
            StepResult::More => {}
            _ => std::thread::sleep(BUSY_AGAIN),
        }
    }
    Ok(())
}
