//! An archive's file, read by a test while the archive has it open.

use std::path::PathBuf;

use roomlog_sqlite::SqliteArchive;
use rusqlite::Connection;
use tempfile::TempDir;

/// An archive's file in a directory of its own.
pub(crate) struct File(TempDir);

impl File {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("archive.db")
    }

    pub(crate) fn open(&self) -> SqliteArchive {
        SqliteArchive::open(&self.path(), "log").expect("an archive")
    }

    pub(crate) fn execute(&self, sql: &str) {
        let connection = Connection::open(self.path()).expect("the file");
        connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
