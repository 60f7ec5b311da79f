//! What of the archive is on stable storage: the mark that the journal may be trimmed up to.
//!
//! Enters: the writer, between two folds. Leaves: a position that a commit with `synchronous=FULL` has
//! brought to stable storage, with everything before it, read back by another connection. Invariant:
//! the writer is at NORMAL again when this returns, or the mark has failed.
//!
//! Folds commit with NORMAL: a power cut may take the newest of them back. A WAL is synced as a whole, so
//! one small commit with FULL behind them makes them all durable.

use roomlog_core::journal::{Partition, Position};
use rusqlite::{Connection, OptionalExtension, params};

const FULL: i64 = 2;
const NORMAL: i64 = 1;

/// Moves the mark to what was applied.
pub(super) fn mark(
    writer: &Connection,
    partition: Partition,
    applied: Position,
) -> rusqlite::Result<()> {
    set(writer, FULL)?;
    // Were it there already, nothing would be written, and nothing synced; nor need it be.
    let moved = writer.execute(
        "INSERT INTO durable VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET position = excluded.position",
        params![partition, applied.0.cast_signed()],
    );
    set(writer, NORMAL)?;
    moved.map(drop)
}

/// Reads the mark.
pub(super) fn read(reader: &Connection, partition: Partition) -> rusqlite::Result<Position> {
    let mark = "SELECT position FROM durable WHERE partition = ?1";
    let mark: Option<i64> = reader.query_row(mark, [partition], |row| row.get(0)).optional()?;
    Ok(Position(mark.unwrap_or(0).cast_unsigned()))
}

fn set(writer: &Connection, level: i64) -> rusqlite::Result<()> {
    writer.pragma_update(None, "synchronous", level)?;
    let set: i64 = writer.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if set == level {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
        Some(format!("synchronous is {set}, not {level}")),
    ))
}
