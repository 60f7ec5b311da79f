//! The sequencer: what waits to be proposed, of all rooms, and which of it goes into the next block.
//!
//! Enters: appends that may go now, each in the queue of its connection and room. Leaves: the next
//! block's proposals. Invariants: the merge of a room is the only way into a block; rooms that wait
//! take turns; behind a refused append of a numbered queue nothing of that queue goes before it is
//! sent again.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use roomlog_protocol::RoomName;

use crate::{
    append::merge::{Merge, QueueId},
    model::{
        block::{BLOCK_BYTES, BLOCK_ENTRIES},
        mailbox::Mailbox,
        outcome::AppendOutcome,
        proposal::Proposal,
    },
};

/// Who waits for the outcome of an append.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// Where the outcome goes; its place there is reserved.
    pub(crate) mailbox: Arc<Mailbox>,
    /// What the connection calls this append.
    pub(crate) token: u64,
    /// The queue it came through.
    pub(crate) queue: QueueId,
    /// Its number in that queue, when the queue is numbered.
    pub(crate) seq: Option<u64>,
}

impl Ticket {
    /// Delivers the outcome.
    pub(crate) fn answer(&self, outcome: AppendOutcome) {
        self.mailbox.outcome(self.token, outcome);
    }
}

/// An append that may go.
#[derive(Debug, Clone)]
pub(crate) struct Submit {
    /// What it asks for.
    pub(crate) proposal: Proposal,
    /// The time that orders it among the heads of its room, ms since the epoch.
    pub(crate) time: u64,
    /// Who waits for the outcome.
    pub(crate) ticket: Ticket,
}

/// What waits to be proposed.
#[derive(Default)]
pub(crate) struct Sequencer {
    rooms: HashMap<RoomName, Merge<Submit>>,
    turns: VecDeque<RoomName>,
    /// Numbered queues with a refused append: the number that must come again first.
    broken: HashMap<QueueId, u64>,
}

impl Sequencer {
    /// Takes an append in, or gives it back when one before it in its queue must come first.
    ///
    /// # Errors
    /// The append, to be answered `out_of_order`.
    pub(crate) fn push(&mut self, submit: Submit) -> Result<(), Box<Submit>> {
        let queue = submit.ticket.queue;
        if let (Some(expected), Some(seq)) = (self.broken.get(&queue), submit.ticket.seq) {
            if seq != *expected {
                return Err(Box::new(submit));
            }
            self.broken.remove(&queue);
        }
        let room = submit.proposal.room.clone();
        let merge = self.rooms.entry(room.clone()).or_default();
        if merge.is_empty() {
            self.turns.push_back(room);
        }
        merge.push(queue, submit.time, submit);
        Ok(())
    }

    /// The proposals of the next block, in their order; empty when nothing waits.
    pub(crate) fn next_block(&mut self) -> Vec<Submit> {
        let mut block = Vec::new();
        let mut bytes = 0;
        while block.len() < BLOCK_ENTRIES && bytes < BLOCK_BYTES {
            let Some(room) = self.turns.pop_front() else { break };
            let Some(merge) = self.rooms.get_mut(&room) else { continue };
            if let Some(submit) = merge.take() {
                bytes += submit.proposal.weight();
                block.push(submit);
            }
            if merge.is_empty() {
                self.rooms.remove(&room);
            } else {
                self.turns.push_back(room);
            }
        }
        block
    }

    /// Notes that an append of a numbered queue was refused, and takes out what waits behind it, to
    /// be answered `out_of_order`.
    pub(crate) fn break_queue(&mut self, room: &RoomName, queue: QueueId, seq: u64) -> Vec<Submit> {
        self.broken.insert(queue, seq);
        let Some(merge) = self.rooms.get_mut(room) else { return Vec::new() };
        let behind = merge.remove(queue);
        if merge.is_empty() {
            self.rooms.remove(room);
            self.turns.retain(|waiting| waiting != room);
        }
        behind
    }

    /// Drops what is kept of a queue that was dropped. What it has waiting is still proposed.
    pub(crate) fn close_queue(&mut self, queue: QueueId) {
        self.broken.remove(&queue);
    }

    /// Whether nothing waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
