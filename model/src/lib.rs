//! A model of one room on a cluster, explored exhaustively for small bounds.
//!
//! ```text
//!  authors ──send──► nodes ──publish──► the wire ──store──► the journal ──read──► nodes ──answer──► authors
//!                      └──fold──► archive
//! ```
//!
//! It follows `docs/ARCHITECTURE.md` and shares no code with the server: what the design decides is here, and
//! how it is written is not. Two nodes, one journal, and a few appends ([`Intent`]) that their authors send
//! again when an answer does not come. A block holds one append. On the wire it may be late, lost or doubled;
//! a node may crash at any time, and comes back with its archive and a new incarnation.
//!
//! Enters: [`Bounds`], and a [`Mistake`] or none. Leaves: the number of states, and a path to a state that
//! breaks a property ([`properties`]). Invariant: everything that may happen next is an [`Action`].

mod node;
mod properties;
mod room;

use std::cmp::Ordering;

use stateright::{Model, Property};

use Intent::{Expect, Redact, Say};

pub use self::{
    node::{Block, Node, Purpose},
    room::{Intent, Log},
};

/// How many nodes there are.
pub const NODES: usize = 2;

/// How far the states go.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The appends that may be sent.
    pub intents: Vec<Intent>,
    /// How often each is sent at most.
    pub sendings: u8,
    /// How often a node crashes at most, all nodes together.
    pub crashes: u8,
    /// How often each block is stored at most.
    pub copies: u8,
    /// How often a node folds at most, all nodes together.
    pub folds: u8,
}

impl Bounds {
    /// Those of the tests.
    #[must_use]
    pub fn small() -> Vec<Self> {
        vec![
            Self { intents: vec![Say(0)], sendings: 2, crashes: 1, copies: 1, folds: 1 },
            Self { intents: vec![Say(0), Say(1)], sendings: 1, crashes: 1, copies: 1, folds: 1 },
            Self {
                intents: vec![Say(0), Expect(1, 1)],
                sendings: 1,
                crashes: 0,
                copies: 2,
                folds: 1,
            },
            Self {
                intents: vec![Say(0), Redact(0, 0)],
                sendings: 1,
                crashes: 0,
                copies: 2,
                folds: 1,
            },
            Self {
                intents: vec![Say(0), Redact(1, 0)],
                sendings: 1,
                crashes: 0,
                copies: 2,
                folds: 0,
            },
        ]
    }

    /// Larger ones.
    #[must_use]
    pub fn large() -> Vec<Self> {
        vec![
            Self { intents: vec![Say(0)], sendings: 2, crashes: 1, copies: 2, folds: 1 },
            Self { intents: vec![Say(0)], sendings: 2, crashes: 2, copies: 2, folds: 2 },
            Self { intents: vec![Say(0), Say(1)], sendings: 2, crashes: 1, copies: 1, folds: 1 },
            Self {
                intents: vec![Say(0), Expect(1, 1)],
                sendings: 2,
                crashes: 1,
                copies: 1,
                folds: 0,
            },
            Self {
                intents: vec![Say(0), Redact(0, 0)],
                sendings: 2,
                crashes: 1,
                copies: 1,
                folds: 0,
            },
        ]
    }
}

/// A mistake in the design, to show that the properties would find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// A block is applied whatever its number is.
    CopiesAreApplied,
    /// The number of a block counts without its incarnation.
    IncarnationsAreIgnored,
    /// Nobody looks up whether an id is there already.
    IdsAreForgotten,
    /// Ids leave memory as soon as they are folded, also those that a block in flight was looked up without.
    NoSettleBarrier,
    /// An append is acked when it is published.
    AckedBeforeStored,
    /// An author who has seen a slot is answered from a log that has not reached it.
    SeenIsIgnored,
    /// A node goes on from what it had applied, with the log that it had folded.
    PositionIsAhead,
}

/// The model.
#[derive(Debug, Clone)]
pub struct Room {
    /// How far the states go.
    pub bounds: Bounds,
    /// `None` for the design as it is.
    pub mistake: Option<Mistake>,
}

/// What an author knows of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sent {
    /// How often it was sent.
    pub sendings: u8,
    /// How many of these were answered by a refusal.
    pub refusals: u8,
    /// The slot of the first ack.
    pub acked: Option<u8>,
    /// Acks that name another slot.
    pub is_acked_twice: bool,
    /// The number of entries that its author had seen when it was first sent.
    pub after: u8,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The durable blocks, in order.
    pub journal: Vec<Block>,
    /// Published blocks that are or may still be stored, and how often they were; sorted.
    pub wire: Vec<(Block, u8)>,
    /// The nodes.
    pub nodes: [Node; NODES],
    /// By intent.
    pub sent: Vec<Sent>,
    /// By author: how many entries it has seen.
    pub seen: [u8; 2],
    /// How many crashes there were.
    pub crashes: u8,
    /// How many folds there were.
    pub folds: u8,
    /// A node's own block was skipped for good: it stops, and reports that its identity is used twice.
    pub is_misled: bool,
    /// An author was shown fewer entries than before.
    pub went_back: bool,
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An author sends an intent to a node, which proposes it.
    Send(usize, usize),
    /// A published block is stored. It may be stored again later: the answer was lost.
    Store(usize),
    /// A node looks its oldest block without a look-up up in its archive, ahead of time.
    LookUp(usize),
    /// A node reads the next block of the journal, and answers if it is its own.
    Read(usize),
    /// A node folds what it has applied into its archive.
    Fold(usize),
    /// A node crashes and starts again.
    Crash(usize),
    /// An author reads a node's log.
    See(usize, usize),
}

