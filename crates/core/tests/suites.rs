//! The engines in memory run the suites of their contracts too.

use std::sync::Arc;

use roomlog_core::{
    archive::Archive,
    journal::Journal,
    memory::{MemoryArchive, MemoryJournal},
    suites::{archive, journal},
};

struct Memory;

impl journal::Bench for Memory {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(MemoryJournal::new("log"))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

impl archive::Bench for Memory {
    fn open(&self) -> Arc<dyn Archive> {
        Arc::new(MemoryArchive::default())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_memory_journal_is_a_journal() {
    journal::run(|| Box::new(Memory)).await;
}

#[test]
fn the_memory_archive_is_an_archive() {
    archive::run(|| Box::new(Memory));
}
