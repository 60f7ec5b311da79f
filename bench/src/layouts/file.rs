//! A SQLite file, set up as the product sets its archive up.
//!
//! Enters: a path, a schema. Leaves: a connection that writes and one that reads. Invariant: what is
//! the same for all layouts is here, and is what `crates/sqlite` has: WAL, synchronous = NORMAL, the
//! page size, when the WAL is copied, how much one transaction writes.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Outcome;

const PAGE_BYTES: i64 = 8_192;
const WAL_PAGES: i64 = 512;
/// The writer's page cache; readers have SQLite's default of 2 MiB.
pub(super) const WRITER_CACHE_KIB: i64 = 65_536;
/// How many entries, or ids, one transaction writes at least, when there are as many.
pub(super) const ROWS_A_TRANSACTION: usize = 4_096;
const STATEMENTS: usize = 32;

/// A file with its two connections.
pub(super) struct File {
    pub(super) writer: Connection,
    pub(super) reader: Connection,
}

impl File {
    /// A new file.
    pub(super) fn new(path: &Path, cache_kib: i64, schema: &str) -> Outcome<Self> {
        let writer = Connection::open(path)?;
        writer.pragma_update(None, "page_size", PAGE_BYTES)?;
        let mode: String =
            writer.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(format!("journal_mode is {mode}, not wal").into());
        }
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        writer.pragma_update(None, "cache_size", -cache_kib)?;
        writer.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        writer.execute_batch(schema)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags)?;
        for connection in [&writer, &reader] {
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
        }
        Ok(Self { writer, reader })
    }

    /// Puts pieces in, each with its number of rows, in transactions of some thousand rows.
    pub(super) fn put<T>(
        &self,
        pieces: impl Iterator<Item = (usize, T)>,
        mut put: impl FnMut(&Connection, T) -> Outcome<()>,
    ) -> Outcome<()> {
        let begin = || self.writer.unchecked_transaction();
        let (mut transaction, mut rows) = (begin()?, 0);
        for (weight, piece) in pieces {
            put(&transaction, piece)?;
            rows += weight;
            if rows >= ROWS_A_TRANSACTION {
                transaction.commit()?;
                (transaction, rows) = (begin()?, 0);
            }
        }
        Ok(transaction.commit()?)
    }
}
