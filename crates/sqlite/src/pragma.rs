//! Opening database files: the settings that durability depends on are set and read back.

use std::{os::unix::ffi::OsStrExt, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use crate::{error::not_set, files::has_wal};

/// Older versions can lose commits when a WAL is reset: <https://sqlite.org/wal.html>, "The
/// WAL-Reset Bug".
pub(crate) const LEAST_SQLITE: i32 = 3_051_003;

const STATEMENTS: usize = 32;

/// When commits reach stable storage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Before they return, and so before the next one is written.
    Full,
    /// In order; a power cut may undo the last ones.
    Normal,
}

/// Opens a file for its one writer, and creates it if it is missing.
pub(crate) fn open_writer(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    set_up(Connection::open(path)?, durability)
}

/// As [`open_writer`] with [`Durability::Normal`]; a new file gets pages of `page` bytes.
pub(crate) fn open_archive(path: &Path, page: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "page_size", page)?;
    set_up(connection, Durability::Normal)
}

fn set_up(connection: Connection, durability: Durability) -> rusqlite::Result<Connection> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(not_set(format!("journal_mode is {mode}, not wal")));
    }
    set_durability(&connection, durability)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

pub(crate) fn set_durability(
    connection: &Connection,
    durability: Durability,
) -> rusqlite::Result<()> {
    let level = if durability == Durability::Full { 2 } else { 1 };
    connection.pragma_update(None, "synchronous", level)?;
    let set: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if set == level { Ok(()) } else { Err(not_set(format!("synchronous is {set}, not {level}"))) }
}

/// Opens a file that a writer has open, for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a file that nobody else has open, for reading; changes no file. The WAL of a crash is read
/// through a lock and an index in memory.
pub(crate) fn open_stopped(path: &Path) -> rusqlite::Result<Connection> {
    if !has_wal(path) {
        let uri = format!("file:{}?immutable=1", encoded(path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        return Connection::open_with_flags(uri, flags);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    keep_wal_on_close(&connection, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn encoded(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte);
    let encode = |byte: &u8| {
        if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    };
    path.as_os_str().as_bytes().iter().map(encode).collect()
}

/// The id and the format in the table `log`; `None` if no log was begun in the file.
pub(crate) fn log_of(file: &Connection) -> rusqlite::Result<Option<(String, i64)>> {
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'log'";
    if file.query_row(table, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    file.query_row("SELECT id, format FROM log", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Whether the WAL stays when the last connection closes; else it is copied and removed.
pub(crate) fn keep_wal_on_close(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// Copies the WAL into the file and empties it.
pub(crate) fn checkpoint_truncate(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Copies as much of the WAL into the file as it can without waiting.
pub(crate) fn checkpoint_passive(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
