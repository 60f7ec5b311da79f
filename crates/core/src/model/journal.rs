//! The contract of a journal: it makes blocks durable, in one order; only then do they exist.
//!
//! ```text
//!  propose(block) ──► Durable at a position │ Refused: nothing stored, ever │ Unanswered │ Unknown
//!  follow(after)  ──► every durable block after a position, each once, in order, for ever
//!  trim(upto)     ──► blocks that are on stable storage elsewhere go, oldest first, as it pleases
//!
//!        trimmed  │  kept                    │
//!   1 ────────────┼── first ──────── head ───┤ the next propose
//! ```
//!
//! Invariants: positions grow and are never used twice, also when nothing is kept; a block that
//! `follow` has given is never lost, and is let go of only after [`Journal::trim`] allowed it; when a
//! block is refused, every block queued behind it is refused too. `suites::journal` tests this for
//! every engine.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;

/// Where a block stands in its partition of the journal: 1, 2, 3, …; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of the journal with an order of its own. One node has one: 0.
pub type Partition = u32;

/// What a block looks like from afar: enough to tell whether a position still holds the block that was
/// read there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp(pub u64);

/// How far a partition was read, and what stood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The last position that was read.
    pub position: Position,
    /// The stamp of the block there; where it is not known it is not compared.
    pub stamp: Option<Stamp>,
}

impl From<Position> for Mark {
    fn from(position: Position) -> Self {
        Self { position, stamp: None }
    }
}

/// A block that the journal holds on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Where it stands.
    pub position: Position,
    /// The journal's time of it, ms since the epoch.
    pub time: u64,
    /// What was proposed.
    pub block: Bytes,
}

/// The outcome of a propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposed {
    /// It is durable.
    Durable(Position),
    /// Nothing of it is stored, nor ever will be, nor of any block queued behind it: no room.
    Refused(String),
    /// No answer has come: it may be stored, or be stored later. Whoever proposed it proposes the same
    /// bytes again, and those behind it, until they come back: each takes effect once.
    Unanswered(String),
    /// It may be stored, and the journal cannot be trusted any more.
    Unknown(String),
}

/// The journal cannot be read, or is not what it says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the journal cannot go on: {0}")]
pub struct JournalError(pub String);

/// What a journal on other machines counts since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalCounts {
    /// Connections to it, the first included.
    pub connections: u64,
    /// Readers that were silent, behind or broken and were replaced.
    pub readers_replaced: u64,
    /// Times that another server was seen to lead a partition.
    pub leader_changes: u64,
    /// Servers that were last seen to ack before they fsync, or to be too old.
    pub untrusted_servers: u64,
}

/// What a journal is. None of it changes while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFacts {
    /// The name of the log: made with the journal, kept through restarts.
    pub log: String,
    /// How many partitions it has, numbered from 0; at least 1.
    pub partitions: u32,
    /// How many blocks it takes at once. No more are proposed, except those that are proposed again.
    pub depth: usize,
    /// Whether `propose` waits for the disk before it returns: then its caller has its own thread.
    pub is_blocking: bool,
    /// Whether other nodes propose to it too. Then its head may be behind what others were acked, and
    /// only a block of a node's own that comes back shows that the node has caught up.
    pub is_shared: bool,
    /// Whether only this log's nodes can write to it. Then foreign bytes are damage; else they are
    /// skipped.
    pub is_exclusive: bool,
}

/// A journal. A wrapper implements every method: none has a default.
pub trait Journal: Send + Sync + 'static {
    /// What it is.
    fn facts(&self) -> &JournalFacts;

    /// How this node speaks to the others that follow it; `None` if there are none.
    fn peers(&self) -> Option<Arc<dyn Peers>>;

    /// What it counts since it was opened; `None` if it is on this machine.
    fn counts(&self) -> Option<JournalCounts>;

    /// Makes a block durable. Blocks take effect in the order of the calls.
    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed>;

    /// The blocks after a position, as they become durable. What was trimmed it cannot
    /// give: that is an error, or, where the block is still in memory, none. So is another block at
    /// that position than the one its stamp says: the journal was set back.
    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow>;

    /// The position of the last durable block; of a shared journal, one that was the last.
    ///
    /// # Errors
    /// When the journal cannot be read.
    fn head(&self, partition: Partition) -> Result<Position, JournalError>;

    /// The position of the oldest block that it keeps: 1 until it was trimmed, one past the head when
    /// it keeps none.
    ///
    /// # Errors
    /// When the journal cannot be read.
    fn first(&self, partition: Partition) -> Result<Position, JournalError>;

    /// Whether it keeps more than it was set to keep: then a fold on stable storage is worth its
    /// fsync, because [`Journal::trim`] can follow it. One that is never trimmed says `false`.
    fn has_surplus(&self, partition: Partition) -> bool;

    /// Allows it to let go of the blocks up to and including this position: an archive has what they
    /// did on stable storage, read back. It does so when it likes, oldest first, down to what it was
    /// set to keep. Does not wait for the disk.
    fn trim(&self, partition: Partition, upto: Position);
}

/// The other nodes that follow a journal. What is said may be lost, and nobody waits for it.
pub trait Peers: Send + Sync {
    /// Says something to all who hear, itself among them.
    fn tell(&self, said: Bytes) -> BoxFuture<'_, ()>;

    /// Begins to hear.
    fn hear(&self) -> BoxFuture<'_, Box<dyn Hear>>;
}

/// Who hears what nodes say.
pub trait Hear: Send {
    /// The next that is said; waits for it, for ever when there is nothing more. Dropping the future loses
    /// nothing.
    fn next(&mut self) -> BoxFuture<'_, Bytes>;
}

/// A reader of one partition.
pub trait Follow: Send {
    /// The next durable block; waits for it. Dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>>;
}
