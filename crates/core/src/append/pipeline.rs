//! The blocks of a partition that are proposed and not yet applied, shared by its two tasks.
//!
//! Enters: blocks, from the sequencer, before they are proposed. Leaves: the same, to the applier
//! when the journal returns them, or back to the sequencer if it refuses them. Invariant: they are
//! in the order of their numbers, and at most [`BLOCKS_UNAPPLIED`], or fewer if they are slow to apply.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    append::{inbox::Inbox, sequencer::Submit},
    budget::Charge,
    model::{
        block::{self, BLOCK_BYTES},
        head::Known,
        journal::Durable,
        outcome::AppendOutcome,
        phase::Phase,
        rules::Rules,
    },
};

pub(crate) const BLOCKS_UNAPPLIED: usize = 64;

/// What looking up the ids of all these may cost, but for the last block: two blocks of repeats. What is
/// behind them waits for them, however fast the journal is.
const COST_UNAPPLIED: usize = 2 * BLOCK_BYTES;

/// Blocks with at least this many proposals have their ids looked up while the journal writes them.
/// For smaller ones a wake-up costs more than a lookup when they come back.
const LOOKED_UP_AHEAD: usize = 16;

pub(crate) struct InFlight {
    pub(crate) n: u64,
    pub(crate) rules: Rules,
    pub(crate) block: Bytes,
    pub(crate) submits: Arc<Vec<Submit>>,
    /// What its appends are charged, until they are in the archive.
    pub(crate) charges: Vec<Charge>,
    /// What looking up its ids is expected to cost, as a number of bytes that take as long to write.
    pub(crate) look_up_cost: usize,
    /// `None` until the ids are looked up.
    pub(crate) known: Option<Vec<Option<Known>>>,
}

pub(crate) struct Pipeline {
    pub(crate) inbox: Arc<Inbox>,
    in_flight: Mutex<VecDeque<InFlight>>,
    /// Wakes the applier: a block's ids can be looked up.
    pub(crate) pushed: Notify,
    /// Wakes the sequencer: there may be room for another block.
    pub(crate) freed: Notify,
    pub(crate) phase: watch::Sender<Phase>,
    /// Whether the applier accepts a block before the fold catches up.
    pub(crate) has_room: watch::Sender<bool>,
}

fn is_full(in_flight: &VecDeque<InFlight>) -> bool {
    let cost = || in_flight.iter().map(|block| block.look_up_cost).sum::<usize>();
    in_flight.len() >= BLOCKS_UNAPPLIED || cost() >= COST_UNAPPLIED
}

impl Pipeline {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self {
            inbox,
            in_flight: Mutex::default(),
            pushed: Notify::new(),
            freed: Notify::new(),
            phase: watch::channel(Phase::CatchingUp).0,
            has_room: watch::channel(true).0,
        }
    }

    pub(crate) fn is(&self, phase: Phase) -> bool {
        *self.phase.borrow() == phase
    }

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

    /// Whether another block may be proposed. While draining, blocks may exceed the fold's bound:
    /// what was accepted is bounded itself.
    pub(crate) fn takes_block(&self) -> bool {
        self.is(Phase::Serving)
            && (*self.has_room.borrow() || self.inbox.is_draining())
            && !is_full(&self.in_flight.lock())
    }

    pub(crate) fn push(&self, block: InFlight) {
        let is_large = block.submits.len() >= LOOKED_UP_AHEAD;
        self.in_flight.lock().push_back(block);
        if is_large {
            self.pushed.notify_one();
        }
    }

    pub(crate) fn take(&self, durable: &Durable) -> Option<InFlight> {
        let same = |oldest: &mut InFlight| block::is_same(durable, &oldest.block);
        let mut in_flight = self.in_flight.lock();
        let was_full = is_full(&in_flight);
        let taken = in_flight.pop_front_if(same);
        if was_full && taken.is_some() {
            self.freed.notify_one();
        }
        taken
    }

    /// Takes back the blocks from number `n` on, which the journal refused.
    pub(crate) fn take_back(&self, n: u64) -> VecDeque<InFlight> {
        let mut in_flight = self.in_flight.lock();
        let kept = in_flight.partition_point(|block| block.n < n);
        in_flight.split_off(kept)
    }

    pub(crate) fn to_look_up(&self) -> Option<(u64, Arc<Vec<Submit>>)> {
        let in_flight = self.in_flight.lock();
        let block = in_flight.iter().find(|block| block.known.is_none())?;
        Some((block.n, block.submits.clone()))
    }

    pub(crate) fn looked_up(&self, n: u64, submits: &Arc<Vec<Submit>>, known: Vec<Option<Known>>) {
        let mut in_flight = self.in_flight.lock();
        // If the journal refused the block, another one may have its number by now.
        let same = |block: &&mut InFlight| block.n == n && Arc::ptr_eq(&block.submits, submits);
        if let Some(block) = in_flight.iter_mut().find(same) {
            block.known = Some(known);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.lock().is_empty()
    }

    /// Fails the partition: closes the inbox and answers everything in flight `unknown`.
    pub(crate) fn fail(&self) {
        self.inbox.close();
        self.enter(Phase::Failed);
        for block in self.take_back(0) {
            for submit in block.submits.iter() {
                submit.ticket.answer(AppendOutcome::Unknown);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::journal::Position;

    #[test]
    fn blocks_that_are_slow_to_apply_are_not_proposed_far_ahead() {
        let pipeline = Pipeline::new(Arc::default());
        pipeline.enter(Phase::Serving);
        let block = |n: u64| Bytes::from(n.to_be_bytes().to_vec());
        for n in 0..2 {
            assert!(pipeline.takes_block());
            let (rules, submits, charges) = (Rules::FIRST, Arc::default(), Vec::new());
            let (block, look_up_cost, known) = (block(n), BLOCK_BYTES, None);
            pipeline.push(InFlight { n, rules, block, submits, charges, look_up_cost, known });
        }
        assert!(!pipeline.takes_block());
        let first = Durable { position: Position(1), time: 0, block: block(0) };
        assert!(pipeline.take(&first).is_some());
        assert!(pipeline.takes_block());
    }
}
