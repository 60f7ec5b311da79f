//! Opening database files: no link is followed, nothing that a file brings along runs, its tables
//! are compared, and the settings that durability depends on are set and read back.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use crate::{
    error::{of_system, refused},
    files::{has_wal, with_suffix},
    private,
    schema::{self, Schema},
};

/// Older versions can lose commits when a WAL is reset: <https://sqlite.org/wal.html>, "The
/// WAL-Reset Bug".
pub(crate) const LEAST_SQLITE: i32 = 3_051_003;

const STATEMENTS: usize = 32;

/// How long a connection waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest page of ours, in bytes.
const FIRST_PAGE: u64 = 8_192;

/// When commits reach stable storage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Before they return, and so before the next one is written.
    Full,
    /// In order; a power cut may undo the last ones.
    Normal,
}

/// Opens a file for its one writer, and creates it if it is missing; refuses one with other tables.
pub(crate) fn open_writer(
    path: &Path,
    schema: &Schema,
    durability: Durability,
) -> rusqlite::Result<Connection> {
    set_up(connect_or_create(path, schema)?, durability)
}

/// As [`open_writer`] with [`Durability::Normal`]; a new file gets pages of `page` bytes.
pub(crate) fn open_archive(
    path: &Path,
    schema: &Schema,
    page: i64,
) -> rusqlite::Result<Connection> {
    let connection = connect_or_create(path, schema)?;
    connection.pragma_update(None, "page_size", page)?;
    set_up(connection, Durability::Normal)
}

/// Opens a file for writing, which keeps SQLite's defaults; creates it if it is missing.
pub(crate) fn open_plain(path: &Path) -> rusqlite::Result<Connection> {
    private::create_if_missing(path).map_err(|error| of_system(&error))?;
    let flags = READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(resolved(path)?, flags)
}

const READ_WRITE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn connect_or_create(path: &Path, schema: &Schema) -> rusqlite::Result<Connection> {
    // SQLite would give a new file another mode; its WAL gets that of the file.
    private::create_if_missing(path).map_err(|error| of_system(&error))?;
    let connection = connect(path, READ_WRITE)?;
    schema::check(&connection, schema)?;
    // The tables are ours and have no trigger, so SQLite's default applies again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
    Ok(connection)
}

/// Refuses what is no file, and a rollback journal, which SQLite would write into the file. Ours have
/// a WAL from their first page on, so only a crash before the second page leaves one.
fn check_place(path: &Path) -> rusqlite::Result<()> {
    private::check(path).map_err(|error| of_system(&error))?;
    let length = |path: &Path| fs::symlink_metadata(path).map_or(0, |there| there.len());
    let journal = with_suffix(path, "-journal");
    if length(&journal) == 0 || length(path) <= FIRST_PAGE {
        return Ok(());
    }
    Err(refused(format!(
        "{} is not Roomlog's, and would change the file beside it; move it away. Nothing was changed",
        journal.display()
    )))
}

/// Opens a file that may be hostile. Extensions cannot be loaded: that is SQLite's default.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    check_place(path)?;
    harden(Connection::open_with_flags(resolved(path)?, flags | OpenFlags::SQLITE_OPEN_NOFOLLOW)?)
}

fn harden(connection: Connection) -> rusqlite::Result<Connection> {
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        connection.set_db_config(setting, on)?;
    }
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// The path with the links to its directory resolved: SQLite would refuse those too.
fn resolved(path: &Path) -> rusqlite::Result<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new(".")).canonicalize();
    let name = path.file_name().ok_or(io::Error::from(io::ErrorKind::InvalidFilename));
    let resolved = directory.and_then(|directory| Ok(directory.join(name?)));
    resolved.map_err(|error| of_system(&error))
}

fn set_up(connection: Connection, durability: Durability) -> rusqlite::Result<Connection> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(refused(format!("journal_mode is {mode}, not wal")));
    }
    set_durability(&connection, durability)?;
    // Rows that are removed or replaced leave nothing of them in the file: texts are redacted.
    connection.pragma_update(None, "secure_delete", true)?;
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
    if set == level { Ok(()) } else { Err(refused(format!("synchronous is {set}, not {level}"))) }
}

/// Opens a file that a writer has open, for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a file that nobody else has open, for reading; changes no file, and refuses one with other
/// tables. The WAL of a crash is read through a lock and an index in memory.
pub(crate) fn open_stopped(path: &Path, schema: &Schema) -> rusqlite::Result<Connection> {
    let connection = if has_wal(path) {
        let connection = connect(path, READ_WRITE)?;
        keep_wal_on_close(&connection, true)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "query_only", true)?;
        connection
    } else {
        check_place(path)?;
        let uri = format!("file:{}?immutable=1", encoded(&resolved(path)?));
        let flags = READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        harden(Connection::open_with_flags(uri, flags)?)?
    };
    schema::check(&connection, schema)?;
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

/// Copies the WAL into the file and empties it; `false` if a reader prevents that.
pub(crate) fn checkpoint_truncate(connection: &Connection) -> rusqlite::Result<bool> {
    let is_busy = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], is_busy).map(|busy| !busy)
}

/// As [`checkpoint_truncate`], without waiting for readers.
pub(crate) fn try_truncate(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?;
    let truncated = checkpoint_truncate(connection);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    truncated
}

/// What a checkpoint has copied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    /// How many frames the WAL has.
    pub(crate) frames: u64,
    /// Whether all of them are in the file.
    pub(crate) is_complete: bool,
}

impl Copied {
    /// From the frames of the WAL, and those of them that were copied; -1 if there was no checkpoint.
    pub(crate) fn new((frames, copied): (i32, i32)) -> Self {
        let is_complete = frames >= 0 && copied >= frames;
        Self { frames: u64::try_from(frames).unwrap_or(0), is_complete }
    }
}

/// Copies as much of the WAL into the file as it can without waiting.
pub(crate) fn checkpoint_passive(connection: &Connection) -> rusqlite::Result<Copied> {
    let copied = |row: &rusqlite::Row<'_>| Ok(Copied::new((row.get(1)?, row.get(2)?)));
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], copied)
}
