//! The tables of `journal.db`.
//!
//! Invariants: each row carries a checksum over its content and its position. `reached` is a
//! position that the file had at least: it is written with the first block of each round of the
//! WAL, and when the file is opened and closed. Rows after it are in the WAL, whose end the scan
//! checks, so missing last rows are detected too.

use std::path::Path;

use roomlog_core::journal::{Durable, JournalError, Position};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};
use ulid::Ulid;

use crate::{
    error::{check_format, sentence},
    pragma,
    schema::Schema,
};

pub(crate) const SCHEMA: Schema = Schema { tables: TABLES, format: FORMAT };

const TABLES: &str = "
    CREATE TABLE log (id TEXT NOT NULL, format INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;
    CREATE TABLE reached (position INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;
    CREATE TABLE blocks (
        position INTEGER PRIMARY KEY,
        time     INTEGER NOT NULL,
        sum      INTEGER NOT NULL,
        block    BLOB NOT NULL
    ) STRICT;
    CREATE TABLE trimmed (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        position INTEGER NOT NULL,
        time     INTEGER NOT NULL,
        sum      INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE continues (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        log      TEXT NOT NULL,
        position INTEGER NOT NULL
    ) STRICT;";

/// The format of `journal.db`. 1 had no checksums, 2 no salts in its blocks; neither was released.
const FORMAT: i64 = 3;

/// What a journal holds when it is opened.
pub(super) struct Tables {
    pub(super) log: String,
    /// The last position, 0 if there is none.
    pub(super) head: u64,
    /// The time of the last block.
    pub(super) time: u64,
    pub(super) trimmed: u64,
}

/// What makes an error of SQLite one of the journal.
pub(crate) fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> JournalError + Copy {
    move |error| JournalError(format!("journal.db: {what}: {}", sentence(&error)))
}

fn of_format(why: String) -> JournalError {
    JournalError(format!("journal.db: {why}"))
}

const OPEN: &str = "cannot be opened";
const READ: &str = "cannot be read";

/// As [`failed`]; a value of another type than its column's was changed.
fn failed_or_changed(what: &'static str) -> impl Fn(rusqlite::Error) -> JournalError {
    move |error| match error {
        error @ (rusqlite::Error::SqliteFailure(..) | rusqlite::Error::QueryReturnedNoRows) => {
            failed(what)(error)
        }
        error => JournalError(format!(
            "journal.db: a row is not what was written: {error}; restore a backup of the whole \
             directory"
        )),
    }
}

/// Refuses a row whose stored checksum is not that of its content.
fn check_sum(what: &str, stored: i64, computed: i64) -> Result<(), JournalError> {
    if stored == computed {
        return Ok(());
    }
    Err(JournalError(format!(
        "journal.db: {what} is not what was written; restore a backup of the whole directory"
    )))
}

/// A checksum over parts, each of which has a fixed length or is the last.
fn sum(what: &str, numbers: &[u64], bytes: &[u8]) -> i64 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(what.as_bytes());
    for number in numbers {
        crc.update(&number.to_be_bytes());
    }
    crc.update(bytes);
    crc.finalize().into()
}

fn sum_of_block(position: u64, time: u64, block: &[u8]) -> i64 {
    sum("block", &[position, time], block)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// Reads the tables up to the last block; begins a new log in an empty file.
pub(super) fn open(connection: &Connection) -> Result<Tables, JournalError> {
    let tables = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| number(row, 0))
        .map_err(failed(OPEN))?;
    let pages: i64 = connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .map_err(failed(OPEN))?;
    // SQLite makes the first page before there is a table.
    if tables == 0 && pages <= 1 {
        begin(connection, &Ulid::generate().to_string(), 0, None).map_err(failed(OPEN))?;
    }
    let log = log(connection)?;
    let (trimmed, time_of_trimmed) = trimmed(connection)?;
    let last = last(connection)?.map(|last| (last.position.0, last.time));
    let (head, time) = last.unwrap_or((trimmed, time_of_trimmed));
    let reached = reached(connection)?;
    if reached > head {
        return Err(JournalError(format!(
            "journal.db ends at position {head} and had reached position {reached}: the blocks \
             between are missing; restore a backup of the whole directory. Nothing was changed"
        )));
    }
    Ok(Tables { log, head, time, trimmed })
}

/// Begins a log after a position; `other` is the log up to it, if that is another one.
fn begin(
    connection: &Connection,
    log: &str,
    position: u64,
    other: Option<&str>,
) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(TABLES)?;
    let sum_of_log = sum("log", &[FORMAT.cast_unsigned()], log.as_bytes());
    transaction.execute("INSERT INTO log VALUES (?1, ?2, ?3)", params![log, FORMAT, sum_of_log])?;
    let row = params![position.cast_signed(), sum("reached", &[position], &[])];
    transaction.execute("INSERT INTO reached VALUES (?1, ?2)", row)?;
    if position > 0 {
        set_trimmed(&transaction, position, 0)?;
    }
    if let Some(log) = other {
        let row = params![log, position.cast_signed()];
        transaction.execute("INSERT INTO continues VALUES (1, ?1, ?2)", row)?;
    }
    transaction.commit()
}

/// Makes the file of a log that was elsewhere up to a position, as in [`begin`].
pub(crate) fn create(
    path: &Path,
    log: &str,
    position: u64,
    other: Option<&str>,
) -> rusqlite::Result<()> {
    let connection = pragma::open_plain(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    begin(&connection, log, position, other)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalFile {
    pub(crate) log: String,
    /// The position of the oldest block; one past the head if there is none.
    pub(crate) first: Position,
    pub(crate) head: Position,
    /// The log and the position of the backup that a restore made it continue.
    pub(crate) continues: Option<(String, Position)>,
}

/// Reads what a journal holds, and changes nothing; `None` if there is no file or no log in it.
pub(crate) fn inspect(path: &Path) -> Result<Option<JournalFile>, JournalError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = pragma::open_stopped(path, &SCHEMA).map_err(failed(OPEN))?;
    let Some((log, format)) = pragma::log_of(&file).map_err(failed(OPEN))? else { return Ok(None) };
    check_format(format, FORMAT).map_err(of_format)?;
    let first = Position(trimmed(&file)?.0 + 1);
    let head = Position(head(&file).map_err(failed(OPEN))?);
    let read = |row: &Row<'_>| Ok((row.get(0)?, Position(number(row, 1)?)));
    let continues = file.query_row("SELECT log, position FROM continues", [], read).optional();
    let continues = continues.map_err(failed(OPEN))?;
    let oldest = "SELECT min(position) FROM blocks";
    let oldest: Option<i64> = file.query_row(oldest, [], |row| row.get(0)).map_err(failed(OPEN))?;
    match oldest.map(|oldest| Position(oldest.cast_unsigned())) {
        Some(oldest) if oldest != first => Err(JournalError(format!(
            "journal.db: it begins at position {oldest}, and not at {first}: blocks are missing; \
             restore a backup of the whole directory"
        ))),
        _ => Ok(Some(JournalFile { log, first, head, continues })),
    }
}

/// The last trimmed position, and the time of its block; zeros if nothing was trimmed.
fn trimmed(connection: &Connection) -> Result<(u64, u64), JournalError> {
    let read = |row: &Row<'_>| Ok((number(row, 0)?, number(row, 1)?, row.get::<_, i64>(2)?));
    let row = connection.query_row("SELECT position, time, sum FROM trimmed", [], read).optional();
    let row = row.map_err(failed_or_changed(OPEN))?;
    let Some((position, time, stored)) = row else { return Ok((0, 0)) };
    let computed = sum("trimmed", &[position, time], &[]);
    check_sum("the position that it was trimmed to", stored, computed)?;
    Ok((position, time))
}

pub(super) fn set_trimmed(
    connection: &Connection,
    position: u64,
    time: u64,
) -> rusqlite::Result<()> {
    let set = "INSERT OR REPLACE INTO trimmed VALUES (1, ?1, ?2, ?3)";
    let sum = sum("trimmed", &[position, time], &[]);
    let row = params![position.cast_signed(), time.cast_signed(), sum];
    connection.prepare_cached(set)?.execute(row).map(drop)
}

fn log(connection: &Connection) -> Result<String, JournalError> {
    let format = connection.query_row("SELECT format FROM log", [], |row| row.get::<_, i64>(0));
    let format = format.map_err(failed(OPEN))?;
    check_format(format, FORMAT).map_err(of_format)?;
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let (log, stored) = connection
        .query_row("SELECT id, sum FROM log", [], read)
        .map_err(failed_or_changed(OPEN))?;
    check_sum("the log's name", stored, sum("log", &[FORMAT.cast_unsigned()], log.as_bytes()))?;
    Ok(log)
}

fn reached(connection: &Connection) -> Result<u64, JournalError> {
    let read = |row: &Row<'_>| Ok((number(row, 0)?, row.get::<_, i64>(1)?));
    let (position, stored) = connection
        .query_row("SELECT position, sum FROM reached", [], read)
        .map_err(failed_or_changed(OPEN))?;
    check_sum("the position that it had reached", stored, sum("reached", &[position], &[]))?;
    Ok(position)
}

pub(super) fn set_reached(connection: &Connection, position: u64) -> rusqlite::Result<()> {
    if connection.query_row("SELECT position FROM reached", [], |row| number(row, 0))? == position {
        return Ok(());
    }
    let mut update = connection.prepare_cached("UPDATE reached SET position = ?1, sum = ?2")?;
    update.execute(params![position.cast_signed(), sum("reached", &[position], &[])])?;
    Ok(())
}

/// The last position, read from the tables.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let newest = "SELECT max(position) FROM (SELECT max(position) AS position FROM blocks
        UNION ALL SELECT position FROM trimmed)";
    let newest: Option<i64> = connection.query_row(newest, [], |row| row.get(0))?;
    Ok(newest.map_or(0, i64::cast_unsigned))
}

