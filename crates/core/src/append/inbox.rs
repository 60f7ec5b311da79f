//! The inbox of a partition: appends that are ready to be proposed.
//!
//! Enters: [`Submit`]s, from any task. Leaves: the same, in order, to the sequencer task.
//! Invariant: pending, in-flight and unfolded appends are bounded; at a bound an append is rejected
//! at once, never dropped or delayed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

pub(crate) struct Inbox {
    incoming: Mutex<Incoming>,
    notify: Notify,
    pending_bytes: AtomicUsize,
    limit_bytes: usize,
    /// The fold is too far behind.
    overloaded: AtomicBool,
    stalled: AtomicBool,
    /// The node is about to stop.
    draining: AtomicBool,
    closed: AtomicBool,
}

impl Inbox {
    /// Accepts at most `limit_bytes` of appends without an outcome.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            incoming: Mutex::default(),
            notify: Notify::new(),
            pending_bytes: AtomicUsize::new(0),
            limit_bytes,
            overloaded: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Adds an append. The sequencer sees it after [`Inbox::wake`], so that appends that arrive
    /// together share a block.
    pub(crate) fn put(&self, submit: Submit) -> Result<(), AppendOutcome> {
        if self.is_closed() {
            return Err(AppendOutcome::Unavailable);
        }
        let weight = submit.proposal.weight();
        self.reserve(weight)?;
        let mut incoming = self.incoming.lock();
        // Checked again under the lock that `close` takes: nothing is added after it.
        if self.is_closed() {
            self.release(weight);
            return Err(AppendOutcome::Unavailable);
        }
        incoming.submits.push(submit);
        Ok(())
    }

    /// Wakes the sequencer too. If not all are accepted: why, and the rest, from the first one
    /// rejected.
    pub(crate) fn put_all(
        &self,
        mut submits: Vec<Submit>,
    ) -> Result<(), (AppendOutcome, Vec<Submit>)> {
        let mut incoming = self.incoming.lock();
        if self.is_closed() {
            return Err((AppendOutcome::Unavailable, submits));
        }
        let mut reserved = Ok(());
        let fitting = submits.iter().take_while(|submit| {
            reserved = self.reserve(submit.proposal.weight());
            reserved.is_ok()
        });
        let fitting = fitting.count();
        let rest = submits.split_off(fitting);
        incoming.submits.append(&mut submits);
        drop(incoming);
        self.wake();
        reserved.map_err(|outcome| (outcome, rest))
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    fn reserve(&self, weight: usize) -> Result<(), AppendOutcome> {
        let pending = self.pending_bytes.fetch_add(weight, Ordering::AcqRel);
        let busy = self.overloaded.load(Ordering::Acquire) || self.is_stalled();
        if busy || pending + weight > self.limit_bytes {
            self.release(weight);
            return Err(AppendOutcome::Busy);
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

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn has_submits(&self) -> bool {
        !self.incoming.lock().submits.is_empty()
    }

    pub(crate) fn take(&self) -> Incoming {
        std::mem::take(&mut *self.incoming.lock())
    }

    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
#[path = "tests/inbox.rs"]
mod tests;
