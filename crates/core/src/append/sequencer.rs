//! The sequencer: the pending appends of all rooms, and which of them form the next block.
//!
//! Enters: appends that are ready, each in the queue of its connection and room. Leaves: the
//! submits of the next block. Invariants: every append passes the merge of its room; behind a refused
//! append of a numbered queue, nothing of that queue is proposed until it is resent. Principals share the
//! turns, within a principal its connections, within a connection its queues ([`Turns`]); a turn
//! advances the room of its queue by one entry, the earliest of all heads there. So a backlog delays
//! nobody who has none, but in its own room, by one entry of each other connection.

use std::{collections::HashMap, sync::Arc};

use foldhash::{HashMap as NumberMap, HashSet as NumberSet};
use roomlog_protocol::RoomName;

use crate::{
    append::{
        merge::{Merge, QueueId},
        turns::{Turns, Whose},
    },
    budget::Charge,
    model::{
        block::{BLOCK_BYTES, BLOCK_ENTRIES},
        mailbox::Mailbox,
        outcome::AppendOutcome,
        proposal::Proposal,
    },
};

/// Where the outcome of an append goes; the mailbox has reserved space for it.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) mailbox: Arc<Mailbox>,
    /// The connection's token for the append.
    pub(crate) token: u64,
    pub(crate) queue: QueueId,
    /// Its number, if the queue is numbered.
    pub(crate) seq: Option<u64>,
}

impl Ticket {
    pub(crate) fn answer(&self, outcome: AppendOutcome) {
        self.mailbox.outcome(self.token, outcome);
    }
}

/// An append that is ready to be proposed.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) proposal: Box<Proposal>,
    /// Orders it among the heads of its room, ms since the epoch.
    pub(crate) time: u64,
    pub(crate) ticket: Ticket,
    /// `None` once a block holds it.
    pub(crate) charge: Option<Charge>,
}

/// The principal and the connection that an append is charged to.
fn whose(submit: &Submit) -> Whose {
    let Some(charge) = &submit.charge else { return (0, 0) };
    let account = charge.account();
    (account.above().unwrap_or(account).number(), account.number())
}

/// What it is expected to cost, in bytes.
fn cost_of(submit: &Submit) -> usize {
    submit.proposal.weight() + submit.look_up_cost()
}

impl Submit {
    /// What looking up its id is expected to cost, as a number of bytes that take as long to write. 0
    /// once a block holds it.
    pub(crate) fn look_up_cost(&self) -> usize {
        self.charge.as_ref().map_or(0, |charge| charge.account().expected_cost())
    }
}

#[derive(Default)]
pub(crate) struct Sequencer {
    rooms: HashMap<RoomName, Merge<Submit>>,
    turns: Turns<(QueueId, RoomName)>,
    /// The queues in `turns`. Some may be empty: another queue's turn took their last append.
    listed: NumberSet<QueueId>,
    /// Numbered queues with a refused append, and the `seq` that must be resent first.
    broken: NumberMap<QueueId, u64>,
    /// Closed queues of which a block may still be refused, and the number of the first block that can
    /// hold nothing of them.
    closed: NumberMap<QueueId, u64>,
}

impl Sequencer {
    /// Adds an append, or returns it, to be answered `out_of_order`, if an earlier one of its queue
    /// must be resent first.
    pub(crate) fn push(&mut self, submit: Submit) -> Result<(), Box<Submit>> {
        let queue = submit.ticket.queue;
        if let (Some(expected), Some(seq)) = (self.broken.get(&queue), submit.ticket.seq) {
            if seq != *expected {
                return Err(Box::new(submit));
            }
            self.broken.remove(&queue);
        }
        let room = &submit.proposal.room;
        if self.listed.insert(queue) {
            self.turns.push(whose(&submit), (queue, room.clone()));
        }
        let merge = match self.rooms.get_mut(room) {
            Some(merge) => merge,
            None => self.rooms.entry(room.clone()).or_default(),
        };
        merge.push(queue, submit.time, submit);
        Ok(())
    }

    /// Empty if none are pending. A block has as many entries as it may have, or as cost as much as
    /// the most bytes that it may have: those behind it wait until all are looked up.
    pub(crate) fn next_block(&mut self) -> Vec<Submit> {
        let Self { rooms, turns, listed, .. } = self;
        let mut block = Vec::new();
        let mut costs = 0;
        while block.len() < BLOCK_ENTRIES && costs < BLOCK_BYTES {
            let had_turn = turns.turn(|(queue, room)| {
                let Some(merge) = rooms.get_mut(room).filter(|merge| merge.has(*queue)) else {
                    listed.remove(queue);
                    return (0, false);
                };
                let submit = merge.take();
                let cost = submit.as_ref().map_or(0, cost_of);
                costs += cost;
                block.extend(submit);
                let has_more = merge.has(*queue);
                if merge.is_empty() {
                    rooms.remove(room);
                }
                if !has_more {
                    listed.remove(queue);
                }
                (cost as u64, has_more)
            });
            if !had_turn {
                break;
            }
        }
        block
    }

    /// Notes that an append of a numbered queue was refused; returns those pending behind it, to be
    /// answered `out_of_order`.
    pub(crate) fn break_queue(&mut self, room: &RoomName, queue: QueueId, seq: u64) -> Vec<Submit> {
        // Of a closed queue nothing is resent.
        if self.closed.remove(&queue).is_none() {
            self.broken.insert(queue, seq);
        }
        let Some(merge) = self.rooms.get_mut(room) else { return Vec::new() };
        let behind = merge.remove(queue);
        if merge.is_empty() {
            self.rooms.remove(room);
        }
        behind
    }

    /// The pending appends of the queue are still proposed. The next block will have this number.
    pub(crate) fn close_queue(&mut self, queue: QueueId, next: u64) {
        self.broken.remove(&queue);
        self.closed.insert(queue, next);
    }

    /// Notes that the blocks up to number `n` are durable, and the next one will have number `next`.
    pub(crate) fn note_durable(&mut self, n: u64, next: u64) {
        let Self { closed, listed, .. } = self;
        closed.retain(|queue, first| {
            if listed.contains(queue) {
                *first = next + 1;
            }
            *first > n + 1
        });
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

#[cfg(test)]
#[path = "tests/sequencer.rs"]
mod tests;
