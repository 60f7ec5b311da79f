//! A node: what it has applied, what it has proposed, what of its ids is in memory, and its archive.
//!
//! Enters: blocks. Leaves: blocks. Invariant: a crash leaves the archive and the incarnation, and nothing else.

use crate::{Mistake, NODES, room::Log};

/// What a block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// The first of an incarnation: late blocks of the one before it count no more.
    Fence,
    /// It holds an append, by the number of its intent.
    Append(usize),
}

/// A block, named by node, incarnation and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// Who proposes it.
    pub node: usize,
    /// Its incarnation.
    pub incarnation: u8,
    /// Counts from 0 in each incarnation.
    pub number: u8,
    /// What it is for.
    pub purpose: Purpose,
}

/// Which block of a node comes next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Proposer {
    incarnation: u8,
    next: u8,
}

impl Proposer {
    /// Whether the turn of a block is over, so that no copy of it will be applied.
    pub(crate) fn has_passed(&self, block: &Block, mistake: Option<Mistake>) -> bool {
        let is_same = block.incarnation == self.incarnation
            || mistake == Some(Mistake::IncarnationsAreIgnored);
        block.incarnation < self.incarnation || is_same && block.number < self.next
    }

    /// Whether a block is applied.
    pub(crate) fn admit(&mut self, block: &Block, mistake: Option<Mistake>) -> bool {
        let is_newer = block.incarnation > self.incarnation
            && mistake != Some(Mistake::IncarnationsAreIgnored);
        let is_older = block.incarnation < self.incarnation
            && mistake != Some(Mistake::IncarnationsAreIgnored);
        if is_newer {
            *self = Self { incarnation: block.incarnation, next: 0 };
        }
        let is_next = !is_older && block.number == self.next;
        self.next += u8::from(is_next);
        is_next
    }
}

/// A block that was proposed and has not been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pending {
    number: u8,
    purpose: Purpose,
    /// Whether the archive had its id when it was asked; `None` if it was not asked.
    looked_up: Option<bool>,
}

/// What a crash leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Archive {
    /// How many blocks of the journal it has.
    pub position: u8,
    /// The entries.
    pub log: Log,
    proposers: [Proposer; NODES],
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Grows with each start.
    pub incarnation: u8,
    next: u8,
    /// How many blocks of the journal it has read.
    pub position: u8,
    /// What it has applied.
    pub log: Log,
    /// By node.
    pub proposers: [Proposer; NODES],
    pending: Vec<Pending>,
    /// The ids in memory, by intent.
    recent: u16,
    /// Folded ids that are still in memory: blocks before this number may have been looked up without them.
    folded: Vec<(u8, u16)>,
    /// What a crash leaves.
    pub archive: Archive,
}

impl Node {
    pub(crate) fn propose(&mut self, own: usize, purpose: Purpose) -> Block {
        let number = self.next;
        self.next += 1;
        self.pending.push(Pending { number, purpose, looked_up: None });
        Block { node: own, incarnation: self.incarnation, number, purpose }
    }

    pub(crate) fn can_look_up(&self) -> bool {
        self.pending.iter().any(|it| it.looked_up.is_none() && it.purpose != Purpose::Fence)
    }

    pub(crate) fn look_up(&mut self) {
        let mut missing = self.pending.iter_mut().filter(|it| it.looked_up.is_none());
        if let Some(Pending { purpose: Purpose::Append(index), looked_up, .. }) =
            missing.find(|it| it.purpose != Purpose::Fence)
        {
            *looked_up = Some(self.archive.log.has(*index));
        }
    }

    pub(crate) fn is_pending(&self, number: u8) -> bool {
        self.pending.iter().any(|it| it.number == number)
    }

    /// Takes a block of its own that comes back; gives the look-up that was made for it. `None` if it has
    /// come before.
    pub(crate) fn answered(&mut self, number: u8) -> Option<Option<bool>> {
        let at = self.pending.iter().position(|it| it.number == number)?;
        Some(self.pending.remove(at).looked_up)
    }

    pub(crate) fn remember(&mut self, intent: usize) {
        self.recent |= 1 << intent;
    }

    pub(crate) fn remembers(&self, intent: usize) -> bool {
        self.recent & (1 << intent) != 0
    }

    pub(crate) fn fold(&mut self, mistake: Option<Mistake>) {
        let folded: u16 = self.folded.iter().map(|(_, ids)| ids).fold(0, |all, ids| all | ids);
        let (position, log, proposers) = (self.position, self.log.clone(), self.proposers);
        self.archive = Archive { position, log, proposers };
        self.folded.push((self.next, self.recent & !folded));
        self.settle(mistake);
    }

    /// Evicts ids that are in the archive, once no block in flight was looked up without them.
    pub(crate) fn settle(&mut self, mistake: Option<Mistake>) {
        let first = self.pending.first().map_or(self.next, |it| it.number);
        let is_open = mistake == Some(Mistake::NoSettleBarrier);
        while let Some((barrier, ids)) = self.folded.first().copied() {
            if first < barrier && !is_open {
                break;
            }
            self.recent &= !ids;
            self.folded.remove(0);
        }
    }

    /// Starts again, with a block that fences the incarnation before it.
    pub(crate) fn crash(&mut self, own: usize, mistake: Option<Mistake>) -> Block {
        let archive = std::mem::take(&mut self.archive);
        let position = match mistake {
            Some(Mistake::PositionIsAhead) => self.position,
            _ => archive.position,
        };
        let (log, proposers) = (archive.log.clone(), archive.proposers);
        let incarnation = self.incarnation + 1;
        *self = Self { incarnation, position, log, proposers, archive, ..Self::default() };
        self.propose(own, Purpose::Fence)
    }
}
