//! The contract of an archive: every entry by (room, slot), the ids, the heads of rooms, and up to
//! which journal position all of that is true.
//!
//! Enters: [`Window`]s of applied entries, in the order of the journal. Leaves: pages, heads, the slots
//! of ids. Invariants: heads, proposers and `applied` move together, last; rows of a window may be
//! there before; a row that is there is never another one (a window that says otherwise is an error);
//! a page is rechained before it is given. `suites::archive` tests this for every engine.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use roomlog_protocol::{Author, EntryId, RoomName, Slot};
use thiserror::Error;

use crate::model::{
    applied::Applied,
    commit::Commit,
    head::{Head, Known},
    journal::{Partition, Position},
    proposal::Stored,
};

/// What one fold takes in: the commits of consecutive blocks of one partition.
#[derive(Debug, Clone)]
pub struct Window {
    /// The partition.
    pub partition: Partition,
    /// The commits, in the order of the journal.
    pub commits: Vec<Arc<Commit>>,
    /// What is true when they are in.
    pub applied: Applied,
    /// Whether it is waited for, or others wait behind it: then it is taken in as fast as can be, and
    /// else with pauses that leave processor and disk to those who append.
    pub hurry: Hurry,
}

/// Whether a fold hurries; it may be told so while it is under way.
#[derive(Debug, Clone, Default)]
pub struct Hurry(Arc<AtomicBool>);

impl Hurry {
    /// One that hurries from the beginning.
    #[must_use]
    pub fn now() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Says whether it hurries from now on.
    pub(crate) fn set(&self, hurries: bool) {
        self.0.store(hurries, Ordering::Relaxed);
    }

    /// Whether it hurries now.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The name of an append: unique for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdKey {
    /// The room.
    pub room: RoomName,
    /// The author.
    pub author: Author,
    /// The id.
    pub id: EntryId,
}

/// Which end of a page is kept when it has too many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first entries.
    Oldest,
    /// The last entries.
    Newest,
}

/// The archive cannot be read or written, or what it holds is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveError {
    /// The engine failed.
    #[error("the archive cannot go on: {0}")]
    Failed(String),
    /// There is no room for what was to be written; the same window may be folded again.
    #[error("the archive has no room: {0}")]
    NoRoom(String),
    /// What is stored is not what was stored: an entry that breaks the chain, or two that collide.
    #[error("the archive is damaged: room {room}, slot {slot}: {problem}")]
    Damaged {
        /// The room.
        room: RoomName,
        /// The first slot that is wrong.
        slot: Slot,
        /// What is wrong with it.
        problem: String,
    },
}

/// An archive. Reads are short and may come from many threads; one thread folds.
pub trait Archive: Send + Sync + 'static {
    /// What it has taken in of a partition.
    ///
    /// # Errors
    /// When it cannot be read.
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError>;

    /// Where a room's log ends in the archive; `None` when it has no entry there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn head(&self, room: &RoomName) -> Result<Option<Head>, ArchiveError>;

    /// The entries of `first..end`, fewer when their bodies and metas exceed `bytes` (at least one),
    /// from the end that `keep` names. All of `first..end` must be in the archive.
    ///
    /// # Errors
    /// When it cannot be read, an entry is missing, or the digests do not chain.
    fn page(
        &self,
        room: &RoomName,
        first: Slot,
        end: Slot,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError>;

    /// The entries that have these ids, in the order asked. Entries of a window that is not wholly
    /// in may be found.
    ///
    /// # Errors
    /// When it cannot be read.
    fn find(&self, keys: &[IdKey]) -> Result<Vec<Option<Known>>, ArchiveError>;

    /// Up to `limit` rooms after a name, in byte order, with their heads.
    ///
    /// # Errors
    /// When it cannot be read.
    fn rooms(
        &self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError>;

    /// Takes a window in. Rows that are there already and equal are passed over.
    ///
    /// # Errors
    /// [`ArchiveError::NoRoom`], after which it can be tried again; else it cannot be written, or a
    /// row is there and differs: nothing can be trusted then.
    fn fold(&self, window: &Window) -> Result<(), ArchiveError>;

    /// Brings all that was folded to stable storage; the position up to which that is so, as it is
    /// read back from there. Waits for the disk; only the thread that folds may ask.
    ///
    /// # Errors
    /// When it cannot be written or read.
    fn make_durable(&self, partition: Partition) -> Result<Position, ArchiveError>;
}
