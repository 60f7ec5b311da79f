//! Agreement: every node chains the effects of its blocks into a hash; nodes report their newest
//! chains once per second, and a node whose chain differs at an equal position stops.
//!
//! Enters: chains as blocks are applied, reports of other nodes. Leaves: this node's report, a
//! verdict. Invariant: a node that differs from at least as many nodes as agree with it (including
//! itself) stops: one of three, both of two. There is no verdict before all nodes had time to
//! report.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use tokio::time::Instant;

use crate::model::{
    applied::Chain,
    identity::{Identity, NodeId},
    journal::{Partition, Position},
    rules::Rules,
};

/// Chains are kept at every multiple of this position.
const EVERY: u64 = 64;

/// How many chains are kept and reported.
const KEPT: usize = 16;

pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A node counts for this long after its last report.
const REPORT_VALID_FOR: Duration = Duration::from_secs(10);

/// The time from the first difference to a verdict: by then all nodes have reported.
const VERDICT_AFTER: Duration = Duration::from_secs(3);

/// The most peers tracked.
const MAX_PEERS: usize = 64;

const MAGIC: [u8; 4] = *b"RLA1";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub node: NodeId,
    pub incarnation: u64,
    pub rules: u16,
    pub partition: Partition,
    pub chains: BTreeMap<Position, Chain>,
}

impl Report {
    #[must_use]
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(32 + 40 * self.chains.len());
        bytes.put_slice(&MAGIC);
        bytes.put_slice(&self.node.0);
        bytes.put_u64(self.incarnation);
        bytes.put_u16(self.rules);
        bytes.put_u32(self.partition);
        for (position, chain) in &self.chains {
            bytes.put_u64(position.0);
            bytes.put_slice(&chain.0);
        }
        bytes.freeze()
    }

    /// `None` if the bytes are not a report.
    #[must_use]
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let head = MAGIC.len() + 16 + 8 + 2 + 4;
        if bytes.len() < head || !(bytes.len() - head).is_multiple_of(40) {
            return None;
        }
        let mut magic = [0; 4];
        bytes.copy_to_slice(&mut magic);
        if magic != MAGIC {
            return None;
        }
        let mut node = [0; 16];
        bytes.copy_to_slice(&mut node);
        let (incarnation, rules, partition) = (bytes.get_u64(), bytes.get_u16(), bytes.get_u32());
        let mut chains = BTreeMap::new();
        while bytes.has_remaining() && chains.len() <= KEPT {
            let (position, mut chain) = (Position(bytes.get_u64()), [0; 32]);
            bytes.copy_to_slice(&mut chain);
            chains.insert(position, Chain(chain));
        }
        Some(Self { node: NodeId(node), incarnation, rules, partition, chains })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No live node differs, or it is too early to tell.
    Agrees,
    /// This many differ and more agree: they stop, this node continues.
    Alarm(usize),
    /// This node is not in the majority: it stops.
    Freeze {
        /// The position of the first difference seen.
        position: Position,
        others: usize,
    },
}

struct Peer {
    incarnation: u64,
    last_report: Instant,
    chains: BTreeMap<Position, Chain>,
    agrees: bool,
    differs: Option<(Instant, Position)>,
}

#[derive(Default)]
struct AgreementState {
    own: BTreeMap<Position, Chain>,
    latest: Option<(Position, Chain)>,
    peers: HashMap<NodeId, Peer>,
}

pub(crate) struct Agreement {
    identity: Identity,
    partition: Partition,
    state: Mutex<AgreementState>,
}

impl Agreement {
    #[must_use]
    pub(crate) fn new(identity: Identity, partition: Partition) -> Self {
        Self { identity, partition, state: Mutex::default() }
    }

    pub(crate) fn note(&self, position: Position, chain: Chain) {
        let mut state = self.state.lock();
        state.latest = Some((position, chain));
        if position.0.is_multiple_of(EVERY) {
            state.own.insert(position, chain);
            while state.own.len() > KEPT {
                state.own.pop_first();
            }
        }
    }

    #[must_use]
    pub(crate) fn report(&self, knows: Rules) -> Report {
        let state = self.state.lock();
        let mut chains = state.own.clone();
        chains.extend(state.latest);
        let Identity { node, incarnation } = self.identity;
        Report { node, incarnation, rules: knows.number(), partition: self.partition, chains }
    }

    pub(crate) fn receive(&self, report: Report, now: Instant) {
        let mut state = self.state.lock();
        let is_new = !state.peers.contains_key(&report.node);
        if report.partition != self.partition
            || report.node == self.identity.node
            || is_new && state.peers.len() >= MAX_PEERS
        {
            return;
        }
        let AgreementState { own, latest, peers } = &mut *state;
        let fresh = || Peer {
            incarnation: report.incarnation,
            last_report: now,
            chains: BTreeMap::new(),
            agrees: false,
            differs: None,
        };
        let peer = peers.entry(report.node).or_insert_with(fresh);
        if peer.incarnation != report.incarnation {
            // It restarted, perhaps with a rebuilt archive.
            *peer = fresh();
        }
        (peer.last_report, peer.chains) = (now, report.chains);
        peer.compare(own, *latest, now);
    }

    #[must_use]
    pub(crate) fn judge(&self, now: Instant) -> Verdict {
        let mut state = self.state.lock();
        let AgreementState { own, latest, peers } = &mut *state;
        peers.retain(|_, peer| now < peer.last_report + REPORT_VALID_FOR);
        let (mut agree, mut differ) = (1, Vec::new());
        for peer in peers.values_mut() {
            peer.compare(own, *latest, now);
            match peer.differs {
                Some(since) => differ.push(since),
                None if peer.agrees => agree += 1,
                None => {}
            }
        }
        let Some((since, position)) = differ.iter().min().copied() else {
            return Verdict::Agrees;
        };
        if now < since + VERDICT_AFTER {
            return Verdict::Agrees;
        }
        let others = differ.len();
        if agree > others { Verdict::Alarm(others) } else { Verdict::Freeze { position, others } }
    }
}

impl Peer {
    fn compare(
        &mut self,
        own: &BTreeMap<Position, Chain>,
        latest: Option<(Position, Chain)>,
        now: Instant,
    ) {
        for (position, chain) in &self.chains {
            let here = own.get(position).copied();
            let here = here.or_else(|| latest.filter(|(at, _)| at == position).map(|(_, it)| it));
            match here {
                Some(here) if here == *chain => self.agrees = true,
                Some(_) if self.differs.is_none() => self.differs = Some((now, *position)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/agreement.rs"]
mod tests;
