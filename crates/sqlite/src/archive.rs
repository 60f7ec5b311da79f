//! The archive: entries by (room, slot), ids, heads, in one SQLite file.
//!
//! ```text
//!  fold ──► one writer: rows in transactions of a few thousand, the last one with heads and `applied`
//!  page, head, rooms, find ──► a few read-only connections, each read a short transaction
//!         find ──► filters in memory first, which answer for most ids that are new
//! ```
//!
//! Invariants: those of `roomlog_core::archive`. A room's entries lie side by side, up to 64 in a row
//! (`run`); ids in sorted segments (`ids`); what counts is in one row (`state`). Whatever is read was
//! checked: entries by their digests, the rest by checksums.

mod durable;
mod entries;
mod fold;
pub(crate) mod heads;
mod ids;
mod pace;
mod read;
pub(crate) mod renamed;
mod rooms;
mod run;
mod state;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_core::{
    applied::Applied,
    archive::{Archive, ArchiveError, IdKey, Keep, Window},
};
use roomlog_core::{
    head::{Head, Known},
    journal::{Partition, Position},
    proposal::Stored,
};
use roomlog_protocol::{RoomName, Slot};
use rusqlite::{Connection, OptionalExtension, params};

use self::{
    ids::{Ids, Upkeep},
    pace::Pace,
    state::State,
};
use crate::{
    peek,
    pragma::{self, Copying, Sync},
    sql, trouble, wal,
};

/// How many bits of a key are the slot: 2^40 entries a room, 2^23 rooms.
const SLOT_BITS: u32 = 40;

/// How many read-only connections are kept open.
const READERS_KEPT: usize = 8;

/// The writer's page cache, in KiB; readers have SQLite's default of 2 MiB each.
const WRITER_CACHE_KIB: i64 = 65_536;

/// The bytes of a page of the file: a run of 64 short entries is three of them.
const PAGE_BYTES: i64 = 8_192;

/// The archive of one node.
pub struct SqliteArchive {
    log: String,
    path: PathBuf,
    writer: Mutex<Writer>,
    ids: Ids,
    readers: Mutex<Vec<Connection>>,
    /// How its WAL is copied into the file.
    copying: Arc<Copying>,
    /// A fold failed.
    broken: AtomicBool,
}

/// What folds work with.
struct Writer {
    connection: Connection,
    state: State,
    upkeep: Upkeep,
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

/// Damage that is of no one slot.
fn is_damaged(problem: &str) -> ArchiveError {
    ArchiveError::Failed(format!("archive.db is damaged: {problem}"))
}

/// The key of an entry.
fn key(room: i64, slot: Slot) -> i64 {
    room << SLOT_BITS | slot.cast_signed()
}

/// The slot in a key.
fn slot_of(key: i64) -> Slot {
    key.cast_unsigned() & ((1 << SLOT_BITS) - 1)
}

/// The number of the room in a key.
fn number_of(key: i64) -> i64 {
    key >> SLOT_BITS
}

impl SqliteArchive {
    /// Opens the file, making it as the archive of `log` when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened, is of another format, or what it says of itself is not what was
    /// written.
    pub fn open(path: &Path, log: &str) -> Result<Self, ArchiveError> {
        wal::scan(path, Sync::Normal).map_err(|error| ArchiveError::Failed(error.to_string()))?;
        // NORMAL: a power cut may take the newest folds back, and the journal has them.
        let mut connection =
            pragma::open_archive(path, Sync::Normal, PAGE_BYTES).map_err(|error| failed(&error))?;
        let copying =
            pragma::checkpoint_by_and_by(&mut connection).map_err(|error| failed(&error))?;
        pragma::leave_the_wal(&connection, true)
            .and_then(|()| connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB))
            .map_err(|error| failed(&error))?;
        // What a crash tore off stays behind the end of the WAL, else, where the next scan would meet
        // it. Without room it does.
        match pragma::checkpoint_truncate(&connection) {
            Err(error) if !trouble::is_full(&error) => return Err(failed(&error)),
            _ => {}
        }
        let (log, state) = read_or_make(&connection, log)?;
        rooms::check(&connection, &state)?;
        let ids = Ids::default();
        ids.replace(ids::open(&connection, &state.segments)?);
        let upkeep = Upkeep::open(&connection, &state)?;
        let writer = Mutex::new(Writer { connection, state, upkeep });
        let (path, readers, broken) = (path.into(), Mutex::default(), AtomicBool::new(false));
        Ok(Self { log, path, writer, ids, readers, copying, broken })
    }

