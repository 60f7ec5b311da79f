//! How our files are opened: the settings that durability rests on, set and read back.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, config::DbConfig, hooks::Wal};

use crate::trouble;

/// Older ones can lose commits when a WAL is reset: <https://sqlite.org/wal.html>, "The WAL-Reset
/// Bug".
pub(crate) const LEAST_SQLITE: i32 = 3_051_003;

/// How a file is synced.
#[derive(Clone, Copy)]
pub(crate) enum Sync {
    /// Every commit is on stable storage when it returns.
    Full,
    /// Commits stay in order; a power cut may take the last ones back.
    Normal,
}

impl Sync {
    /// Whether a commit is on stable storage before the next one is written.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, Self::Full)
    }
}

/// Opens a file for its one writer, making it when it is not there.
pub(crate) fn open_writer(path: &Path, sync: Sync) -> rusqlite::Result<Connection> {
    set_up(Connection::open(path)?, sync)
}

/// As [`open_writer`], with pages of so many bytes when the file is new.
pub(crate) fn open_archive(path: &Path, sync: Sync, page: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "page_size", page)?;
    set_up(connection, sync)
}

fn set_up(connection: Connection, sync: Sync) -> rusqlite::Result<Connection> {
    let (name, level) = match sync {
        Sync::Full => ("FULL", 2),
        Sync::Normal => ("NORMAL", 1),
    };
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", name)?;
    let read_back: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode != "wal" || read_back != level {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(format!(
                "journal_mode is {mode} and synchronous {read_back}, not wal and {level}"
            )),
        ));
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens a file for reading only.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Whether the WAL stays as it is when this connection is closed, and it is the last; else SQLite copies
/// it into the file and removes it.
pub(crate) fn leave_the_wal(connection: &Connection, leave: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave).map(drop)
}

/// How a WAL is copied by and by.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    /// How many pages it has when it is.
    pages: AtomicI32,
    failed: Mutex<Option<rusqlite::Error>>,
}

impl Copying {
    /// From now on it is copied when it has so many pages.
    pub(crate) fn set_pages(&self, pages: i32) {
        self.pages.store(pages, Ordering::Relaxed);
    }

    /// Whether all went well so far.
    ///
    /// # Errors
    /// The first one; what [`failed`](crate::archive::failed) makes of it.
    pub(crate) fn went_well<E>(&self, failed: impl Fn(&rusqlite::Error) -> E) -> Result<(), E> {
        self.failed.lock().as_ref().map_or(Ok(()), |error| Err(failed(error)))
    }
}

/// Copies the WAL into the file by and by, as SQLite does by itself, but for one thing: it passes over
/// errors then, and after a failed fsync the next one may say that all is well. Here the first one is
/// kept, and nothing is copied behind it. Without room the WAL stays as it is.
pub(crate) fn checkpoint_by_and_by(connection: &mut Connection) -> rusqlite::Result<Arc<Copying>> {
    let copying = Arc::new(Copying::default());
    let keep = copying.clone();
    connection.wal_hook(Some(move |wal: &mut Wal, pages| {
        let mut failed = keep.failed.lock();
        if pages >= keep.pages.load(Ordering::Relaxed) && failed.is_none() {
            let passes = |error: &_| trouble::is_full(error) || trouble::is_busy(error);
            *failed = wal.checkpoint().err().filter(|error| !passes(error));
        }
        Ok(())
    }))?;
    Ok(copying)
}

/// Copies the WAL into the file and empties it.
pub(crate) fn checkpoint_truncate(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Copies what it can of the WAL into the file, without waiting for anyone.
pub(crate) fn checkpoint_passive(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
