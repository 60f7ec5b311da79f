//! The tables of `journal.db`: what is written, and that what is read is just that.
//!
//! Enters: blocks. Leaves: the same, or an error that says which position is not what was written.
//! Invariants: every row has a checksum over all of it, and where it stands is a part of what is
//! summed; `reached` is a position that the file had at least: it is written with the first block of
//! each round of the WAL and when the file is opened and closed, so what it does not cover is in the
//! WAL, whose end the scan finds. So the last rows cannot go missing unseen either.

use std::path::Path;

use roomlog_core::journal::{Durable, JournalError, Position};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::failed;
use crate::{node_file::new_ulid, peek};

const SCHEMA: &str = "
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

/// The format of `journal.db`. 1 had no checksums, and was never released.
pub(crate) const FORMAT: i64 = 2;

/// What a journal is when it is opened.
pub(super) struct Opened {
    pub(super) log: String,
    /// The last position, 0 when there is none.
    pub(super) head: u64,
    /// Its time.
    pub(super) time: u64,
    /// Up to which position blocks were trimmed.
    pub(super) trimmed: u64,
}

/// A checksum over parts, each of which has a length of its own or is the last.
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

/// Reads what the file says of itself, and its last row; makes a new log in an empty file.
pub(super) fn open(connection: &Connection) -> Result<Opened, JournalError> {
    let open = |error: rusqlite::Error| failed("cannot be opened", &error);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(open)?;
    let pages: i64 =
        connection.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(open)?;
    // SQLite makes the first page before there is a table.
    if tables == 0 && pages <= 1 {
        make_log(connection, &new_ulid().to_string(), 0, None).map_err(open)?;
    }
    let log = log(connection)?;
    let (trimmed, time_of_trimmed) = trimmed(connection)?;
    let last = last(connection)?.map(|last| (last.position.0, last.time));
    let (head, time) = last.unwrap_or((trimmed, time_of_trimmed));
    let reached = reached(connection)?;
    if reached > head {
        return Err(JournalError(format!(
            "journal.db ends at position {head} and had reached position {reached}: what is between \
             is gone; restore a backup of the whole directory. Nothing was changed"
        )));
    }
    Ok(Opened { log, head, time, trimmed })
}

/// Makes the tables of a log whose next block is one past a position; `other` is the log that had those
/// before, when it was another one.
fn make_log(
    connection: &Connection,
    log: &str,
    position: u64,
    other: Option<&str>,
) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
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

/// Makes the file of a new log that goes on behind a position of another one: the next block is one past
/// it. Nobody may have it open.
pub(crate) fn begin_behind(path: &Path, log: &str, position: u64) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    make_log(&connection, &new_ulid().to_string(), position, Some(log))
}

/// Makes the file of a log that was elsewhere up to a position: the next block is one past it. Nobody may
/// have it open.
pub(crate) fn begin_same(path: &Path, log: &str, position: u64) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    make_log(&connection, log, position, None)
}

/// Up to which position blocks went, and the time of the last of them; zeros when none did.
fn trimmed(connection: &Connection) -> Result<(u64, u64), JournalError> {
    let read = |row: &Row<'_>| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok((number(0)?, number(1)?, row.get::<_, i64>(2)?))
    };
    let row = connection.query_row("SELECT position, time, sum FROM trimmed", [], read).optional();
    let row = row.map_err(damaged_or(|error| failed("cannot be opened", &error)))?;
    match row {
        None => Ok((0, 0)),
        Some((position, time, there)) if sum("trimmed", &[position, time], &[]) == there => {
            Ok((position, time))
        }
        Some(_) => Err(JournalError(
            "journal.db: the position that it was trimmed to is not what was written; restore a \
             backup of the whole directory"
                .into(),
        )),
    }
}

/// Notes up to which position blocks went.
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
    let open = |error: rusqlite::Error| failed("cannot be opened", &error);
    let format = connection.query_row("SELECT format FROM log", [], |row| row.get::<_, i64>(0));
    let format = format.map_err(open)?;
    if format != FORMAT {
        return Err(JournalError(peek::unknown_format("journal.db", format, FORMAT)));
    }
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let (log, there) =
        connection.query_row("SELECT id, sum FROM log", [], read).map_err(damaged_or(open))?;
    if sum("log", &[FORMAT.cast_unsigned()], log.as_bytes()) == there {
        return Ok(log);
    }
    Err(JournalError(
        "journal.db: the log's name is not what was written; restore a backup of the whole directory"
            .into(),
    ))
}

