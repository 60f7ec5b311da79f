//! Looks into the files of a stopped directory without changing a byte of it.
//!
//! Enters: a path. Leaves: what the start-up table is about: logs and positions. Invariant: no file is
//! made, changed or removed: a start that is refused can be followed by any other remedy. Where a WAL
//! was left by a crash, it is read with a lock and an index in memory, and not copied into its file.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use roomlog_core::{
    archive::ArchiveError,
    journal::{JournalError, Position},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use crate::{archive, journal, sql};

/// What a `journal.db` says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalFacts {
    pub(crate) log: String,
    /// The oldest block kept; one past the head when there is none.
    pub(crate) first: Position,
    pub(crate) head: Position,
    /// The log and position of the backup that it goes on behind, when it was begun by a restore.
    pub(crate) continues: Option<(String, Position)>,
}

/// What an `archive.db` says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchiveFacts {
    pub(crate) log: String,
    pub(crate) applied: Position,
}

/// The WAL of a file.
pub(crate) fn wal_of(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Whether a file has a WAL with something in it.
pub(crate) fn has_wal(path: &Path) -> bool {
    std::fs::metadata(wal_of(path)).is_ok_and(|wal| wal.len() > 0)
}

/// Opens a file that nobody else has open, for reading alone.
pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    if !has_wal(path) {
        let uri = format!("file:{}?immutable=1", encoded(path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        return Connection::open_with_flags(uri, flags);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A path within a URI.
fn encoded(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte);
    let encode = |byte: &u8| {
        if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    };
    path.as_os_str().as_bytes().iter().map(encode).collect()
}

/// Reads the facts of a journal; `None` when there is no file, or one that no log was begun in.
pub(crate) fn journal(path: &Path) -> Result<Option<JournalFacts>, JournalError> {
    let failed = |error: rusqlite::Error| journal::failed("cannot be opened", &error);
    if !path.exists() {
        return Ok(None);
    }
    let file = open(path).map_err(failed)?;
    let Some((log, format)) = log_of(&file).map_err(failed)? else { return Ok(None) };
    if format != journal::FORMAT {
        return Err(JournalError(unknown_format("journal.db", format, journal::FORMAT)));
    }
    let facts = journal_facts(&file, log).map_err(failed)?;
    let oldest = file.query_row("SELECT min(position) FROM blocks", [], |row| row.get(0));
    let oldest: Option<i64> = oldest.map_err(failed)?;
    match oldest.map(|oldest| Position(oldest.cast_unsigned())) {
        Some(oldest) if oldest != facts.first => Err(JournalError(format!(
            "journal.db: it begins at position {oldest}, and not at {}: blocks are missing; restore a \
             backup of the whole directory",
            facts.first
        ))),
        _ => Ok(Some(facts)),
    }
}

fn journal_facts(file: &Connection, log: String) -> rusqlite::Result<JournalFacts> {
    let position = |sql: &str| -> rusqlite::Result<Option<u64>> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, Option<i64>>(0);
        Ok(file.query_row(sql, [], read).optional()?.flatten().map(i64::cast_unsigned))
    };
    let trimmed = position("SELECT position FROM trimmed")?;
    let trimmed = trimmed.unwrap_or(0);
    let head = position("SELECT max(position) FROM blocks")?.unwrap_or(trimmed);
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, Position(row.get::<_, i64>(1)?.cast_unsigned())))
    };
    let continues = file.query_row("SELECT log, position FROM continues", [], read).optional()?;
    Ok(JournalFacts { log, first: Position(trimmed + 1), head: Position(head), continues })
}

/// Reads the facts of an archive; `None` when there is no file, or one that was never begun.
pub(crate) fn archive(path: &Path) -> Result<Option<ArchiveFacts>, ArchiveError> {
    let failed = |error: rusqlite::Error| archive::failed(&error);
    if !path.exists() {
        return Ok(None);
    }
    let file = open(path).map_err(failed)?;
    let Some((log, format)) = log_of(&file).map_err(failed)? else { return Ok(None) };
    if format != sql::FORMAT {
        return Err(ArchiveError::Failed(unknown_format("archive.db", format, sql::FORMAT)));
    }
    Ok(Some(ArchiveFacts { log, applied: archive::applied_in(&file, 0)?.position }))
}

/// Why a file of another format is refused, and what to do.
pub(crate) fn unknown_format(file: &str, found: i64, known: i64) -> String {
    let way_out = if found < known {
        "an older version wrote it, from before the first release: serve it with that version, `roomlog export` \
         its rooms, and `roomlog import` them into a new directory"
    } else {
        "a newer version wrote it: serve it with that version"
    };
    format!("{file}: format {found} is not known to this version, which writes {known}; {way_out}")
}

fn log_of(file: &Connection) -> rusqlite::Result<Option<(String, i64)>> {
    if !has_table(file, "log")? {
        return Ok(None);
    }
    file.query_row(sql::LOG, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

fn has_table(file: &Connection, name: &str) -> rusqlite::Result<bool> {
    let found = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(file.query_row(found, [name], |_| Ok(())).optional()?.is_some())
}
