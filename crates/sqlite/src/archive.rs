//! The archive: entries by (room, slot), ids, heads, in one SQLite file.
//!
//! ```text
//!  fold ──► one writer: rows in transactions of a few thousand, the last one with heads and `applied`
//!  page, find, head, rooms ──► a few read-only connections, each read a short transaction
//! ```
//!
//! Invariants: those of `roomlog_core::archive`. An entry's key is its room's number and its slot in
//! one integer, which keeps a room's entries side by side.

mod fold;
mod read;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use roomlog_core::archive::{Applied, Archive, ArchiveError, IdKey, Keep, Window};
use roomlog_core::{
    journal::Partition,
    proposal::Stored,
    room::{Head, Known},
};
use roomlog_protocol::{RoomName, Slot};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    pragma::{self, CopyFailed, Sync},
    sql, trouble, wal,
};

/// How many bits of a key are the slot: 2^40 entries a room, 2^23 rooms.
const SLOT_BITS: u32 = 40;

/// How many read-only connections are kept open.
const READERS_KEPT: usize = 8;

/// The writer's page cache, in KiB; readers have SQLite's default of 2 MiB each.
const WRITER_CACHE_KIB: i64 = 65_536;

/// The archive of one node.
pub struct SqliteArchive {
    log: String,
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Why its WAL could not be copied into the file.
    copy_failed: CopyFailed,
    /// A fold failed.
    broken: AtomicBool,
}

pub(crate) fn failed(error: &rusqlite::Error) -> ArchiveError {
    let said = format!("archive.db: {}", trouble::sentence(error));
    // The journal has what is folded, and a fold that is done again meets the same rows: whether the
    // last commit was in the WAL when its index found no room is all the same.
    if trouble::is_full(error) || trouble::is_index_full(error) {
        return ArchiveError::NoRoom(said);
    }
    ArchiveError::Failed(said)
}

/// The key of an entry.
pub(crate) fn key(room: i64, slot: Slot) -> i64 {
    room << SLOT_BITS | slot.cast_signed()
}

/// The slot in a key.
fn slot(key: i64) -> Slot {
    key.cast_unsigned() & ((1 << SLOT_BITS) - 1)
}

impl SqliteArchive {
    /// Opens the file, making it as the archive of `log` when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened, or is of another format.
    pub fn open(path: &Path, log: &str) -> Result<Self, ArchiveError> {
        wal::scan(path, Sync::Normal).map_err(|error| ArchiveError::Failed(error.to_string()))?;
        // NORMAL: a power cut may take the newest folds back, and the journal has them.
        let mut writer = pragma::open_writer(path, Sync::Normal).map_err(|error| failed(&error))?;
        let copy_failed =
            pragma::checkpoint_by_and_by(&mut writer).map_err(|error| failed(&error))?;
        pragma::leave_the_wal(&writer, true)
            .and_then(|()| writer.pragma_update(None, "cache_size", -WRITER_CACHE_KIB))
            .and_then(|()| writer.execute_batch(sql::SCHEMA))
            .map_err(|error| failed(&error))?;
        // What a crash tore off stays behind the end of the WAL, else, where the next scan would meet
        // it. Without room it does.
        match pragma::checkpoint_truncate(&writer) {
            Err(error) if !trouble::is_full(&error) => return Err(failed(&error)),
            _ => {}
        }
        let log = read_or_make_log(&writer, log)?;
        let (path, readers, broken) = (path.into(), Mutex::default(), AtomicBool::new(false));
        Ok(Self { log, path, writer: Mutex::new(writer), readers, copy_failed, broken })
    }

    /// The log that it is of.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Runs a read on a connection of its own, as one transaction.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let kept = self.readers.lock().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => pragma::open_reader(&self.path).map_err(|error| failed(&error))?,
        };
        let result = {
            let transaction = connection.unchecked_transaction().map_err(|error| failed(&error))?;
            read(&transaction)
        };
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        result
    }
}

impl Drop for SqliteArchive {
    fn drop(&mut self) {
        self.readers.get_mut().clear();
        let writer = self.writer.get_mut();
        // Leaves a file without a WAL; what cannot be copied now is copied at the next start. After a
        // fold that failed nothing is: an fsync that failed once may say yes the next time.
        let broken = *self.broken.get_mut();
        if !broken && pragma::checkpoint_truncate(writer).is_ok() {
            let _or_an_empty_wal_stays = pragma::leave_the_wal(writer, false);
        }
    }
}

fn read_or_make_log(connection: &Connection, log: &str) -> Result<String, ArchiveError> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let there = connection.query_row(sql::LOG, [], read).optional();
    match there.map_err(|error| failed(&error))? {
        Some((log, sql::FORMAT)) => Ok(log),
        Some((_, format)) => Err(ArchiveError::Failed(format!(
            "archive.db: format {format} is not known to this version"
        ))),
        None => {
            connection
                .execute(sql::MAKE_LOG, params![log, sql::FORMAT])
                .map_err(|error| failed(&error))?;
            Ok(log.into())
        }
    }
}

impl Archive for SqliteArchive {
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError> {
        self.read(|connection| read::applied(connection, partition).map_err(|e| failed(&e)))
    }

    fn head(&self, room: &RoomName) -> Result<Option<Head>, ArchiveError> {
        self.read(|connection| read::head(connection, room))
    }

    fn page(
        &self,
        room: &RoomName,
        first: Slot,
        end: Slot,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError> {
        self.read(|connection| read::page(connection, room, first..end, bytes, keep))
    }

    fn find(&self, keys: &[IdKey]) -> Result<Vec<Option<Known>>, ArchiveError> {
        self.read(|connection| read::find(connection, keys))
    }

    fn rooms(
        &self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        self.read(|connection| read::rooms(connection, after, limit))
    }

    fn fold(&self, window: &Window) -> Result<(), ArchiveError> {
        let mut folded = fold::fold(&mut self.writer.lock(), window);
        if let Some(error) = &*self.copy_failed.lock() {
            folded = Err(failed(error));
        }
        if !matches!(folded, Ok(()) | Err(ArchiveError::NoRoom(_))) {
            self.broken.store(true, Ordering::Relaxed);
        }
        folded
    }
}
