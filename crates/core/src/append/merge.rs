//! The order of a room's pending appends: the head of each queue is a candidate, the one with the
//! smallest time goes next, and its queue provides the next candidate.
//!
//! Enters: items, each in its connection's queue, with a time. Leaves: one order. Invariants: items
//! of one queue leave in order; among the heads the smallest (time, arrival) leaves first, so no
//! queue starves while time advances.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

/// The queue of one connection in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueId(pub(crate) u64);

struct Pending<T> {
    time: u64,
    arrival: u64,
    item: T,
}

pub(crate) struct Merge<T> {
    queues: HashMap<QueueId, VecDeque<Pending<T>>>,
    heads: BinaryHeap<Reverse<(u64, u64, QueueId)>>,
    arrivals: u64,
}

impl<T> Default for Merge<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), heads: BinaryHeap::new(), arrivals: 0 }
    }
}

impl<T> Merge<T> {
    /// `time` is in ms since the epoch.
    pub(crate) fn push(&mut self, queue: QueueId, time: u64, item: T) {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let pending = self.queues.entry(queue).or_default();
        if pending.is_empty() {
            self.heads.push(Reverse((time, arrival, queue)));
        }
        pending.push_back(Pending { time, arrival, item });
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        let Reverse((.., queue)) = self.heads.pop()?;
        let pending = self.queues.get_mut(&queue)?;
        let taken = pending.pop_front()?;
        match pending.front() {
            Some(next) => self.heads.push(Reverse((next.time, next.arrival, queue))),
            None => {
                self.queues.remove(&queue);
            }
        }
        Some(taken.item)
    }

    /// Returns its items, in order.
    pub(crate) fn remove(&mut self, queue: QueueId) -> Vec<T> {
        self.heads.retain(|Reverse((.., head))| *head != queue);
        let pending = self.queues.remove(&queue).unwrap_or_default();
        pending.into_iter().map(|pending| pending.item).collect()
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

/// The time that orders an append: the author's clock, clamped to the two seconds before receipt,
/// so that a wrong clock gains no more. All in ms since the epoch.
#[must_use]
pub(crate) fn merge_time(sent_at: Option<u64>, received: u64) -> u64 {
    sent_at.map_or(received, |sent| sent.clamp(received.saturating_sub(CLOCK_TRUST_MS), received))
}

/// How far before the receipt an author's clock is trusted, in ms.
pub(crate) const CLOCK_TRUST_MS: u64 = 2_000;

#[cfg(test)]
#[path = "tests/merge.rs"]
mod tests;
