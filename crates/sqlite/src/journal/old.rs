//! The journal of format 3: `journal.db`, a SQLite file with a row per block. It is copied into segments.
//!
//! ```text
//!  journal.db ──► journal-00000001, … ──► synced ──► journal.db is removed
//! ```
//!
//! Enters: a file that a stopped process left. Leaves: segments, and no such file. Invariants: as long as
//! `journal.db` is there, it is the journal, and segments beside it are of a copy that was cut off; its rows
//! are compared with their checksums, so what is damaged is refused and not copied.

use std::{fs, path::Path};

use roomlog_core::journal::{Durable, JournalError, Position};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    begin::{create, go_on, look_again},
    format::FORMAT as SEGMENTS,
    look::{self, JournalFile},
    segment,
};
use crate::{
    error::{check_format, sentence},
    files::{self, BLANK, DATABASE_PARTS, OLD_JOURNAL, segment_name},
    pragma::{self, Durability},
    schema::Schema,
    wal,
};

const SCHEMA: Schema = Schema { tables: TABLES, format: FORMAT };

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

const FORMAT: i64 = 3;

/// How many rows are read at once.
const ROWS: i64 = 64;

fn failed(error: rusqlite::Error) -> JournalError {
    match error {
        error @ (rusqlite::Error::SqliteFailure(..) | rusqlite::Error::QueryReturnedNoRows) => {
            JournalError(format!("{OLD_JOURNAL}: cannot be opened: {}", sentence(&error)))
        }
        // A value of another type than its column's.
        error => changed(&format!("a row ({error})")),
    }
}

fn changed(what: &str) -> JournalError {
    JournalError(format!(
        "{OLD_JOURNAL}: {what} is not what was written; restore a backup of the whole directory. It was \
         not changed"
    ))
}

/// A checksum over parts, each of which has a fixed length or is the last.
fn check(
    what: &str,
    kind: &str,
    numbers: &[u64],
    bytes: &[u8],
    stored: i64,
) -> Result<(), JournalError> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(kind.as_bytes());
    numbers.iter().for_each(|number| crc.update(&number.to_be_bytes()));
    crc.update(bytes);
    if i64::from(crc.finalize()) == stored { Ok(()) } else { Err(changed(what)) }
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

struct Old {
    file: Connection,
    log: String,
    /// The last trimmed position, and the time of its block.
    trimmed: (u64, u64),
    head: u64,
}

impl Old {
    /// Opens it, if it holds a log.
    fn open(directory: &Path) -> Result<Option<Self>, JournalError> {
        let path = directory.join(OLD_JOURNAL);
        if !path.exists() {
            return Ok(None);
        }
        let file = pragma::open_stopped(&path, &SCHEMA).map_err(failed)?;
        let Some((log, format)) = pragma::log_of(&file).map_err(failed)? else { return Ok(None) };
        if format != FORMAT {
            let why = check_format(format, SEGMENTS.into());
            return Err(why.map_or_else(
                |why| JournalError(format!("{OLD_JOURNAL}: {why}")),
                |()| changed("its format"),
            ));
        }
        let one = |sql: &str| {
            file.query_row(sql, [], |row| row.get::<_, i64>(0)).optional().map_err(failed)
        };
        let sum = one("SELECT sum FROM log")?.unwrap_or_default();
        check("the log's name", "log", &[FORMAT.cast_unsigned()], log.as_bytes(), sum)?;
        let row = |row: &Row<'_>| Ok((number(row, 0)?, number(row, 1)?, row.get::<_, i64>(2)?));
        let trimmed = file.query_row("SELECT position, time, sum FROM trimmed", [], row).optional();
        let trimmed = match trimmed.map_err(failed)? {
            Some((position, time, sum)) => {
                let what = "the position that it was trimmed to";
                check(what, "trimmed", &[position, time], &[], sum)?;
                (position, time)
            }
            None => (0, 0),
        };
        let row = |row: &Row<'_>| Ok((number(row, 0)?, row.get::<_, i64>(1)?));
        let (reached, sum) =
            file.query_row("SELECT position, sum FROM reached", [], row).map_err(failed)?;
        check("the position that it had reached", "reached", &[reached], &[], sum)?;
        let newest = one("SELECT position FROM blocks ORDER BY position DESC LIMIT 1")?;
        let head = newest.map_or(trimmed.0, i64::cast_unsigned);
        let count = one("SELECT count(*) FROM blocks")?.map_or(0, i64::cast_unsigned);
        if reached > head || count != head.saturating_sub(trimmed.0) {
            return Err(JournalError(format!(
                "{OLD_JOURNAL}: of positions {} to {head} it holds {count}, and it had reached position \
                 {reached}: blocks are missing; restore a backup of the whole directory. Nothing was \
                 changed",
                trimmed.0 + 1
            )));
        }
        Ok(Some(Self { file, log, trimmed, head }))
    }

