//! The engines run the suites of their contracts.

use std::sync::Arc;

use roomlog_core::{archive::Archive, journal::Journal};
use roomlog_sqlite::{SegmentJournal, SqliteArchive};
use roomlog_testkit::suites::{archive, journal};
use tempfile::TempDir;

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
}

impl journal::Engine for Directory {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(SegmentJournal::open_keeping(self.0.path(), 0).expect("a journal"))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl archive::Engine for Directory {
    fn open(&self) -> Arc<dyn Archive> {
        let path = self.0.path().join("archive.db");
        Arc::new(SqliteArchive::open(&path, "log").expect("an archive"))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

roomlog_testkit::journal_suite!(journal_contract, Directory::new());

roomlog_testkit::archive_suite!(archive_contract, Directory::new());
