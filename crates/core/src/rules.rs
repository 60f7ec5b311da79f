//! Versions of the rules, and how a newer one begins while nodes of two builds run side by side.
//!
//! ```text
//!  node A knows 1, 2 ──says 2──►┐
//!  node B knows 1, 2 ──says 2──►├─ all that were heard know 2 ──► the next block names 2 ──► every reader: 2
//!  node C knows 1 ────says 1───►┘  (with C: not yet)
//! ```
//!
//! Enters: what nodes say they know, and what blocks name. Leaves: the version that the next block names.
//! Invariants: a block does what the version that it names says, whoever applies it and whenever; nobody
//! names a version that a node which was heard of late does not know. A node that was not heard and reads
//! a version that it does not know stops, and says so ([`crate::block::BlockError::Newer`]).

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::block::NodeId;

/// For how long all that are heard must know a version until a block names it: a node that is away for less
/// is not left behind.
pub const HEARD_FOR: Duration = Duration::from_secs(30);

/// The most nodes whose word is kept.
const NODES: usize = 256;

/// A version of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rules(u16);

impl Rules {
    /// The first.
    pub const FIRST: Self = Self(1);

    /// The newest that this build knows; it knows all before it.
    pub const NEWEST: Self = Self::FIRST;

    /// A version that is never released, for tests of how a newer one begins: no two entries of a room have the
    /// same time.
    #[cfg(feature = "suites")]
    pub const TRIAL: Self = Self(u16::MAX);

    /// As blocks and nodes name it.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// What a block names, where whoever knows these rules knows it.
    #[must_use]
    pub fn known(self, number: u16) -> Option<Self> {
        let is_released = (Self::FIRST.0..=Self::NEWEST.0.min(self.0)).contains(&number);
        (is_released || number == self.0).then_some(Self(number))
    }

    /// The time of a room's next entry, ms since the epoch, after an entry of this time.
    #[must_use]
    pub(crate) fn time(self, last: Option<u64>, journal_time: u64) -> u64 {
        #[cfg(feature = "suites")]
        if self == Self::TRIAL {
            return last.map_or(journal_time, |last| journal_time.max(last + 1));
        }
        last.map_or(journal_time, |last| journal_time.max(last))
    }
}

/// Which rules the blocks of a partition name.
#[derive(Debug)]
pub struct InForce {
    knows: Rules,
    now: AtomicU16,
    /// What other nodes know, and when they said so.
    heard: Mutex<HashMap<NodeId, (u16, Instant)>>,
    since: Instant,
}

impl InForce {
    /// Of a node that knows these; one that is alone names them at once.
    #[must_use]
    pub fn new(knows: Rules, is_alone: bool) -> Self {
        let now = if is_alone { knows } else { Rules::FIRST };
        let (now, heard) = (AtomicU16::new(now.0), Mutex::default());
        Self { knows, now, heard, since: Instant::now() }
    }

    /// The newest that this node knows.
    #[must_use]
    pub fn knows(&self) -> Rules {
        self.knows
    }

    /// What the next block names.
    #[must_use]
    pub fn now(&self) -> Rules {
        Rules(self.now.load(Ordering::Relaxed))
    }

    /// Notes what a block names: where it is named, it has begun.
    pub fn note(&self, named: Rules) {
        self.now.fetch_max(named.0, Ordering::Relaxed);
    }

    /// Notes what a node says it knows.
    pub fn hear(&self, node: NodeId, knows: u16, now: Instant) {
        let mut heard = self.heard.lock();
        if heard.len() < NODES || heard.contains_key(&node) {
            heard.insert(node, (knows, now));
        }
    }

    /// Begins what all that were heard of late know, once this node has listened for [`HEARD_FOR`]; the
    /// version, when that is a newer one.
    pub fn begin(&self, now: Instant) -> Option<Rules> {
        if now < self.since + HEARD_FOR {
            return None;
        }
        let mut heard = self.heard.lock();
        heard.retain(|_, (_, at)| now < *at + HEARD_FOR);
        let least = heard.values().map(|(knows, _)| *knows).min().unwrap_or(self.knows.0);
        let rules = self.knows.known(least.min(self.knows.0))?;
        (rules > self.now()).then(|| {
            self.note(rules);
            rules
        })
    }
}