    /// The log that it is of.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Whether all went well whenever the WAL was copied into the file.
    fn copied(&self) -> Result<(), ArchiveError> {
        self.copying.went_well(failed)
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
        let writer = &self.writer.get_mut().connection;
        // Leaves a file without a WAL; what cannot be copied now is copied at the next start. After a
        // fold or a copy that failed nothing is: an fsync that failed once may say yes the next time.
        let broken = *self.broken.get_mut() || self.copying.went_well(failed).is_err();
        if !broken && pragma::checkpoint_truncate(writer).is_ok() {
            let _or_an_empty_wal_stays = pragma::leave_the_wal(writer, false);
        }
    }
}

/// What the file says it is; a new one is made in one transaction.
fn read_or_make(connection: &Connection, log: &str) -> Result<(String, State), ArchiveError> {
    if let Some(log) = read_log(connection)? {
        let state = State::read(connection)?;
        return Ok((log, state.ok_or_else(|| is_damaged("its state is missing"))?));
    }
    let transaction = connection.unchecked_transaction().map_err(|error| failed(&error))?;
    let state = State::default();
    let make = || {
        transaction.execute_batch(sql::SCHEMA)?;
        transaction.execute(sql::MAKE_LOG, params![log, sql::FORMAT])
    };
    make().map_err(|error| failed(&error))?;
    state.write(&transaction)?;
    transaction.commit().map_err(|error| failed(&error))?;
    Ok((log.into(), state))
}

fn read_log(connection: &Connection) -> Result<Option<String>, ArchiveError> {
    let is_made = connection.query_row(sql::IS_MADE, [], |row| row.get::<_, bool>(0));
    if !is_made.map_err(|error| failed(&error))? {
        return Ok(None);
    }
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    match connection.query_row(sql::LOG, [], columns).optional().map_err(|error| failed(&error))? {
        Some((log, sql::FORMAT)) => Ok(Some(log)),
        Some((_, format)) => {
            Err(ArchiveError::Failed(peek::unknown_format("archive.db", format, sql::FORMAT)))
        }
        None => Err(is_damaged("the name of its log is missing")),
    }
}

/// What a file has taken in of a partition, from its state: what was committed.
pub(crate) fn applied_in(
    connection: &Connection,
    partition: Partition,
) -> Result<Applied, ArchiveError> {
    let state = State::read(connection)?;
    Ok(state.ok_or_else(|| is_damaged("its state is missing"))?.applied(partition))
}

impl Archive for SqliteArchive {
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError> {
        self.read(|connection| applied_in(connection, partition))
    }

    fn head(&self, room: &RoomName) -> Result<Option<Head>, ArchiveError> {
        self.read(|connection| rooms::head(connection, room))
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
        let mut found = vec![None; keys.len()];
        // Held until the end: the rows of these segments stay as long.
        let segments = self.ids.segments();
        let suspects = ids::suspects(&segments, keys);
        if suspects.is_empty() {
            return Ok(found);
        }
        self.read(|connection| {
            for (at, hash) in suspects {
                found[at] = read::known(connection, &segments, &keys[at], hash)?;
            }
            Ok(found)
        })
    }

    fn rooms(
        &self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        self.read(|connection| rooms::after(connection, after, limit))
    }

    fn fold(&self, window: &Window) -> Result<(), ArchiveError> {
        self.copying.set_pages(Pace::of(window).wal_pages());
        let folded = fold::fold(&mut self.writer.lock(), &self.ids, window);
        let folded = self.copied().and(folded);
        if !matches!(folded, Ok(()) | Err(ArchiveError::NoRoom(_))) {
            self.broken.store(true, Ordering::Relaxed);
        }
        folded
    }

    fn make_durable(&self, partition: Partition) -> Result<Position, ArchiveError> {
        {
            let writer = self.writer.lock();
            let applied = writer.state.applied(partition).position;
            durable::mark(&writer.connection, partition, applied)
                .map_err(|error| failed(&error))?;
        }
        self.copied()?;
        self.read(|reader| durable::read(reader, partition).map_err(|error| failed(&error)))
    }
}