fn last(connection: &Connection) -> Result<Option<Durable>, JournalError> {
    let last = "SELECT position, time, sum, block FROM blocks ORDER BY position DESC LIMIT 1";
    let mut last = connection.prepare(last).map_err(failed(OPEN))?;
    next(&mut last.query([]).map_err(failed(OPEN))?)
}

pub(super) fn insert(
    connection: &Connection,
    position: u64,
    time: u64,
    block: &[u8],
) -> rusqlite::Result<()> {
    let sum = sum_of_block(position, time, block);
    let row = params![position.cast_signed(), time.cast_signed(), sum, block];
    connection.prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4)")?.execute(row)?;
    Ok(())
}

/// Up to `limit` blocks after a position; fewer before a damaged one.
pub(super) fn after(
    connection: &Connection,
    position: u64,
    limit: i64,
) -> Result<Vec<Durable>, JournalError> {
    let rows = "SELECT position, time, sum, block FROM blocks WHERE position > ?1
        ORDER BY position LIMIT ?2";
    let mut rows = connection.prepare_cached(rows).map_err(failed(READ))?;
    let mut rows = rows.query(params![position.cast_signed(), limit]).map_err(failed(READ))?;
    let mut blocks = Vec::new();
    loop {
        match next(&mut rows) {
            Ok(Some(block)) => blocks.push(block),
            Ok(None) => return Ok(blocks),
            // The next read begins with the damaged block, and reports it.
            Err(_) if !blocks.is_empty() => return Ok(blocks),
            Err(error) => return Err(error),
        }
    }
}

fn next(rows: &mut Rows<'_>) -> Result<Option<Durable>, JournalError> {
    let Some(row) = rows.next().map_err(failed(READ))? else { return Ok(None) };
    let columns = |row: &Row<'_>| {
        let (position, time) = (Position(number(row, 0)?), number(row, 1)?);
        let block = row.get::<_, Vec<u8>>(3)?.into();
        Ok((Durable { position, time, block }, row.get::<_, i64>(2)?))
    };
    let (durable, stored) = columns(row).map_err(failed_or_changed(READ))?;
    let Durable { position, time, block } = &durable;
    if sum_of_block(position.0, *time, block) == stored {
        return Ok(Some(durable));
    }
    Err(JournalError(format!(
        "journal.db: position {position} of the journal is not what was written: its checksum is \
         wrong; restore a backup of the whole directory. Nothing was changed"
    )))
}
