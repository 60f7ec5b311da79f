//! Delivery: what is done when a room has moved.
//!
//! ```text
//!  applier ──tails that moved──► delivery task ─┬─► a sink takes the new commits itself
//!                                               └─► or else its connection is notified by mail
//! ```
//!
//! Enters: tails, from the appliers. Leaves: commits and notifications. Invariants: an applier never waits
//! for a follower; a tail waits here once, however many commits it had, so what waits is bounded by the
//! rooms; no room is delivered by two tasks at once; a room with many followers, or many rooms with few,
//! are delivered by several tasks, and nobody waits for all of them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{JoinSet, consume_budget},
};

use crate::read::{
    interests::{Interest, NewCommits},
    tail::Tail,
};

/// A task delivers to this many followers of a room at most.
const FOLLOWERS_A_TASK: usize = 256;

/// The tails to be delivered.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    due: Mutex<Vec<Arc<Tail>>>,
    notify: Notify,
}

impl Deliveries {
    /// Delivers tails that moved. Does not wait.
    pub(crate) fn add(&self, moved: impl Iterator<Item = Arc<Tail>>) {
        let mut due = self.due.lock();
        let before = due.len();
        due.extend(moved.filter(|tail| tail.interests().becomes_due()));
        if due.len() > before {
            self.notify.notify_one();
        }
    }

    /// Delivers, without end.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.notify.notified().await;
            let due = std::mem::take(&mut *self.due.lock());
            let (mut few, mut followers) = (Vec::new(), 0);
            for tail in due {
                let interests = tail.interests().begin_delivery();
                if interests.len() > FOLLOWERS_A_TASK {
                    tokio::spawn(self.clone().deliver_to_many(tail, interests));
                    continue;
                }
                followers += interests.len();
                few.push((tail, interests));
                if followers > FOLLOWERS_A_TASK {
                    followers = 0;
                    tokio::spawn(self.clone().deliver_to_few(std::mem::take(&mut few)));
                }
            }
            self.clone().deliver_to_few(few).await;
        }
    }

    /// Delivers rooms that have few followers all together.
    async fn deliver_to_few(self: Arc<Self>, rooms: Vec<(Arc<Tail>, Vec<Arc<Interest>>)>) {
        for (tail, interests) in rooms {
            deliver(&tail, &interests);
            self.end(tail);
            consume_budget().await;
        }
    }

    async fn deliver_to_many(self: Arc<Self>, tail: Arc<Tail>, interests: Vec<Arc<Interest>>) {
        let workers = Handle::current().metrics().num_workers();
        let each = interests.len().div_ceil(workers).max(FOLLOWERS_A_TASK);
        let mut parts = JoinSet::new();
        for part in interests.chunks(each) {
            let (tail, part) = (tail.clone(), part.to_vec());
            parts.spawn(async move {
                for few in part.chunks(FOLLOWERS_A_TASK) {
                    deliver(&tail, few);
                    tokio::task::yield_now().await;
                }
            });
        }
        while parts.join_next().await.is_some() {}
        self.end(tail);
    }

    /// Ends a delivery. A room that moves all the time is delivered again after the others.
    fn end(&self, tail: Arc<Tail>) {
        if tail.interests().end_delivery() {
            self.due.lock().push(tail);
            self.notify.notify_one();
        }
    }
}

fn deliver(tail: &Tail, interests: &[Arc<Interest>]) {
    let read = |next, bytes| tail.whole_after(next, bytes);
    let mut new = NewCommits::new(&read);
    for interest in interests {
        interest.deliver(&mut new);
    }
}

#[cfg(test)]
#[path = "tests/delivery.rs"]
mod tests;
