//! Agreement: nodes that follow one journal tell each other what came of it, and one that differs stops.
//!
//! ```text
//!  position   … 640        704        768   …      every node chains what each block did;
//!  chain        9f3c…      04aa…      77b1…        at the same position it must have the same chain
//!
//!  each second: the newest chains ──► the other nodes ──► compared where both know a position
//! ```
//!
//! Enters: chains as blocks are applied, what other nodes said. Leaves: what is to be said, a judgement.
//! Invariant: whoever differs from at least as many nodes as agree with it (itself among them) stops: of
//! three the one, of two both. Nothing is decided before all had time to speak.

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

/// Chains are kept at every such position.
const EVERY: u64 = 64;

/// How many of them are kept, and said.
const KEPT: usize = 16;

/// How often nodes speak.
pub(crate) const SPEAK_EVERY: Duration = Duration::from_secs(1);

/// For how long a node counts that was heard.
const LIVES_FOR: Duration = Duration::from_secs(10);

/// How long it is from the first difference to a judgement: all have spoken by then.
const JUDGED_AFTER: Duration = Duration::from_secs(3);

/// The most nodes that are listened to.
const NODES: usize = 64;

const MAGIC: [u8; 4] = *b"RLA1";

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Who says it.
    pub node: NodeId,
    /// In which start.
    pub incarnation: u64,
    /// The newest rules that it knows.
    pub rules: u16,
    /// Of which partition it speaks.
    pub partition: Partition,
    /// Its newest chains, by their positions.
    pub chains: BTreeMap<Position, Chain>,
}

impl Said {
    /// As bytes.
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

    /// From bytes; nothing when they are none of ours.
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

/// What comes of what was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Nobody who lives differs, or it is too early to say.
    Agrees,
    /// So many differ, and more agree: they stop, and this node goes on.
    Alarm(usize),
    /// This node is among the few: it stops.
    Freeze {
        /// Where the first difference was seen.
        position: Position,
        /// How many nodes differ.
        others: usize,
    },
}

struct Peer {
    incarnation: u64,
    heard: Instant,
    chains: BTreeMap<Position, Chain>,
    agrees: bool,
    /// Since when, and where.
    differs: Option<(Instant, Position)>,
}

#[derive(Default)]
struct State {
    own: BTreeMap<Position, Chain>,
    latest: Option<(Position, Chain)>,
    peers: HashMap<NodeId, Peer>,
}

/// What a node knows of the others.
pub(crate) struct Agreement {
    identity: Identity,
    partition: Partition,
    state: Mutex<State>,
}

impl Agreement {
    /// Of a partition of a node that has heard nobody.
    #[must_use]
    pub(crate) fn new(identity: Identity, partition: Partition) -> Self {
        Self { identity, partition, state: Mutex::default() }
    }

    /// Notes the chain at the position that was applied last.
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

    /// What is to be said now.
    #[must_use]
    pub(crate) fn says(&self, knows: Rules) -> Said {
        let state = self.state.lock();
        let mut chains = state.own.clone();
        chains.extend(state.latest);
        let Identity { node, incarnation } = self.identity;
        Said { node, incarnation, rules: knows.number(), partition: self.partition, chains }
    }

    /// Takes what a node said.
    pub(crate) fn hear(&self, said: Said, now: Instant) {
        let mut state = self.state.lock();
        let is_new = !state.peers.contains_key(&said.node);
        if said.partition != self.partition
            || said.node == self.identity.node
            || is_new && state.peers.len() >= NODES
        {
            return;
        }
        let State { own, latest, peers } = &mut *state;
        let fresh = || Peer {
            incarnation: said.incarnation,
            heard: now,
            chains: BTreeMap::new(),
            agrees: false,
            differs: None,
        };
        let peer = peers.entry(said.node).or_insert_with(fresh);
        if peer.incarnation != said.incarnation {
            // It started again, with an archive that it may have made anew.
            *peer = fresh();
        }
        (peer.heard, peer.chains) = (now, said.chains);
        peer.compare(own, *latest, now);
    }

    /// What follows from all that was said until now.
    #[must_use]
    pub(crate) fn judge(&self, now: Instant) -> Judgement {
        let mut state = self.state.lock();
        let State { own, latest, peers } = &mut *state;
        peers.retain(|_, peer| now < peer.heard + LIVES_FOR);
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
            return Judgement::Agrees;
        };
        if now < since + JUDGED_AFTER {
            return Judgement::Agrees;
        }
        let others = differ.len();
        if agree > others {
            Judgement::Alarm(others)
        } else {
            Judgement::Freeze { position, others }
        }
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