/// An error of the file; what it holds is of another type only when it was changed.
fn damaged_or(
    or: impl Fn(rusqlite::Error) -> JournalError,
) -> impl Fn(rusqlite::Error) -> JournalError {
    move |error| match error {
        error @ (rusqlite::Error::SqliteFailure(..) | rusqlite::Error::QueryReturnedNoRows) => {
            or(error)
        }
        error => JournalError(format!(
            "journal.db: a row is not what was written: {error}; restore a backup of the whole \
             directory"
        )),
    }
}

fn reached(connection: &Connection) -> Result<u64, JournalError> {
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?));
    let there = connection.query_row("SELECT position, sum FROM reached", [], read);
    let (position, there) =
        there.map_err(damaged_or(|error| failed("cannot be opened", &error)))?;
    if sum("reached", &[position], &[]) == there {
        return Ok(position);
    }
    Err(JournalError(
        "journal.db: the position that it had reached is not what was written; restore a backup of \
         the whole directory"
            .into(),
    ))
}

/// Notes that the file has reached a position.
pub(super) fn set_reached(connection: &Connection, position: u64) -> rusqlite::Result<()> {
    let read = |row: &Row<'_>| row.get::<_, i64>(0);
    if connection.query_row("SELECT position FROM reached", [], read)? == position.cast_signed() {
        return Ok(());
    }
    let mut update = connection.prepare_cached("UPDATE reached SET position = ?1, sum = ?2")?;
    update.execute(params![position.cast_signed(), sum("reached", &[position], &[])])?;
    Ok(())
}

/// The last position, as it stands there.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let newest = "SELECT max(position) FROM (SELECT max(position) AS position FROM blocks
        UNION ALL SELECT position FROM trimmed)";
    let newest: Option<i64> = connection.query_row(newest, [], |row| row.get(0))?;
    Ok(newest.map_or(0, i64::cast_unsigned))
}

fn last(connection: &Connection) -> Result<Option<Durable>, JournalError> {
    let open = |error: rusqlite::Error| failed("cannot be opened", &error);
    let last = "SELECT position, time, sum, block FROM blocks ORDER BY position DESC LIMIT 1";
    let mut last = connection.prepare(last).map_err(open)?;
    next(&mut last.query([]).map_err(open)?)
}

/// Adds a block.
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

/// Up to `limit` blocks after a position, as far as they are what was written.
pub(super) fn after(
    connection: &Connection,
    position: u64,
    limit: i64,
) -> Result<Vec<Durable>, JournalError> {
    let read = |error: rusqlite::Error| failed("cannot be read", &error);
    let rows = "SELECT position, time, sum, block FROM blocks WHERE position > ?1
        ORDER BY position LIMIT ?2";
    let mut rows = connection.prepare_cached(rows).map_err(read)?;
    let mut rows = rows.query(params![position.cast_signed(), limit]).map_err(read)?;
    let mut blocks = Vec::new();
    loop {
        match next(&mut rows) {
            Ok(Some(block)) => blocks.push(block),
            Ok(None) => return Ok(blocks),
            // Those before it are given; it is met again as the first of the next read.
            Err(_) if !blocks.is_empty() => return Ok(blocks),
            Err(error) => return Err(error),
        }
    }
}

fn next(rows: &mut Rows<'_>) -> Result<Option<Durable>, JournalError> {
    let read = |error: rusqlite::Error| failed("cannot be read", &error);
    let Some(row) = rows.next().map_err(read)? else { return Ok(None) };
    let durable = |row: &Row<'_>| {
        let durable = Durable {
            position: Position(row.get::<_, i64>(0)?.cast_unsigned()),
            time: row.get::<_, i64>(1)?.cast_unsigned(),
            block: row.get::<_, Vec<u8>>(3)?.into(),
        };
        Ok((durable, row.get::<_, i64>(2)?))
    };
    let (durable, there) = durable(row).map_err(damaged_or(read))?;
    let Durable { position, time, block } = &durable;
    if sum_of_block(position.0, *time, block) == there {
        return Ok(Some(durable));
    }
    Err(JournalError(format!(
        "journal.db: position {position} of the journal is not what was written: its checksum is \
         wrong; restore a backup of the whole directory. Nothing was changed"
    )))
}
