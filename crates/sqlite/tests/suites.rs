//! The engines run the suites of their contracts.

use std::sync::Arc;

use roomlog_core::{
    archive::Archive,
    journal::Journal,
    suites::{archive, journal},
};
use roomlog_sqlite::{SqliteArchive, SqliteJournal};
use tempfile::TempDir;

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
}

impl journal::Bench for Directory {
    fn open(&self) -> Arc<dyn Journal> {
        let path = self.0.path().join("journal.db");
        Arc::new(SqliteJournal::open_keeping(&path, 0).expect("a journal"))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl archive::Bench for Directory {
    fn open(&self) -> Arc<dyn Archive> {
        let path = self.0.path().join("archive.db");
        Arc::new(SqliteArchive::open(&path, "log").expect("an archive"))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn the_sqlite_journal_is_a_journal() {
    journal::run(|| Box::new(Directory::new())).await;
}

#[test]
fn the_sqlite_archive_is_an_archive() {
    archive::run(|| Box::new(Directory::new()));
}
