//! The archive: entries by (room, slot), ids and heads, in one SQLite file.
//!
//! ```text
//!  fold ──► one writer: rows in many transactions, the last one with heads and `applied`
//!  page, head, rooms, find ──► a few read-only connections, one short transaction per read
//!         find ──► filters in memory first, which answer for most new ids
//! ```
//!
//! Invariants: those of `roomlog_core::archive`. A room's entries lie side by side, up to 64 in a
//! row (`run`); ids are in sorted segments (`ids`); what counts is in one row (`state`). Everything
//! read is checked: entries by their digests, the rest by checksums. Something changed on the disk
//! is an error, never an entry, and never "not found".

mod at_rest;
mod checked;
mod durable;
mod entries;
mod fold;
mod ids;
mod pace;
mod rooms;
mod run;
mod sql;
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
    head::{Head, Known},
    journal::{Partition, Position},
    proposal::{Original, Stored},
};
use roomlog_protocol::{RoomName, RoomRange, Slot};
use rusqlite::{Connection, params};

pub(crate) use self::at_rest::{ArchiveFile, inspect, manifest, rename};
use self::{
    checked::CheckedRuns,
    durable::Checkpoints,
    entries::Runs,
    fold::FoldWriter,
    ids::{Ids, Segment, Upkeep},
    pace::Pace,
    sql::{damaged_at, failed, number_of, slot_of},
    state::{State, read_log},
};
use crate::{
    error::is_disk_full,
    files::{self, wal_of},
    pragma::{self, Durability},
    private::{self, if_exists},
    wal,
};

const READERS_KEPT: usize = 8;

/// The writer's page cache, in KiB; each reader has SQLite's default of 2 MiB.
const WRITER_CACHE_KIB: i64 = 65_536;

/// The bytes of a page of the file: a run of 64 short entries takes three.
const PAGE_BYTES: i64 = 8_192;

/// The archive of one node.
pub struct SqliteArchive {
    path: PathBuf,
    writer: Mutex<FoldWriter>,
    ids: Ids,
    readers: Mutex<Vec<Connection>>,
    /// After the connections, because it has the file open.
    checkpoints: Arc<Checkpoints>,
    checked: CheckedRuns,
    /// A fold failed.
    broken: AtomicBool,
}

impl SqliteArchive {
    /// While the result is held, no fold begins; none is under way.
    pub(crate) fn between_folds(&self) -> impl Drop + '_ {
        self.writer.lock()
    }

    /// Opens the file; if it is missing, creates it as the archive of `log`.
    ///
    /// # Errors
    /// The file cannot be opened, has another format, or was changed.
    pub fn open(path: &Path, log: &str) -> Result<Self, ArchiveError> {
        wal::scan(path, Durability::Normal)
            .map_err(|error| ArchiveError::Failed(error.to_string()))?;
        write_wal_again(path)?;
        // NORMAL: a power cut may undo the newest folds, and the journal has their entries.
        let mut connection =
            pragma::open_archive(path, &sql::SCHEMA, PAGE_BYTES).map_err(failed)?;
        let checkpoints = Checkpoints::install(&mut connection, path)?;
        pragma::keep_wal_on_close(&connection, true).map_err(failed)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(failed)?;
        // Else torn frames of a crash would stay after the end of the WAL, where the next scan
        // finds them. On a full disk they do stay.
        match checkpoints.empty_wal(&connection) {
            Ok(_) | Err(ArchiveError::NoRoom(_)) => {}
            Err(error) => return Err(error),
        }
        let state = read_or_create(&connection, log)?;
        rooms::check(&connection, &state)?;
        let ids = Ids::default();
        ids.replace(ids::open(&connection, &state.segments)?);
        let upkeep = Upkeep::open(&connection, &state)?;
        let writer = Mutex::new(FoldWriter { connection, state, upkeep });
        let (path, readers, broken) = (path.into(), Mutex::default(), AtomicBool::new(false));
        Ok(Self { path, writer, ids, readers, checkpoints, checked: CheckedRuns::new(), broken })
    }

    /// Runs a read as one transaction, on a connection of its own.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let kept = self.readers.lock().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => pragma::open_reader(&self.path).map_err(failed)?,
        };
        let result = {
            let transaction = connection.unchecked_transaction().map_err(failed)?;
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
        // Leaves a file without a WAL, unless something failed: an fsync that failed once may
        // report success the next time. What is not copied now is copied at the next start.
        if !*self.broken.get_mut() && self.checkpoints.empty_wal(writer) == Ok(true) {
            let _or_an_empty_wal_stays = pragma::keep_wal_on_close(writer, false);
        }
    }
}

