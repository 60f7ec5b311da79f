//! Delivery: what is done when a room has moved.
//!
//! ```text
//!  applier ──tails that moved──► delivery task ─┬─► a sink takes the new commits itself
//!                                               └─► or else its connection is notified by mail
//! ```
//!
//! Enters: tails, from the appliers. Leaves: commits and notifications. Invariants: an applier never waits
//! for a follower; a tail waits here once, however many commits it had, so what waits is bounded by the
//! rooms; nobody is delivered to by two tasks at once; a room with many followers is delivered by
//! several tasks, and other rooms do not wait for it.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use roomlog_protocol::Slot;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{JoinSet, consume_budget},
};

use crate::{
    model::commit::Commit,
    read::tail::{After, Interest, Tail},
};

/// A task delivers to this many followers of a room at most.
const FOLLOWERS_A_TASK: usize = 256;

/// A follower that may be able to take commits as soon as they are published.
pub trait CommitSink: Send + Sync + fmt::Debug {
    /// Takes what follows its cursor; `false` if it cannot now: then its connection is notified. Does not
    /// wait.
    fn take(&self, new: &mut NewCommits<'_>) -> bool;
}

/// The newest commits of a room.
pub struct NewCommits<'a> {
    tail: &'a Tail,
    /// What followed the cursor that asked last: most followers have the same.
    last: Option<(Slot, Vec<Arc<Commit>>)>,
}

impl<'a> NewCommits<'a> {
    #[must_use]
    pub(crate) fn new(tail: &'a Tail) -> Self {
        Self { tail, last: None }
    }

    /// The commits from slot `next` on, of which the first begins there; empty if there are none yet.
    /// `None` if not all of them are there, or they are more than about `bytes`.
    pub fn after(&mut self, next: Slot, bytes: usize) -> Option<&[Arc<Commit>]> {
        if self.last.as_ref().is_none_or(|(slot, _)| *slot != next) {
            let commits = match self.tail.after(next, bytes) {
                After::Nothing => Vec::new(),
                After::Commits { commits, more: false }
                    if commits.first().is_some_and(|first| first.first() == next) =>
                {
                    commits
                }
                After::Commits { .. } | After::Archived => return None,
            };
            self.last = Some((next, commits));
        }
        self.last.as_ref().map(|(_, commits)| commits.as_slice())
    }
}

/// What a tail is in, as to its delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeliveryState {
    #[default]
    Done,
    /// It moved, and is among those to be delivered.
    Due,
    /// A task delivers it.
    Begun,
    /// A task delivers it, and it moved since that began.
    BegunAndDue,
}

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
        due.extend(moved.filter(|tail| tail.becomes_due()));
        if due.len() > before {
            self.notify.notify_one();
        }
    }

    /// Delivers, without end.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.notify.notified().await;
            let due = std::mem::take(&mut *self.due.lock());
            for tail in due {
                let interests = tail.begin_delivery();
                if interests.len() > FOLLOWERS_A_TASK {
                    tokio::spawn(deliver_to_many(tail, interests));
                } else {
                    deliver_to_few(&tail, interests);
                    consume_budget().await;
                }
            }
        }
    }
}

fn deliver(tail: &Tail, interests: &[Arc<Interest>]) {
    let mut new = NewCommits::new(tail);
    for interest in interests {
        interest.deliver(&mut new);
    }
}

fn deliver_to_few(tail: &Tail, interests: Vec<Arc<Interest>>) {
    let mut next = Some(interests);
    while let Some(interests) = next {
        deliver(tail, &interests);
        next = tail.end_delivery();
    }
}

async fn deliver_to_many(tail: Arc<Tail>, interests: Vec<Arc<Interest>>) {
    let workers = Handle::current().metrics().num_workers();
    let mut next = Some(interests);
    while let Some(interests) = next {
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
        // A part that panicked has delivered to nobody after that: its followers are notified again with
        // the next commit.
        while parts.join_next().await.is_some() {}
        next = tail.end_delivery();
    }
}

#[cfg(test)]
#[path = "tests/delivery.rs"]
mod tests;
