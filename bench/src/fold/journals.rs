//! Journals that are not the node's own: what its acks would be on another one.
//!
//! Enters: blocks. Leaves: the same, from memory. Invariant: a block that is given back was made durable
//! as far as the engine does that; nothing can be read after a restart.

use std::{io, path::Path};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use roomlog_core::journal::{Follow, Journal, JournalError, Mark, Partition, Position, Proposed};
use roomlog_testkit::memory::MemoryJournal;

use crate::segments::{SHAPE, Segments};

/// What makes blocks durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// The node's own.
    Sqlite,
    /// Prewritten segments.
    Prewritten,
    /// Nothing does.
    Nowhere,
}

/// A journal whose blocks are given back from memory.
pub(super) struct Remembered {
    blocks: MemoryJournal,
    segments: Option<Mutex<Segments>>,
}

impl Remembered {
    /// An empty journal of a log of this name.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub(super) fn new(engine: Engine, log: &str, dir: &Path) -> io::Result<Self> {
        let segments = match engine {
            Engine::Prewritten => Some(Mutex::new(Segments::new(dir, SHAPE)?)),
            Engine::Sqlite | Engine::Nowhere => None,
        };
        Ok(Self { blocks: MemoryJournal::new(log), segments })
    }
}

impl Journal for Remembered {
    fn log(&self) -> &str {
        self.blocks.log()
    }

    fn depth(&self) -> usize {
        1
    }

    fn is_ours_alone(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let written = self.segments.as_ref().map(|segments| segments.lock().append(block.clone()));
        match written.transpose() {
            Ok(_) => self.blocks.propose(partition, block),
            Err(error) => futures_util::future::ready(Proposed::Unknown(error.to_string())).boxed(),
        }
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        self.blocks.follow(partition, after)
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        self.blocks.head(partition)
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        self.blocks.first(partition)
    }

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}
}
