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
//! names a version that a node which was heard of late does not know, nor, while it may be cut off from the others,
//! a newer one than was read. A node that was not heard and reads a version that it does not know stops, and says
//! so ([`crate::model::block::BlockError::Newer`]).

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::{identity::NodeId, rules::Rules};

/// For how long all that are heard must know a version until a block names it: a node that is away for less
/// is not left behind.
pub(crate) const HEARD_FOR: Duration = Duration::from_secs(30);

/// After so long without a block nothing tells any more that others are heard.
const QUIET: Duration = Duration::from_secs(10);

/// So long after the first block of a quiet time all others were heard again.
const HEARS_THEN: Duration = Duration::from_secs(5);

/// Among so many nodes, this one included, no newer version begins: the word of no more is kept.
pub(crate) const NODES: usize = 256;

/// Which rules the blocks of a partition name.
#[derive(Debug)]
pub(crate) struct InForce {
    knows: Rules,
    /// The newest that a block named.
    named: AtomicU16,
    /// What the next block may name, as long as all hear each other.
    begins: AtomicU16,
    listened: Mutex<Listened>,
}

#[derive(Debug)]
struct Listened {
    /// Of each node, this one among them.
    heard: HashMap<NodeId, Heard>,
    /// Since when all that speak are heard.
    since: Instant,
    /// The first block that was read after a quiet time, and the last.
    blocks: Option<(Instant, Instant)>,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// What it said it knows, and when.
    said: Option<(u16, Instant)>,
    /// What its last block named, and when that was read.
    named: Option<(u16, Instant)>,
}

impl Heard {
    /// What it knows; of one that is not heard, and there, no more than what its blocks name.
    fn knows(self, now: Instant) -> Option<u16> {
        let of_late = |(_, at): &(u16, Instant)| now < *at + HEARD_FOR;
        let knows = self.said.filter(of_late).or(self.named.filter(of_late));
        knows.map(|(knows, _)| knows)
    }
}

impl InForce {
    /// Of this node, which knows these rules, where blocks named those.
    #[must_use]
    pub(crate) fn new(knows: Rules, named: Rules) -> Self {
        let listened = Listened { heard: HashMap::new(), since: Instant::now(), blocks: None };
        let (named, begins) = (AtomicU16::new(named.number()), AtomicU16::new(0));
        Self { knows, named, begins, listened: Mutex::new(listened) }
    }

    /// The newest that this node knows.
    #[must_use]
    pub(crate) fn knows(&self) -> Rules {
        self.knows
    }

    /// What the next block names.
    #[must_use]
    pub(crate) fn now(&self) -> Rules {
        let begins = self.begins.load(Ordering::Relaxed);
        let number = self.named.load(Ordering::Relaxed).max(begins);
        // Both come from versions that this node knows.
        self.knows.known(number).unwrap_or(Rules::FIRST)
    }

    /// Notes a block that was read, and what it names: where that is named, it is in force. Whether it begins.
    pub(crate) fn note(&self, node: NodeId, named: Rules, now: Instant) -> bool {
        if self.named.load(Ordering::Relaxed) == self.knows.number() {
            // There is nothing newer to listen for.
            return false;
        }
        let mut listened = self.listened.lock();
        listened.blocks = match listened.blocks {
            Some((first, last)) if now < last + QUIET => Some((first, now)),
            _ => Some((now, now)),
        };
        if let Some(heard) = listened.heard_of(node) {
            heard.named = Some((named.number(), now));
        }
        drop(listened);
        self.named.fetch_max(named.number(), Ordering::Relaxed) < named.number()
    }

    /// Notes what a node says it knows.
    pub(crate) fn hear(&self, node: NodeId, knows: u16, now: Instant) {
        if let Some(heard) = self.listened.lock().heard_of(node) {
            heard.said = Some((knows, now));
        }
    }

    /// Once a second: lets the next block name what all know that were heard of late, as long as this node can
    /// tell that it hears the others. Who is cut off from them may still hear itself, so a block must have come
    /// too; and who was cut off may read one before it hears them.
    pub(crate) fn decide(&self, now: Instant) {
        let least = self.listened.lock().least(now);
        let rules = least.and_then(|least| self.knows.known(least.min(self.knows.number())));
        self.begins.store(rules.map_or(0, Rules::number), Ordering::Relaxed);
    }
}

impl Listened {
    fn heard_of(&mut self, node: NodeId) -> Option<&mut Heard> {
        let has_room = self.heard.len() < NODES || self.heard.contains_key(&node);
        has_room.then(|| self.heard.entry(node).or_default())
    }

    /// What all know that were heard of late, this node among them; nothing while others might not be heard. A
    /// node that does not hear itself hears nobody.
    fn least(&mut self, now: Instant) -> Option<u16> {
        self.heard.retain(|_, heard| heard.knows(now).is_some());
        if self.heard.len() >= NODES {
            // One more would not be heard.
            self.since = now;
        }
        let (first, last) = self.blocks?;
        let listens = now >= self.since + HEARD_FOR && now >= first + HEARS_THEN;
        let least = self.heard.values().filter_map(|heard| heard.knows(now)).min();
        least.filter(|_| listens && now < last + QUIET)
    }
}
