//! What of the archive is on stable storage.
//!
//! Folds commit with NORMAL, so a power cut may undo the newest. The WAL is synced as a whole: one
//! small commit with FULL ([`mark`]) makes all folds before it durable, and the journal may be
//! trimmed up to the position that another connection then reads back. Invariants: the writer is at
//! NORMAL again when `mark` returns, or `mark` has failed; what a checkpoint copies is scrubbed before
//! the WAL that names its pages is written again.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_core::{
    archive::ArchiveError,
    journal::{Partition, Position},
};
use rusqlite::{Connection, OptionalExtension, hooks::Wal, params, wal::CheckpointMode};

use super::sql::failed;
use crate::{
    error::is_busy,
    pragma::{self, Copied, Durability, set_durability},
    private, scrub,
    wal_pages::WalPages,
};

/// Moves the mark of a partition to what was applied.
pub(super) fn mark(
    writer: &Connection,
    partition: Partition,
    applied: Position,
) -> rusqlite::Result<()> {
    set_durability(writer, Durability::Full)?;
    // A mark that is there already writes and syncs nothing, and need not.
    let moved = writer.execute(
        "INSERT INTO durable VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET position = excluded.position",
        params![partition, applied.0.cast_signed()],
    );
    set_durability(writer, Durability::Normal)?;
    moved.map(drop)
}

pub(super) fn read(reader: &Connection, partition: Partition) -> rusqlite::Result<Position> {
    let mark = "SELECT position FROM durable WHERE partition = ?1";
    let mark: Option<i64> = reader.query_row(mark, [partition], |row| row.get(0)).optional()?;
    Ok(Position(mark.unwrap_or(0).cast_unsigned()))
}

/// The checkpoints of the writer, each of which scrubs what it has copied.
pub(super) struct Checkpoints {
    /// How many pages the WAL has when one runs.
    pages: AtomicI32,
    state: Mutex<CheckpointState>,
}

struct CheckpointState {
    failed: Option<ArchiveError>,
    /// Open as long as the connections are: closing any descriptor of a file drops the locks that
    /// SQLite holds on it.
    file: File,
    wal: WalPages,
    /// The pages that were written and not scrubbed yet.
    written: BTreeSet<u32>,
}

impl Checkpoints {
    /// Takes SQLite's automatic checkpoints over, because SQLite ignores their errors: after a
    /// failed fsync the next one may report success. Here the first error is kept, and no
    /// checkpoint follows it. On a full disk the WAL stays as it is.
    pub(super) fn install(
        connection: &mut Connection,
        path: &Path,
    ) -> Result<Arc<Self>, ArchiveError> {
        let file = private::open_or_create(path).map_err(|error| not_scrubbed(&error))?;
        let (wal, written) = (WalPages::new(path), BTreeSet::new());
        let state = CheckpointState { failed: None, file, wal, written };
        let checkpoints = Arc::new(Self { pages: AtomicI32::default(), state: Mutex::new(state) });
        let hooked = checkpoints.clone();
        let hook = move |wal: &mut Wal, pages| {
            if pages >= hooked.pages.load(Ordering::Relaxed) {
                let copy = || wal.checkpoint_v2(CheckpointMode::PASSIVE).map(Copied::new);
                let _kept = hooked.state.lock().copy_and_scrub(copy);
            }
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(failed)?;
        Ok(checkpoints)
    }

    pub(super) fn set_pages(&self, pages: i32) {
        self.pages.store(pages, Ordering::Relaxed);
    }

    /// Copies the WAL into the file, where replaced rows are overwritten, scrubs what it copied, and
    /// empties the WAL; `false` if a reader prevents that.
    pub(super) fn empty_wal(&self, connection: &Connection) -> Result<bool, ArchiveError> {
        let mut state = self.state.lock();
        if !state.copy_and_scrub(|| pragma::checkpoint_passive(connection))? {
            return Ok(false);
        }
        // The pages in memory are as they were, and would be written with the next change.
        state.note(
            connection.execute_batch("PRAGMA shrink_memory").map(|()| true).map_err(failed),
        )?;
        state.note(unless_busy(pragma::try_truncate(connection), false))
    }

    /// The first error of a checkpoint.
    pub(super) fn result(&self) -> Result<(), ArchiveError> {
        self.state.lock().result()
    }
}

impl CheckpointState {
    fn result(&self) -> Result<(), ArchiveError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Runs a checkpoint; `false` if not all of the WAL is copied and scrubbed. The next commit writes
    /// over a WAL that was copied, so it is scrubbed before.
    fn copy_and_scrub(
        &mut self,
        copy: impl FnOnce() -> rusqlite::Result<Copied>,
    ) -> Result<bool, ArchiveError> {
        self.result()?;
        let nothing = Copied { frames: 0, is_complete: false };
        let done = unless_busy(copy(), nothing).and_then(|Copied { frames, is_complete }| {
            self.scrub(frames, is_complete).map_err(|error| not_scrubbed(&error))
        });
        self.note(done)
    }

    fn scrub(&mut self, frames: u64, is_complete: bool) -> io::Result<bool> {
        self.wal.read(frames, &mut self.written)?;
        if is_complete {
            scrub::scrub(&self.file, &self.written)?;
            self.written.clear();
        }
        Ok(is_complete)
    }

    /// Keeps an error, unless it passes.
    fn note(&mut self, done: Result<bool, ArchiveError>) -> Result<bool, ArchiveError> {
        if let Err(error) = &done
            && !matches!(error, ArchiveError::NoRoom(_))
        {
            self.failed = Some(error.clone());
        }
        done
    }
}

fn unless_busy<T>(result: rusqlite::Result<T>, busy: T) -> Result<T, ArchiveError> {
    match result {
        Err(error) if is_busy(&error) => Ok(busy),
        result => result.map_err(failed),
    }
}

fn not_scrubbed(error: &io::Error) -> ArchiveError {
    let why = format!("archive.db: the free space of its pages cannot be overwritten: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ArchiveError::NoRoom(why),
        _ => ArchiveError::Failed(why),
    }
}
