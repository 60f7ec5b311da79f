//! The order of a room's pending appends: the head of each queue is a candidate, the one with the
//! smallest time goes next, and its queue provides the next candidate.
//!
//! Enters: items, each in its connection's queue, with a time. Leaves: one order. Invariants: items
//! of one queue leave in order; among the heads the smallest (time, arrival) leaves first. An item
//! that waited behind its own queue competes from when it becomes the head, so that a backlog delays
//! no other queue by more than one item; and a head is passed over at most [`PASSES`] times in a
//! row, so that times before receipt delay nobody for longer.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use foldhash::HashMap;

/// The queue of one connection in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueId(pub(crate) u64);

/// How many heads that arrived later may go before one, in a row.
pub(crate) const PASSES: usize = 64;

/// The items of one queue, and when the first became its head.
struct Waiting<T> {
    arrival: u64,
    items: VecDeque<(u64, T)>,
}

pub(crate) struct Merge<T> {
    queues: HashMap<QueueId, Waiting<T>>,
    heads: BinaryHeap<Reverse<(u64, u64, QueueId)>>,
    /// The same heads by arrival, and some that are gone.
    by_arrival: VecDeque<(u64, QueueId)>,
    arrivals: u64,
    /// The newest time of all that came.
    newest: u64,
    /// How often the first of `by_arrival` was passed over.
    passes: usize,
}

impl<T> Default for Merge<T> {
    fn default() -> Self {
        let (queues, heads, by_arrival) = (HashMap::default(), BinaryHeap::new(), VecDeque::new());
        Self { queues, heads, by_arrival, arrivals: 0, newest: 0, passes: 0 }
    }
}

impl<T> Merge<T> {
    /// `time` is in ms since the epoch.
    pub(crate) fn push(&mut self, queue: QueueId, time: u64, item: T) {
        self.newest = self.newest.max(time);
        if let Some(waiting) = self.queues.get_mut(&queue) {
            return waiting.items.push_back((time, item));
        }
        let arrival = self.add_head(queue, time);
        self.queues.insert(queue, Waiting { arrival, items: VecDeque::from([(time, item)]) });
    }

    fn add_head(&mut self, queue: QueueId, time: u64) -> u64 {
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.heads.push(Reverse((time, arrival, queue)));
        self.by_arrival.push_back((arrival, queue));
        arrival
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        let queue = self.next_queue()?;
        let waiting = self.queues.get_mut(&queue)?;
        let (_, taken) = waiting.items.pop_front()?;
        match waiting.items.front() {
            Some((time, _)) => {
                let time = self.newest.max(*time);
                let arrival = self.add_head(queue, time);
                if let Some(waiting) = self.queues.get_mut(&queue) {
                    waiting.arrival = arrival;
                }
            }
            None => _ = self.queues.remove(&queue),
        }
        Some(taken)
    }

    /// Takes the next head: that with the smallest time, unless the oldest has waited too long.
    fn next_queue(&mut self) -> Option<QueueId> {
        let is_head = |queues: &HashMap<_, Waiting<T>>, (arrival, queue): (u64, QueueId)| {
            queues.get(&queue).is_some_and(|waiting| waiting.arrival == arrival)
        };
        while let Some(oldest) = self.by_arrival.front().copied()
            && !is_head(&self.queues, oldest)
        {
            self.by_arrival.pop_front();
            self.passes = 0;
        }
        let (oldest, queue) = self.by_arrival.front().copied()?;
        if self.passes >= PASSES {
            self.passes = 0;
            self.by_arrival.pop_front();
            self.heads.retain(|Reverse((.., head))| *head != queue);
            return Some(queue);
        }
        let Reverse((_, arrival, queue)) = self.heads.pop()?;
        self.passes += usize::from(arrival != oldest);
        Some(queue)
    }

    /// Whether items of this queue wait.
    #[must_use]
    pub(crate) fn has(&self, queue: QueueId) -> bool {
        self.queues.contains_key(&queue)
    }

    /// Returns its items, in order.
    pub(crate) fn remove(&mut self, queue: QueueId) -> Vec<T> {
        self.heads.retain(|Reverse((.., head))| *head != queue);
        let waiting = self.queues.remove(&queue).map(|waiting| waiting.items);
        waiting.into_iter().flatten().map(|(_, item)| item).collect()
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