impl Room {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn send(&self, now: &mut Moment, index: usize, node: usize) {
        let intent = self.bounds.intents[index];
        let seen = now.seen[intent.author()];
        let sent = &mut now.sent[index];
        if sent.sendings == 0 {
            sent.after = seen;
        }
        sent.sendings += 1;
        let block = now.nodes[node].propose(node, Purpose::Append(index));
        now.publish(block);
        if self.is(Mistake::AckedBeforeStored) {
            let slot = now.nodes[node].log.len();
            now.sent[index].ack(slot);
        }
    }

    /// Whether a node may accept an intent: it has all that its author has seen.
    fn is_accepted(&self, now: &Moment, index: usize, node: usize) -> bool {
        let Sent { sendings, acked, .. } = now.sent[index];
        let seen = now.seen[self.bounds.intents[index].author()];
        let may_be_sent = sendings < self.bounds.sendings && acked.is_none();
        may_be_sent && now.nodes[node].log.len() >= seen
    }

    fn read(&self, now: &mut Moment, node: usize) {
        let reader = &mut now.nodes[node];
        let Some(block) = now.journal.get(usize::from(reader.position)).copied() else { return };
        reader.position += 1;
        let is_own = block.node == node && block.incarnation == reader.incarnation;
        now.is_misled |= is_own
            && reader.is_pending(block.number)
            && reader.proposers[block.node].has_passed(&block, self.mistake);
        let is_admitted = reader.proposers[block.node].admit(&block, self.mistake);
        if !is_admitted && !self.is(Mistake::CopiesAreApplied) {
            // A copy, or one that came before its turn: it is sent again.
            return;
        }
        let looked_up = if is_own { reader.answered(block.number) } else { None };
        let Purpose::Append(index) = block.purpose else { return reader.settle(self.mistake) };
        let is_known = self.is_known(reader, index, looked_up.flatten());
        let intent = self.bounds.intents[index];
        let outcome = reader.log.apply(index, intent, &self.bounds.intents, is_known);
        if outcome.is_new {
            reader.remember(index);
        }
        reader.settle(self.mistake);
        if is_own && looked_up.is_some() {
            match outcome.slot {
                Some(slot) => now.sent[index].ack(slot),
                None => now.sent[index].refusals += 1,
            }
        }
    }

    /// Whether an id is there already: in memory, or as the archive said when it was asked.
    fn is_known(&self, reader: &Node, index: usize, looked_up: Option<bool>) -> bool {
        if self.is(Mistake::IdsAreForgotten) {
            return false;
        }
        reader.remembers(index) || looked_up.unwrap_or_else(|| reader.archive.log.has(index))
    }
}

impl Model for Room {
    type State = Moment;
    type Action = Action;

    fn init_states(&self) -> Vec<Moment> {
        vec![Moment {
            journal: Vec::new(),
            wire: Vec::new(),
            nodes: Default::default(),
            sent: vec![Sent::default(); self.bounds.intents.len()],
            seen: [0; 2],
            crashes: 0,
            folds: 0,
            is_misled: false,
            went_back: false,
        }]
    }

    fn actions(&self, now: &Moment, actions: &mut Vec<Action>) {
        for node in 0..NODES {
            let sendable = 0..self.bounds.intents.len();
            let sendable = sendable.filter(|index| self.is_accepted(now, *index, node));
            actions.extend(sendable.map(|index| Action::Send(index, node)));
            let it = &now.nodes[node];
            if it.can_look_up() {
                actions.push(Action::LookUp(node));
            }
            if usize::from(it.position) < now.journal.len() {
                actions.push(Action::Read(node));
            }
            if it.archive.position < it.position && now.folds < self.bounds.folds {
                actions.push(Action::Fold(node));
            }
            if now.crashes < self.bounds.crashes {
                actions.push(Action::Crash(node));
            }
            let shows = |seen: u8| match it.log.len().cmp(&seen) {
                Ordering::Greater => true,
                Ordering::Equal => false,
                Ordering::Less => self.is(Mistake::SeenIsIgnored),
            };
            let readers = (0..now.seen.len()).filter(|author| shows(now.seen[*author]));
            actions.extend(readers.map(|author| Action::See(author, node)));
        }
        let stored = |(_, (_, copies)): &(usize, &(Block, u8))| *copies < self.bounds.copies;
        let storable = now.wire.iter().enumerate().filter(stored);
        actions.extend(storable.map(|(at, _)| Action::Store(at)));
    }

    fn next_state(&self, last: &Moment, action: Action) -> Option<Moment> {
        let mut now = last.clone();
        match action {
            Action::Send(index, node) => self.send(&mut now, index, node),
            Action::Store(at) => {
                let (block, copies) = &mut now.wire[at];
                *copies += 1;
                now.journal.push(*block);
            }
            Action::LookUp(node) => now.nodes[node].look_up(),
            Action::Read(node) => self.read(&mut now, node),
            Action::Fold(node) => {
                now.folds += 1;
                now.nodes[node].fold(self.mistake);
            }
            Action::Crash(node) => {
                now.crashes += 1;
                let fence = now.nodes[node].crash(node, self.mistake);
                now.publish(fence);
            }
            Action::See(author, node) => {
                let shown = now.nodes[node].log.len();
                now.went_back |= shown < now.seen[author];
                now.seen[author] = shown;
            }
        }
        Some(now)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Moment {
    fn publish(&mut self, block: Block) {
        self.wire.push((block, 0));
        self.wire.sort_unstable();
    }
}

impl Sent {
    fn ack(&mut self, slot: u8) {
        let first = *self.acked.get_or_insert(slot);
        self.is_acked_twice |= first != slot;
    }
}