/// Puts the WAL of a process that ended early on stable storage, however a sync of that process ended: what is copied
/// into the file has to be there. Not on a full disk.
fn write_wal_again(path: &Path) -> Result<(), ArchiveError> {
    let wal = wal_of(path);
    let written = if_exists(private::open_to_write(&wal)).and_then(|file| match file {
        Some(file) => {
            files::write_again(&file, 0, file.metadata()?.len()).and_then(|()| file.sync_data())
        }
        None => Ok(()),
    });
    match written {
        Err(error) if !is_disk_full(&error) => {
            Err(ArchiveError::Failed(format!("{} cannot be written: {error}", wal.display())))
        }
        _ => Ok(()),
    }
}

/// The state of the file; a new file gets its log and its state in one transaction.
fn read_or_create(connection: &Connection, log: &str) -> Result<State, ArchiveError> {
    if read_log(connection)?.is_some() {
        return State::read(connection);
    }
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    let state = State::default();
    transaction.execute_batch(sql::TABLES).map_err(failed)?;
    transaction.execute(sql::MAKE_LOG, params![log, sql::FORMAT]).map_err(failed)?;
    state.write(&transaction)?;
    transaction.commit().map_err(failed)?;
    Ok(state)
}

/// The entry that has an id, if any. Its digest was checked: an id that was changed on the disk is
/// damage, and not a missing id.
fn known(
    connection: &Connection,
    segments: &[Arc<Segment>],
    asked: &IdKey,
    hash: u64,
) -> Result<Option<Known>, ArchiveError> {
    let keys = ids::entries_of(connection, segments, hash)?;
    if keys.is_empty() {
        return Ok(None);
    }
    let Some(room) = rooms::room(connection, &asked.room)? else { return Ok(None) };
    let runs = Runs { connection, room: &asked.room, number: room.number };
    for key in keys.into_iter().filter(|key| number_of(*key) == room.number) {
        let slot = slot_of(key);
        let entry = runs.entry(slot)?.entry;
        if (&entry.author, &entry.id) == (&asked.author, &asked.id) {
            let original = Original::of_entry(&entry);
            return Ok(Some(Known { slot, committed_at: entry.committed_at, original }));
        }
    }
    Ok(None)
}

impl Archive for SqliteArchive {
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError> {
        self.read(|connection| Ok(State::read(connection)?.applied(partition)))
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
        if first >= end {
            return Ok(Vec::new());
        }
        self.read(|connection| {
            let number = rooms::room(connection, room)?.map(|room| room.number);
            let number = number.ok_or_else(|| damaged_at(room, first, "the entry is missing"))?;
            let runs = Runs { connection, room, number };
            runs.page(&self.checked, first..end, bytes, keep)
        })
    }

    fn find(&self, keys: &[IdKey]) -> Result<Vec<Option<Known>>, ArchiveError> {
        let mut found = vec![None; keys.len()];
        // Held to the end: the rows of these segments are kept as long.
        let segments = self.ids.segments();
        let suspects = ids::suspects(&segments, keys);
        if suspects.is_empty() {
            return Ok(found);
        }
        self.read(|connection| {
            for (at, hash) in suspects {
                found[at] = known(connection, &segments, &keys[at], hash)?;
            }
            Ok(found)
        })
    }

    fn rooms(
        &self,
        range: &RoomRange,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        self.read(|connection| rooms::of(connection, range, limit))
    }

    fn room_count(&self) -> Result<u64, ArchiveError> {
        self.read(|connection| Ok(State::read(connection)?.rooms.unsigned_abs()))
    }

    fn fold(&self, window: &Window) -> Result<Option<u64>, ArchiveError> {
        self.checkpoints.set_pages(Pace::of(window).now().wal_pages);
        let folded = fold::fold(&mut self.writer.lock(), &self.ids, window);
        let folded = self.checkpoints.result().and(folded);
        if !matches!(folded, Ok(_) | Err(ArchiveError::NoRoom(_))) {
            self.broken.store(true, Ordering::Relaxed);
        }
        folded
    }

    fn make_durable(&self, partition: Partition) -> Result<Position, ArchiveError> {
        {
            let writer = self.writer.lock();
            let applied = writer.state.applied(partition).position;
            durable::mark(&writer.connection, partition, applied).map_err(failed)?;
        }
        self.checkpoints.result()?;
        self.read(|reader| durable::read(reader, partition).map_err(failed))
    }

    fn wipe(&self) -> Result<bool, ArchiveError> {
        match self.checkpoints.empty_wal(&self.writer.lock().connection) {
            Err(ArchiveError::NoRoom(_)) => Ok(false),
            Err(error) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(error)
            }
            Ok(is_done) => Ok(is_done),
        }
    }
}
