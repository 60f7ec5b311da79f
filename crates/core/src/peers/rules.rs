//! Which rules the next block names, and how newer ones take over in a rolling upgrade.
//!
//! ```text
//!  node A knows 1, 2 ──reports 2──►┐
//!  node B knows 1, 2 ──reports 2──►├─ all reports know 2 ──► the next block names 2
//!  node C knows 1 ────reports 1───►┘  (with C: not yet)
//! ```
//!
//! Enters: the rules that nodes report and that blocks name. Leaves: the version that the next
//! block names. Invariants: a block is applied by the rules it names, on any node at any time; a
//! node names no version that a recently seen node does not know, and, while it may be cut off from
//! the others, none newer than it has read. A node that reads a version it does not know stops with
//! [`crate::model::block::BlockError::Newer`].

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::{identity::NodeId, rules::Rules};

/// All visible nodes must know a version for this long before a block names it, so that a node that
/// is away for less is not left behind.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// After this long without a block, a node cannot tell whether it is cut off.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// This long after the first block that ends an idle time, the reports of all others have arrived.
const REPORTS_WITHIN: Duration = Duration::from_secs(5);

/// With this many nodes, including this one, no newer version begins: no more are tracked.
pub(crate) const MAX_NODES: usize = 256;

#[derive(Debug)]
pub(crate) struct ActiveRules {
    knows: Rules,
    named: AtomicU16,
    /// The version that all nodes know, while none may be cut off; else 0.
    agreed: AtomicU16,
    peers: Mutex<PeerRules>,
}

#[derive(Debug)]
struct PeerRules {
    nodes: HashMap<NodeId, NodeRules>,
    /// Since when no node was left untracked.
    since: Instant,
    /// The first block after an idle time, and the last block.
    blocks: Option<(Instant, Instant)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct NodeRules {
    /// The newest rules that it reported, and when.
    reported: Option<(u16, Instant)>,
    /// The rules that its last block named, and when that was read.
    named: Option<(u16, Instant)>,
}

impl NodeRules {
    /// The newest rules it knows; without a recent report, those that its blocks name.
    fn knows(self, now: Instant) -> Option<u16> {
        let is_recent = |(_, at): &(u16, Instant)| now < *at + SEEN_WITHIN;
        let knows = self.reported.filter(is_recent).or(self.named.filter(is_recent));
        knows.map(|(knows, _)| knows)
    }
}

impl ActiveRules {
    #[must_use]
    pub(crate) fn new(knows: Rules, named: Rules) -> Self {
        let peers = PeerRules { nodes: HashMap::new(), since: Instant::now(), blocks: None };
        let (named, agreed) = (AtomicU16::new(named.number()), AtomicU16::new(0));
        Self { knows, named, agreed, peers: Mutex::new(peers) }
    }

    #[must_use]
    pub(crate) fn knows(&self) -> Rules {
        self.knows
    }

    #[must_use]
    pub(crate) fn now(&self) -> Rules {
        let agreed = self.agreed.load(Ordering::Relaxed);
        let number = self.named.load(Ordering::Relaxed).max(agreed);
        // Both are versions that this node knows.
        self.knows.known(number).unwrap_or(Rules::FIRST)
    }

    /// Notes a block that was read: the rules it names are in force from now on. `true` if they are
    /// newer than before.
    pub(crate) fn note(&self, node: NodeId, named: Rules, now: Instant) -> bool {
        if self.named.load(Ordering::Relaxed) == self.knows.number() {
            // There is nothing newer to wait for.
            return false;
        }
        let mut peers = self.peers.lock();
        peers.blocks = match peers.blocks {
            Some((first, last)) if now < last + IDLE_AFTER => Some((first, now)),
            _ => Some((now, now)),
        };
        if let Some(node_rules) = peers.node(node) {
            node_rules.named = Some((named.number(), now));
        }
        drop(peers);
        self.named.fetch_max(named.number(), Ordering::Relaxed) < named.number()
    }

    pub(crate) fn note_report(&self, node: NodeId, knows: u16, now: Instant) {
        if let Some(node_rules) = self.peers.lock().node(node) {
            node_rules.reported = Some((knows, now));
        }
    }

    /// Called once per second: lets the next block name what all recently seen nodes know, if this
    /// node can tell that it sees them all. A node that is cut off may still receive its own
    /// reports, so a block must have come too; and one that was cut off may read a block before it
    /// receives reports.
    pub(crate) fn decide(&self, now: Instant) {
        let common = self.peers.lock().common(now);
        let rules = common.and_then(|common| self.knows.known(common.min(self.knows.number())));
        self.agreed.store(rules.map_or(0, Rules::number), Ordering::Relaxed);
    }
}

impl PeerRules {
    fn node(&mut self, node: NodeId) -> Option<&mut NodeRules> {
        let has_room = self.nodes.len() < MAX_NODES || self.nodes.contains_key(&node);
        has_room.then(|| self.nodes.entry(node).or_default())
    }

    /// The newest version that all recently seen nodes know, including this one; `None` while a
    /// node might be unseen. A node that does not receive its own reports receives none.
    fn common(&mut self, now: Instant) -> Option<u16> {
        self.nodes.retain(|_, node_rules| node_rules.knows(now).is_some());
        if self.nodes.len() >= MAX_NODES {
            // One more would not be tracked.
            self.since = now;
        }
        let (first, last) = self.blocks?;
        let sees_all = now >= self.since + SEEN_WITHIN && now >= first + REPORTS_WITHIN;
        let common = self.nodes.values().filter_map(|node_rules| node_rules.knows(now)).min();
        common.filter(|_| sees_all && now < last + IDLE_AFTER)
    }
}
