//! What of the archive is on stable storage.
//!
//! Folds commit with NORMAL, so a power cut may undo the newest. The WAL is synced as a whole: one
//! small commit with FULL ([`mark`]) makes all folds before it durable, and the journal may be
//! trimmed up to the position that another connection then reads back. Invariant: the writer is at
//! NORMAL again when `mark` returns, or `mark` has failed.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use parking_lot::Mutex;
use roomlog_core::{
    archive::ArchiveError,
    journal::{Partition, Position},
};
use rusqlite::{Connection, OptionalExtension, hooks::Wal, params};

use super::sql::failed;
use crate::{
    error::{is_busy, is_full},
    pragma::{Durability, set_durability},
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

/// The checkpoints that run as the WAL grows.
#[derive(Debug, Default)]
pub(super) struct CheckpointHook {
    /// How many pages the WAL has when one runs.
    pages: AtomicI32,
    failed: Mutex<Option<ArchiveError>>,
}

impl CheckpointHook {
    /// Takes SQLite's automatic checkpoints over, because SQLite ignores their errors: after a
    /// failed fsync the next one may report success. Here the first error is kept, and no
    /// checkpoint follows it. On a full disk the WAL stays as it is.
    pub(super) fn install(connection: &mut Connection) -> rusqlite::Result<Arc<Self>> {
        let checkpoints = Arc::new(Self::default());
        let hooked = checkpoints.clone();
        connection.wal_hook(Some(move |wal: &mut Wal, pages| {
            let mut first = hooked.failed.lock();
            if pages >= hooked.pages.load(Ordering::Relaxed) && first.is_none() {
                let passes = |error: &_| is_full(error) || is_busy(error);
                *first = wal.checkpoint().err().filter(|error| !passes(error)).map(failed);
            }
            Ok(())
        }))?;
        Ok(checkpoints)
    }

    pub(super) fn set_pages(&self, pages: i32) {
        self.pages.store(pages, Ordering::Relaxed);
    }

    /// Notes the error of a checkpoint that was run besides. Gives it back.
    pub(super) fn note(&self, error: ArchiveError) -> ArchiveError {
        self.failed.lock().get_or_insert(error).clone()
    }

    /// The first error of a checkpoint.
    pub(super) fn result(&self) -> Result<(), ArchiveError> {
        self.failed.lock().clone().map_or(Ok(()), Err)
    }
}
