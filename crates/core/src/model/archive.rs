//! The contract of an archive: all entries by (room, slot), their ids, the heads of rooms, and the
//! journal position up to which it is complete.
//!
//! Enters: [`Window`]s of applied entries, in journal order. Leaves: pages, heads, the slots of
//! ids. Invariants: heads, proposers and `applied` change together, after the rows of the window; a
//! stored row changes only by a redaction (a window that contradicts one is an error); a page's digests
//! are verified before it is returned. `suites::archive` tests every engine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use roomlog_protocol::{Author, EntryId, RoomName, RoomRange, Slot};
use thiserror::Error;

use crate::model::{
    applied::Applied,
    commit::Commit,
    head::{Head, Known},
    journal::{Partition, Position},
    proposal::{Proposal, Stored},
};

/// The input of one fold: the commits of consecutive blocks of one partition.
#[derive(Debug, Clone)]
pub struct Window {
    /// The partition.
    pub partition: Partition,
    /// The commits, in journal order.
    pub commits: Vec<Arc<Commit>>,
    /// What the archive holds after the fold.
    pub applied: Applied,
    /// How much the fold leaves of processor and disk to appends.
    pub urgency: Urgency,
}

/// How urgent a fold is; may change during the fold.
#[derive(Debug, Clone, Default)]
pub struct Urgency(Arc<AtomicU8>);

/// Degrees of [`Urgency`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Degree {
    /// The fold pauses, so that appends hardly wait for it.
    Gentle,
    /// Someone waits for it, or more is queued: it does not pause, but yields.
    Urgent,
    /// So much is queued that appends wait for it: it does not yield either. On a busy machine a thread
    /// that yields gets a small part of its share.
    Behind,
}

impl Urgency {
    /// Urgent from the start.
    #[must_use]
    pub fn now() -> Self {
        Self(Arc::new(AtomicU8::new(Degree::Urgent as u8)))
    }

    pub(crate) fn set(&self, degree: Degree) {
        self.0.store(degree as u8, Ordering::Relaxed);
    }

    pub(crate) fn raise(&self, degree: Degree) {
        self.0.fetch_max(degree as u8, Ordering::Relaxed);
    }

    /// Whether the fold is to go on without pauses.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Degree::Urgent as u8
    }

    /// Yields the processor, unless appends wait for the fold.
    pub fn yield_now(&self) {
        if self.0.load(Ordering::Relaxed) < Degree::Behind as u8 {
            thread::yield_now();
        }
    }
}

/// The name of an append, unique forever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdKey {
    /// The room.
    pub room: RoomName,
    /// The author.
    pub author: Author,
    /// The id.
    pub id: EntryId,
}

impl IdKey {
    /// That of a proposal.
    #[must_use]
    pub(crate) fn of(proposal: &Proposal) -> Self {
        let Proposal { room, author, id, .. } = proposal;
        Self { room: room.clone(), author: author.clone(), id: id.clone() }
    }
}

/// Which end of a page to keep if it exceeds its byte limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first entries.
    Oldest,
    /// The last entries.
    Newest,
}

/// Why an archive operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveError {
    /// The engine failed.
    #[error("the archive failed: {0}")]
    Failed(String),
    /// The disk is full; the same window may be folded again.
    #[error("the archive has no room: {0}")]
    NoRoom(String),
    /// A stored entry breaks the digest chain, or two entries collide.
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

/// An archive. Reads are short and may come from many threads; folds come from one.
pub trait Archive: Send + Sync + 'static {
    /// What it holds of a partition. Fails if it cannot be read.
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError>;

    /// The head of a room; `None` if it has no entry there. Fails if it cannot be read.
    fn head(&self, room: &RoomName) -> Result<Option<Head>, ArchiveError>;

    /// The entries of `first..end`, all of which must be in the archive; if their bodies and metas
    /// exceed `bytes`: fewer, at least one, from the end that `keep` names. Fails if it cannot be
    /// read, an entry is missing, or the digests do not chain.
    fn page(
        &self,
        room: &RoomName,
        first: Slot,
        end: Slot,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError>;

    /// The entries with these ids, in the order asked; may find entries of a window that is only
    /// partly folded. Fails if it cannot be read.
    fn find(&self, keys: &[IdKey]) -> Result<Vec<Option<Known>>, ArchiveError>;

    /// The first `limit` rooms of a range, in byte order. Fails if it cannot be read.
    fn rooms(&self, range: &RoomRange, limit: usize)
    -> Result<Vec<(RoomName, Head)>, ArchiveError>;

    /// How many rooms it has, those of a fold that was cut off included. Costs the same for any
    /// number. Fails if it cannot be read.
    fn room_count(&self) -> Result<u64, ArchiveError>;

    /// Stores a window, and removes the texts that its commits remove. Returns `committed_at` of the oldest
    /// entry whose text this call removed, `None` if it removed none. Rows that are already there and equal,
    /// or equal and redacted, are skipped. May be retried after
    /// [`ArchiveError::NoRoom`]; after any other error the archive cannot be trusted: it cannot be
    /// written, or a stored row differs.
    fn fold(&self, window: &Window) -> Result<Option<u64>, ArchiveError>;

    /// Flushes all folds to stable storage and returns the position read back from there. Waits for
    /// the disk; only the folding thread may call it. Fails if it cannot be written or read.
    fn make_durable(&self, partition: Partition) -> Result<Position, ArchiveError>;

    /// Overwrites what its files hold of texts that are redacted. `false` if a reader prevents that, or
    /// the disk is full: call it again. Waits for the disk; only the folding thread may call it. Fails if
    /// the archive cannot be written.
    fn wipe(&self) -> Result<bool, ArchiveError>;
}