    fn continues(&self) -> Result<Option<(String, u64)>, JournalError> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, number(row, 1)?));
        let continues = self.file.query_row("SELECT log, position FROM continues", [], read);
        continues.optional().map_err(failed)
    }

    fn after(&self, position: u64) -> Result<Vec<Durable>, JournalError> {
        let rows = "SELECT position, time, sum, block FROM blocks WHERE position > ?1
            ORDER BY position LIMIT ?2";
        let mut statement = self.file.prepare_cached(rows).map_err(failed)?;
        let rows = statement.query_map(params![position.cast_signed(), ROWS], |row| {
            let (position, time) = (Position(number(row, 0)?), number(row, 1)?);
            let block = row.get::<_, Vec<u8>>(3)?.into();
            Ok((Durable { position, time, block }, row.get(2)?))
        });
        let checked = |row: rusqlite::Result<(Durable, i64)>| {
            let (durable, sum) = row.map_err(failed)?;
            let Durable { position, time, block } = &durable;
            let what = format!("position {position} of the journal");
            check(&what, "block", &[position.0, *time], block, sum)?;
            Ok(durable)
        };
        rows.map_err(failed)?.map(checked).collect()
    }
}

/// What the journal of a stopped directory holds; changes nothing. `None` if there is no log.
pub(crate) fn inspect(directory: &Path) -> Result<Option<JournalFile>, JournalError> {
    let Some(old) = Old::open(directory)? else { return look::inspect(directory) };
    let continues = old.continues()?.map(|(log, position)| (log, Position(position)));
    let (first, head) = (Position(old.trimmed.0 + 1), Position(old.head));
    Ok(Some(JournalFile { log: old.log, first, head, continues }))
}

/// Refuses a WAL of `journal.db` that SQLite would cut.
pub(crate) fn scan_wal(directory: &Path) -> Result<(), JournalError> {
    let path = directory.join(OLD_JOURNAL);
    wal::scan(&path, Durability::Full).map_err(|why| JournalError(why.to_string()))
}

/// Copies it into segments and removes it, if it is there.
pub(super) fn migrate(directory: &Path, keep: u64) -> Result<(), JournalError> {
    let io = |error| segment::failed(OLD_JOURNAL, "cannot be copied into segments", &error);
    if directory.join(OLD_JOURNAL).exists() {
        scan_wal(directory)?;
        if let Some(old) = Old::open(directory)? {
            tracing::info!("{OLD_JOURNAL} is copied into segments, once");
            copy(directory, keep, &old)?;
        }
        // At once, and before its WAL, without which it would lack the newest blocks.
        let blank = directory.join(BLANK);
        fs::rename(directory.join(OLD_JOURNAL), &blank)
            .and_then(|()| files::sync(directory))
            .and_then(|()| segment::erase(&blank))
            .map_err(io)?;
    } else if files::segments(directory).map_err(io)?.is_empty() {
        // A WAL alone is refused.
        return scan_wal(directory);
    }
    let parts = DATABASE_PARTS.iter().map(|part| directory.join(format!("{OLD_JOURNAL}{part}")));
    parts.into_iter().try_for_each(|part| segment::erase(&part)).map_err(io)
}

fn copy(directory: &Path, keep: u64, old: &Old) -> Result<(), JournalError> {
    let io = |error| segment::failed(OLD_JOURNAL, "cannot be copied into segments", &error);
    for number in files::segments(directory).map_err(io)? {
        segment::erase(&directory.join(segment_name(number))).map_err(io)?;
    }
    let continues = old.continues()?.map(|(log, _)| log);
    let first = directory.join(segment_name(1));
    create(&first, &old.log, old.trimmed, continues.as_deref(), keep).map_err(io)?;
    let (_, mut writer) = go_on(directory, &look_again(directory)?, keep)?;
    let mut at = old.trimmed.0;
    while at < old.head {
        for durable in old.after(at)? {
            at = durable.position.0;
            let copied = writer.copy(durable);
            copied.map_err(|why| JournalError(format!("{OLD_JOURNAL}: {why}")))?;
        }
    }
    writer.end().map_err(io)
}
