//! The connections that are told when a room has moved.
//!
//! Enters: connections, with what may take new commits for them; the news that the room has moved. Leaves:
//! commits, or notifications. Invariants: a connection is notified once until it looks; whoever registers
//! first and then reads misses nothing; whether the room is to be delivered is known without a lock, so
//! that an applier waits for no list of followers.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_protocol::Slot;

use crate::model::{commit::Commit, mailbox::Mailbox};

/// A follower that may be able to take commits as soon as they are published.
pub trait CommitSink: Send + Sync + fmt::Debug {
    /// Takes what follows its cursor; `false` if it cannot now: then its connection is notified. Does not
    /// wait.
    fn take(&self, new: &mut NewCommits<'_>) -> bool;
}

/// The commits from a slot on, of which the first begins there, of at most about so many bytes; `None` if
/// they are not all of this form.
type ReadNew<'a> = dyn Fn(Slot, usize) -> Option<Vec<Arc<Commit>>> + 'a;

/// The newest commits of a room.
pub struct NewCommits<'a> {
    read: &'a ReadNew<'a>,
    /// What followed the cursor that asked last: most followers have the same.
    last: Option<(Slot, Vec<Arc<Commit>>)>,
}

impl<'a> NewCommits<'a> {
    #[must_use]
    pub(crate) fn new(read: &'a ReadNew<'a>) -> Self {
        Self { read, last: None }
    }

    /// The commits from slot `next` on, of which the first begins there; empty if there are none yet.
    /// `None` if not all of them are in the tail, or they are more than about `bytes`.
    pub fn after(&mut self, next: Slot, bytes: usize) -> Option<&[Arc<Commit>]> {
        if self.last.as_ref().is_none_or(|(slot, _)| *slot != next) {
            self.last = Some((next, (self.read)(next, bytes)?));
        }
        self.last.as_ref().map(|(_, commits)| commits.as_slice())
    }
}

/// A connection that is notified when a room moves.
#[derive(Debug)]
pub(crate) struct Interest {
    mailbox: Arc<Mailbox>,
    key: u32,
    notified: AtomicBool,
    /// What may take the commits instead.
    sink: Option<Arc<dyn CommitSink>>,
    /// It is notified of the next move, whether the sink takes that or not.
    is_asked_for: AtomicBool,
}

impl Interest {
    /// Whether the room moved since the last call; enables the next notification.
    pub(crate) fn take(&self) -> bool {
        self.notified.swap(false, Ordering::AcqRel)
    }

    /// Delivers the newest commits, or else notifies the connection.
    pub(crate) fn deliver(&self, new: &mut NewCommits<'_>) {
        // A panic may hurt this connection, and not all followers.
        let take = |sink: &Arc<dyn CommitSink>| catch_unwind(AssertUnwindSafe(|| sink.take(new)));
        let is_taken = matches!(self.sink.as_ref().map(take), Some(Ok(true)));
        let is_told = !is_taken || self.is_asked_for.swap(false, Ordering::AcqRel);
        if is_told && !self.notified.swap(true, Ordering::AcqRel) {
            self.mailbox.moved(self.key);
        }
    }

    /// Asks for the next notification, whether a sink takes what is new or not.
    pub(crate) fn ask_for_notice(&self) {
        self.is_asked_for.store(true, Ordering::Release);
    }
}

/// Those who are interested in a room, and how far it is delivered to them.
#[derive(Debug, Default)]
pub(crate) struct Interests {
    list: Mutex<Vec<Arc<Interest>>>,
    count: AtomicUsize,
    delivery: AtomicU8,
}

/// All is delivered.
const DONE: u8 = 0;
/// The room moved, and is among those to be delivered.
const DUE: u8 = 1;
/// A task delivers it.
const BEGUN: u8 = 2;
/// A task delivers it, and it moved since that began.
const BEGUN_AND_DUE: u8 = 3;

impl Interests {
    /// Registers a connection: `mailbox` receives `key`, unless the sink takes what is new.
    pub(crate) fn add(
        &self,
        mailbox: Arc<Mailbox>,
        key: u32,
        sink: Option<Arc<dyn CommitSink>>,
    ) -> Arc<Interest> {
        let (notified, is_asked_for) = Default::default();
        let interest = Arc::new(Interest { mailbox, key, notified, sink, is_asked_for });
        self.list.lock().push(interest.clone());
        self.count.fetch_add(1, Ordering::AcqRel);
        interest
    }

    pub(crate) fn remove(&self, interest: &Arc<Interest>) {
        let mut list = self.list.lock();
        if let Some(index) = list.iter().position(|held| Arc::ptr_eq(held, interest)) {
            list.swap_remove(index);
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Notes that the room has moved, after readers can see that. Whether it has to be put among those to be
    /// delivered: somebody is interested, and it is not there yet.
    pub(crate) fn becomes_due(&self) -> bool {
        let next = |state| Some(if state < BEGUN { DUE } else { BEGUN_AND_DUE });
        // A reader that registered before it read is counted: its reading was before the move.
        self.count.load(Ordering::Acquire) > 0
            && self.delivery.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(DONE)
    }

    /// Begins a delivery: to whom.
    pub(crate) fn begin_delivery(&self) -> Vec<Arc<Interest>> {
        self.delivery.store(BEGUN, Ordering::Release);
        self.list.lock().clone()
    }

    /// Ends a delivery. Whether the room has moved meanwhile: then it has to be put among those to be
    /// delivered again.
    pub(crate) fn end_delivery(&self) -> bool {
        let (done, begun) = (Ordering::AcqRel, Ordering::Acquire);
        let moved = self.delivery.compare_exchange(BEGUN, DONE, done, begun).is_err();
        if moved {
            self.delivery.store(DUE, Ordering::Release);
        }
        moved
    }
}
