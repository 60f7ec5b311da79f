//! The inbox of a partition: appends that are ready to be proposed.
//!
//! Enters: [`Submit`]s, from any task. Leaves: the same, in order, to the sequencer task.
//! Invariant: each was charged to its author's account before ([`crate::budget`]), so their number is
//! bounded; while the journal or the fold is behind, an append is rejected at once, never dropped or
//! delayed.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    append::{merge::QueueId, sequencer::Submit},
    model::outcome::AppendOutcome,
};

#[derive(Default)]
pub(crate) struct Incoming {
    pub(crate) submits: Vec<Submit>,
    pub(crate) closed_queues: Vec<QueueId>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    incoming: Mutex<Incoming>,
    notify: Notify,
    /// The fold is too far behind.
    overloaded: AtomicBool,
    stalled: AtomicBool,
    disk_low: AtomicBool,
    /// The node is about to stop.
    draining: AtomicBool,
    closed: AtomicBool,
}

impl Inbox {
    /// Adds an append. The sequencer sees it after [`Inbox::wake`], so that appends that arrive
    /// together share a block.
    pub(crate) fn put(&self, submit: Submit) -> Result<(), AppendOutcome> {
        // Under the lock that `close` takes: nothing is added after it.
        let mut incoming = self.incoming.lock();
        self.check()?;
        incoming.submits.push(submit);
        Ok(())
    }

    /// Adds all and wakes the sequencer, or returns all, and why none was accepted.
    pub(crate) fn put_all(
        &self,
        mut submits: Vec<Submit>,
    ) -> Result<(), (AppendOutcome, Vec<Submit>)> {
        let mut incoming = self.incoming.lock();
        if let Err(outcome) = self.check() {
            return Err((outcome, submits));
        }
        incoming.submits.append(&mut submits);
        drop(incoming);
        self.wake();
        Ok(())
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    fn check(&self) -> Result<(), AppendOutcome> {
        if self.is_closed() {
            return Err(AppendOutcome::Unavailable);
        }
        if self.overloaded.load(Ordering::Acquire) || self.is_stalled() {
            return Err(AppendOutcome::Busy);
        }
        if self.disk_low.load(Ordering::Acquire) {
            return Err(AppendOutcome::StorageFull);
        }
        Ok(())
    }

    /// The pending appends of the queue are still proposed.
    pub(crate) fn close_queue(&self, queue: QueueId) {
        self.incoming.lock().closed_queues.push(queue);
        self.wake();
    }

    /// Accepts no more appends; the partition ends when all accepted ones have their outcome.
    pub(crate) fn close(&self) {
        {
            let _no_concurrent_put = self.incoming.lock();
            self.closed.store(true, Ordering::Release);
        }
        self.wake();
    }

    /// Commits what was accepted even if the fold is behind. New appends are accepted or rejected
    /// as before.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire) || self.is_closed()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn set_overloaded(&self, overloaded: bool) {
        self.overloaded.store(overloaded, Ordering::Release);
    }

    /// Sets whether the journal does not answer; if so, new appends are `busy`.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Sets whether the disk is too full for appends; if so, new ones are `storage_full`.
    pub(crate) fn set_disk_low(&self, low: bool) {
        self.disk_low.store(low, Ordering::Release);
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Incoming {
        std::mem::take(&mut *self.incoming.lock())
    }

    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }
}
