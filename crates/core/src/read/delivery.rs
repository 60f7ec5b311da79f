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

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

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

/// Whether the newest commits of a tail are delivered. Atomic, so that an applier waits for no list of
/// followers.
#[derive(Debug, Default)]
pub(crate) struct DeliveryState(AtomicU8);

/// All is delivered.
const DONE: u8 = 0;
/// It moved, and is among those to be delivered.
const DUE: u8 = 1;
/// A task delivers it.
const BEGUN: u8 = 2;
/// A task delivers it, and it moved since that began.
const BEGUN_AND_DUE: u8 = 3;

impl DeliveryState {
    /// Notes that the tail moved. Whether it has to be put among those to be delivered.
    pub(crate) fn note_moved(&self) -> bool {
        let next = |state| Some(if state < BEGUN { DUE } else { BEGUN_AND_DUE });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(DONE)
    }

    fn begin(&self) {
        self.0.store(BEGUN, Ordering::Release);
    }

    /// Ends a delivery; `false` if the tail has moved meanwhile, and the next begins.
    fn end(&self) -> bool {
        let (done, begun) = (Ordering::AcqRel, Ordering::Acquire);
        let has_ended = self.0.compare_exchange(BEGUN, DONE, done, begun).is_ok();
        if !has_ended {
            self.begin();
        }
        has_ended
    }
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
                tail.delivery().begin();
                let interests = tail.interests();
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

fn deliver_to_few(tail: &Tail, mut interests: Vec<Arc<Interest>>) {
    loop {
        deliver(tail, &interests);
        if tail.delivery().end() {
            return;
        }
        interests = tail.interests();
    }
}

async fn deliver_to_many(tail: Arc<Tail>, mut interests: Vec<Arc<Interest>>) {
    let workers = Handle::current().metrics().num_workers();
    loop {
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
        if tail.delivery().end() {
            return;
        }
        interests = tail.interests();
    }
}

#[cfg(test)]
#[path = "tests/delivery.rs"]
mod tests;
