//! What the two tasks of a partition share: the blocks that are proposed and not applied yet.
//!
//! Enters: blocks, from sequencing, before they are proposed. Leaves: the same, to apply, when the
//! journal gives them back; or to sequencing again when the journal refuses them. Invariant: blocks
//! stand here in the order of their numbers, and at most [`BLOCKS_UNAPPLIED`] of them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    append::{inbox::Inbox, sequencer::Submit},
    model::{head::Known, outcome::AppendOutcome, phase::Phase, rules::Rules},
};

/// How many blocks may be durable or on their way and not applied.
pub(crate) const BLOCKS_UNAPPLIED: usize = 64;

/// The fewest proposals whose ids are looked up while the journal writes them. Those of a smaller
/// block are looked up when it comes back: that takes less than waking someone for it.
const LOOKED_UP_AHEAD: usize = 16;

/// A block that was proposed and is not applied yet.
pub(crate) struct InFlight {
    pub(crate) n: u64,
    pub(crate) rules: Rules,
    pub(crate) block: Bytes,
    pub(crate) submits: Arc<Vec<Submit>>,
    /// What the archive knows of the ids, once it was asked.
    pub(crate) known: Option<Vec<Option<Known>>>,
}

/// What the two tasks of a partition share.
pub(crate) struct Pipeline {
    pub(crate) inbox: Arc<Inbox>,
    in_flight: Mutex<VecDeque<InFlight>>,
    /// There is a block whose ids can be looked up.
    pub(crate) pushed: Notify,
    /// There may be room for another block.
    pub(crate) freed: Notify,
    pub(crate) phase: watch::Sender<Phase>,
    /// Our blocks before this number are applied.
    applied: AtomicU64,
    /// A block came back whose predecessor is not there.
    gap: AtomicBool,
    /// Whether apply takes another block before the fold has caught up.
    pub(crate) has_room: watch::Sender<bool>,
}

impl Pipeline {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self {
            inbox,
            in_flight: Mutex::default(),
            pushed: Notify::new(),
            freed: Notify::new(),
            phase: watch::channel(Phase::CatchingUp).0,
            applied: AtomicU64::new(0),
            gap: AtomicBool::new(false),
            has_room: watch::channel(true).0,
        }
    }

    pub(crate) fn is(&self, phase: Phase) -> bool {
        *self.phase.borrow() == phase
    }

    /// Moves on to a phase, unless it has failed already.
    pub(crate) fn enter(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let moves = *phase != Phase::Failed && *phase != next;
            if moves {
                *phase = next;
            }
            moves
        });
        self.freed.notify_one();
        self.pushed.notify_one();
    }

    /// Whether another block may be proposed. What was taken before the end is, also when the fold waits
    /// for room on the disk: it is bounded by itself.
    pub(crate) fn takes_block(&self) -> bool {
        self.is(Phase::Serving)
            && (*self.has_room.borrow() || self.inbox.is_draining())
            && self.in_flight.lock().len() < BLOCKS_UNAPPLIED
    }

    pub(crate) fn push(&self, block: InFlight) {
        let is_large = block.submits.len() >= LOOKED_UP_AHEAD;
        self.in_flight.lock().push_back(block);
        if is_large {
            self.pushed.notify_one();
        }
    }

    /// The oldest block, when it is this one.
    pub(crate) fn take(&self, block: &Bytes) -> Option<InFlight> {
        // Most journals give the very bytes back that they were given.
        let same = |oldest: &mut InFlight| {
            oldest.block.as_ptr() == block.as_ptr() && oldest.block.len() == block.len()
                || oldest.block == *block
        };
        let mut in_flight = self.in_flight.lock();
        let was_full = in_flight.len() >= BLOCKS_UNAPPLIED;
        let taken = in_flight.pop_front_if(same);
        if was_full && taken.is_some() {
            self.freed.notify_one();
        }
        taken
    }

    /// Takes back the blocks from a number on: the journal refused them.
    pub(crate) fn take_back(&self, n: u64) -> VecDeque<InFlight> {
        let mut in_flight = self.in_flight.lock();
        let kept = in_flight.partition_point(|block| block.n < n);
        in_flight.split_off(kept)
    }

    /// The first block whose ids were not looked up.
    pub(crate) fn to_look_up(&self) -> Option<(u64, Arc<Vec<Submit>>)> {
        let in_flight = self.in_flight.lock();
        let block = in_flight.iter().find(|block| block.known.is_none())?;
        Some((block.n, block.submits.clone()))
    }

    /// Notes what the archive knows of a block's ids.
    pub(crate) fn looked_up(&self, n: u64, submits: &Arc<Vec<Submit>>, known: Vec<Option<Known>>) {
        let mut in_flight = self.in_flight.lock();
        // The number may be another block's by now, when the journal refused this one.
        let same = |block: &&mut InFlight| block.n == n && Arc::ptr_eq(&block.submits, submits);
        if let Some(block) = in_flight.iter_mut().find(same) {
            block.known = Some(known);
        }
    }

    /// Notes how far our blocks are applied, for who waits for the journal's answers to them.
    pub(crate) fn note_applied(&self, next_n: u64) {
        self.applied.store(next_n, Ordering::Release);
        if self.inbox.is_stalled() {
            self.freed.notify_one();
        }
    }

    /// Our blocks before this number came back, whether or not the journal has answered.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// All blocks, to be proposed again.
    pub(crate) fn unapplied(&self) -> Vec<(u64, Bytes)> {
        self.in_flight.lock().iter().map(|block| (block.n, block.block.clone())).collect()
    }

    /// Says that a block came back whose predecessor is not there.
    pub(crate) fn note_gap(&self) {
        self.gap.store(true, Ordering::Release);
        self.freed.notify_one();
    }

    /// Whether that was said since it was asked last.
    pub(crate) fn take_gap(&self) -> bool {
        self.gap.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.lock().is_empty()
    }

    pub(crate) fn answer(&self, submit: &Submit, outcome: AppendOutcome) {
        self.inbox.release(submit.proposal.weight());
        submit.ticket.answer(outcome);
    }

    /// The partition fails: nothing more is taken, and what is in flight has an unknown outcome.
    pub(crate) fn fail(&self) {
        self.inbox.close();
        self.enter(Phase::Failed);
        for block in self.take_back(0) {
            for submit in block.submits.iter() {
                self.answer(submit, AppendOutcome::Unknown);
            }
        }
    }
}
