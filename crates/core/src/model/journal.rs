//! The contract of a journal: it makes blocks durable in one order; a block exists only then.
//!
//! ```text
//!  propose(block) ──► Durable at a position │ Refused: not stored, ever │ Unknown
//!  follow(after)  ──► every durable block after a position, once, in order, without end
//!  trim(upto)     ──► allows removal of the oldest blocks, which an archive has
//!  wipe(upto)     ──► removes texts that are redacted now, from its files too
//!
//!        trimmed  │  kept                    │
//!   1 ────────────┼── first ──────── head ───┤ the next propose
//! ```
//!
//! Invariants: positions grow and are never reused, even if no block is kept; a block that `follow`
//! returned is never lost, and is removed only after [`Journal::trim`] allowed it; if a block is
//! refused, so is every block queued behind it. A journal whose answers can be lost sends a block
//! again until it knows the outcome. `suites::journal` tests every engine.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::model::proposal::Proposal;

/// The position of a block in its partition: 1, 2, 3, …; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition, which has an order of its own. A single node has only 0.
pub type Partition = u32;

/// A fingerprint of a block, to detect that a position holds a different one than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp(pub u64);

/// How far a partition was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The last position read.
    pub position: Position,
    /// The stamp of the block there; `None` skips the comparison.
    pub stamp: Option<Stamp>,
}

impl From<Position> for Mark {
    fn from(position: Position) -> Self {
        Self { position, stamp: None }
    }
}

/// A block on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Its position.
    pub position: Position,
    /// The journal's time, ms since the epoch.
    pub time: u64,
    /// The proposed bytes.
    pub block: Bytes,
}

/// The outcome of a propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposed {
    /// It is durable.
    Durable(Position),
    /// No room: neither it nor any block queued behind it is stored, now or later.
    Refused(String),
    /// It may be stored, and the journal can no longer be trusted.
    Unknown(String),
}

/// The journal cannot be read or is inconsistent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the journal failed: {0}")]
pub struct JournalError(pub String);

/// Counters of a remote journal since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalCounts {
    /// Connections made to it, including the first.
    pub connections: u64,
    /// Readers replaced because they were silent, behind or broken.
    pub readers_replaced: u64,
    /// Times that a partition got a new leader.
    pub leader_changes: u64,
    /// Rounds in which all unanswered blocks were sent again.
    pub resends: u64,
    /// Servers last seen to ack before fsync, or to run a version that is too old.
    pub untrusted_servers: u64,
}

/// Properties of a journal that do not change while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFacts {
    /// The name of the log, created with the journal and kept across restarts.
    pub log: String,
    /// The number of partitions, at least 1.
    pub partitions: u32,
    /// The most blocks proposed and not answered.
    pub depth: usize,
    /// Whether `propose` waits for the disk before it returns: then `depth` is 1, because each block is
    /// proposed on another thread.
    pub is_blocking: bool,
    /// Whether `head` is exact. If other nodes propose too, it may lag behind their acks, and only
    /// the return of one of its own blocks shows a node that it has caught up.
    pub head_is_exact: bool,
    /// Whether only this log's nodes can write to it. If so, foreign bytes are damage; else they
    /// are skipped.
    pub is_exclusive: bool,
}

/// A journal. No method has a default, so that a wrapper cannot miss one.
pub trait Journal: Send + Sync + 'static {
    /// Its properties.
    fn facts(&self) -> &JournalFacts;

    /// The channel to the other nodes that follow it; `None` if there are none.
    fn peers(&self) -> Option<Arc<dyn Peers>>;

    /// Its counters; `None` if it is on this machine.
    fn counts(&self) -> Option<JournalCounts>;

    /// Makes a block durable. Blocks take effect in call order. May wait for the disk before it returns.
    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed>;

    /// Returns the blocks after a position as they become durable. Fails on a trimmed position
    /// unless the block is still in memory, and if the block at `after` does not match its stamp:
    /// the journal was rolled back.
    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow>;

    /// The position of the last durable block; of a shared journal it may be out of date. Fails if
    /// the journal cannot be read.
    fn head(&self, partition: Partition) -> Result<Position, JournalError>;

    /// The position of the oldest block kept: 1 until the first trim, head + 1 if none is kept.
    /// Fails if the journal cannot be read.
    fn first(&self, partition: Partition) -> Result<Position, JournalError>;

    /// Whether it keeps more than configured: then a durable fold is worth its fsync, because a
    /// [`Journal::trim`] can follow. Always `false` if it is never trimmed.
    fn has_surplus(&self, partition: Partition) -> bool;

    /// Allows removal of the blocks up to and including `upto`, whose effects an archive has on
    /// stable storage, read back. The journal removes them when it likes, oldest first, down to its
    /// configured minimum. Does not wait for the disk.
    fn trim(&self, partition: Partition, upto: Position);

    /// Removes texts that are removed from the log, and overwrites what its files hold of them: by removing
    /// the blocks up to and including `wipe.upto`, whose effects an archive has on stable storage, read
    /// back, or by replacing those that have such a text. `false` if there is more to do, a reader or a hold
    /// prevents it, or the disk is full: call it again. Waits for the disk. Fails if the journal cannot be
    /// written.
    fn wipe(&self, partition: Partition, wipe: &Wipe) -> Result<bool, JournalError>;
}

/// Which texts a journal is to remove.
#[derive(Clone)]
pub struct Wipe {
    /// Blocks that are older have none of them; the journal's time, in ms since the epoch.
    pub since: u64,
    /// Blocks after this position have none of them.
    pub upto: Position,
    /// Whether the text of each proposal is removed. Fails if the archive cannot be read.
    pub are_removed: Arc<AreRemoved>,
}

/// See [`Wipe::are_removed`]; may wait for the disk.
pub type AreRemoved = dyn Fn(&[Proposal]) -> Result<Vec<bool>, String> + Send + Sync;

/// The other nodes that follow a journal. Messages may be lost; nobody waits for them.
pub trait Peers: Send + Sync {
    /// Broadcasts to all nodes, including this one.
    fn broadcast(&self, report: Bytes) -> BoxFuture<'_, ()>;

    /// Subscribes to the broadcasts.
    fn subscribe(&self) -> BoxFuture<'_, Box<dyn PeerMessages>>;
}

/// A subscription to the broadcasts of nodes.
pub trait PeerMessages: Send {
    /// Waits for the next broadcast, forever if there is none. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Bytes>;
}

/// A cursor in one partition.
pub trait Follow: Send {
    /// Waits for the next durable block. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>>;
}
