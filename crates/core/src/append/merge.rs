//! The order within a room, exactly as first designed: at most one head of each queue is among the
//! candidates, the one with the smallest time goes next, and that queue is pulled again.
//!
//! Enters: items, each in the queue of its connection, with a time. Leaves: one order. Invariants:
//! items of one queue leave in the order they entered; among heads the smallest (time, arrival) goes
//! first, so nobody starves while times move on.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

/// Names the queue of one connection in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueId(pub(crate) u64);

struct Waiting<T> {
    time: u64,
    arrival: u64,
    item: T,
}

/// The queues of a room, merged by time.
pub(crate) struct Merge<T> {
    queues: HashMap<QueueId, VecDeque<Waiting<T>>>,
    heads: BinaryHeap<Reverse<(u64, u64, QueueId)>>,
    arrivals: u64,
}

impl<T> Default for Merge<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), heads: BinaryHeap::new(), arrivals: 0 }
    }
}

impl<T> Merge<T> {
    /// Puts an item behind the others of its queue. `time` is in ms since the epoch.
    pub(crate) fn push(&mut self, queue: QueueId, time: u64, item: T) {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let waiting = self.queues.entry(queue).or_default();
        if waiting.is_empty() {
            self.heads.push(Reverse((time, arrival, queue)));
        }
        waiting.push_back(Waiting { time, arrival, item });
    }

    /// Takes the earliest head and pulls its queue again.
    pub(crate) fn take(&mut self) -> Option<T> {
        let Reverse((.., queue)) = self.heads.pop()?;
        let waiting = self.queues.get_mut(&queue)?;
        let taken = waiting.pop_front()?;
        match waiting.front() {
            Some(next) => self.heads.push(Reverse((next.time, next.arrival, queue))),
            None => {
                self.queues.remove(&queue);
            }
        }
        Some(taken.item)
    }

    /// Takes all that waits in one queue, in its order.
    pub(crate) fn remove(&mut self, queue: QueueId) -> Vec<T> {
        self.heads.retain(|Reverse((.., head))| *head != queue);
        let waiting = self.queues.remove(&queue).unwrap_or_default();
        waiting.into_iter().map(|waiting| waiting.item).collect()
    }

    /// Whether nothing waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

/// The time that orders an append: the author's clock, held within two seconds of when it was
/// received, so that a false clock gains at most that. All in ms since the epoch.
#[must_use]
pub(crate) fn merge_time(sent_at: Option<u64>, received: u64) -> u64 {
    sent_at.map_or(received, |sent| sent.clamp(received.saturating_sub(CLOCK_TRUST_MS), received))
}

/// How far an author's clock is believed, in ms before the time of receipt.
pub(crate) const CLOCK_TRUST_MS: u64 = 2_000;

#[cfg(test)]
#[path = "tests/merge.rs"]
mod tests;
