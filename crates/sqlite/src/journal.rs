//! The journal of one node: segments, which are files that were filled with zeros before.
//!
//! ```text
//!  propose ──► a record, one fdatasync, on the caller's thread ──► recent ──► followers
//!                       └─► journal-00000007, its last segment ──► records ──┘ (those behind)
//!
//!  journal-00000003 … 00000006     trimmed from the oldest on, and wiped
//!  journal-00000008                zeros, for the next blocks
//! ```
//!
//! Invariants: positions are 1, 2, 3, … without gaps, and continue after a trim; `propose` returns when the
//! block is on stable storage, so the sequencer calls it on a thread that may wait; after an error that leaves
//! an outcome unknown, every propose fails. Rules of what a crash can leave are in `scan`, the bytes in
//! `format`.

mod begin;
mod follow;
mod format;
mod look;
mod old;
mod records;
mod scan;
mod segment;
mod shared;
mod tidy;
mod wipe;
mod writer;

use std::{collections::VecDeque, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use roomlog_core::journal::{
    Durable, Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
    Position, Proposed, Wipe,
};
use tokio::sync::watch;

pub(crate) use self::{
    begin::create,
    look::{JournalFile, newest},
    old::{inspect, scan_wal},
    writer::now_ms,
};
use self::{follow::SegmentFollow, shared::Shared, tidy::AskTrim, writer::BlockWriter};

/// How much of the journal is kept by default, in bytes: minutes of a busy log, all of a young one.
pub const JOURNAL_BYTES: u64 = 256 << 20;

/// The journal of one node.
pub struct SegmentJournal {
    facts: JournalFacts,
    shared: Arc<Shared>,
    writer: Mutex<BlockWriter>,
    head: watch::Receiver<u64>,
    recent: Arc<Mutex<VecDeque<Durable>>>,
    ask_trim: AskTrim,
}

impl SegmentJournal {
    /// Opens the journal in a directory; if there is none, begins a new log. What an earlier process left is
    /// on stable storage when this returns; a journal of format 3, a SQLite file, is copied into segments.
    ///
    /// # Errors
    /// A file cannot be opened, has another format, or was changed.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        Self::open_keeping(directory, JOURNAL_BYTES)
    }

    /// As [`SegmentJournal::open`]; blocks that may be trimmed are trimmed while the segments take more than
    /// `keep` bytes.
    ///
    /// # Errors
    /// As [`SegmentJournal::open`].
    pub fn open_keeping(directory: &Path, keep: u64) -> Result<Self, JournalError> {
        old::migrate(directory, keep)?;
        let found = match look::look(directory)? {
            Some(found) => found,
            None => begin::new_log(directory, keep)?,
        };
        let (log, writer) = begin::go_on(directory, &found, keep)?;
        let facts = JournalFacts {
            log,
            partitions: 1,
            // `propose` writes: what is queued meanwhile makes the next block larger.
            depth: 1,
            is_blocking: true,
            head_is_exact: true,
            is_exclusive: true,
        };
        Ok(Self {
            facts,
            shared: writer.shared.clone(),
            head: writer.moved.subscribe(),
            recent: writer.recent.clone(),
            ask_trim: writer.tidy.ask_trim(),
            writer: Mutex::new(writer),
        })
    }

    /// Keeps all blocks as long as the result exists.
    #[must_use]
    pub fn hold_trim(&self) -> Arc<()> {
        self.shared.hold()
    }
}

impl Drop for SegmentJournal {
    fn drop(&mut self) {
        let _or_the_next_start_finds_it = self.writer.get_mut().end();
    }
}

impl Journal for SegmentJournal {
    fn facts(&self) -> &JournalFacts {
        &self.facts
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        None
    }

    fn counts(&self) -> Option<JournalCounts> {
        None
    }

    fn propose(&self, _: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        futures_util::future::ready(self.writer.lock().write(block)).boxed()
    }

    fn follow(&self, _: Partition, after: Mark) -> Box<dyn Follow> {
        Box::new(SegmentFollow {
            shared: self.shared.clone(),
            head: self.head.clone(),
            recent: self.recent.clone(),
            records: None,
            after: after.position.0,
        })
    }

    fn head(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(*self.head.borrow()))
    }

    fn first(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(self.shared.first()))
    }

    fn has_surplus(&self, _: Partition) -> bool {
        self.shared.has_surplus()
    }

    fn trim(&self, _: Partition, upto: Position) {
        self.shared.allow(upto.0);
        if self.shared.surplus().is_some() {
            self.ask_trim.ask();
        }
    }

    fn wipe(&self, _: Partition, wipe: &Wipe) -> Result<bool, JournalError> {
        self.shared.allow(wipe.upto.0);
        // Not held meanwhile: the writer waits for it.
        let head = *self.head.borrow();
        self.shared.wipe(wipe.upto.0, head)
    }
}
