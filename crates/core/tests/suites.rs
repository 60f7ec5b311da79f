//! The engines in memory run the suites of their contracts too.

use std::sync::Arc;

use roomlog_core::{archive::Archive, journal::Journal};
use roomlog_testkit::{
    memory::{MemoryArchive, MemoryJournal},
    suites::{archive, journal},
};

struct Memory;

impl journal::Engine for Memory {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(MemoryJournal::new("log"))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

impl archive::Engine for Memory {
    fn open(&self) -> Arc<dyn Archive> {
        Arc::new(MemoryArchive::default())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

roomlog_testkit::journal_suite!(journal_contract, Memory);

roomlog_testkit::archive_suite!(archive_contract, Memory);
