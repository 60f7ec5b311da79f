//! The inbox of a partition: where connections put appends that may be proposed now.
//!
//! Enters: [`Submit`]s, from any task. Leaves: the same, in order, to the sequencer's task. Invariant:
//! what is queued, in flight or not folded is bounded; at a bound an append is rejected at once, never
//! dropped and never made to wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    append::{merge::QueueId, sequencer::Submit},
    model::outcome::AppendOutcome,
};

/// What the sequencer has not taken yet.
#[derive(Default)]
pub(crate) struct Post {
    /// Appends, in order of arrival.
    pub(crate) submits: Vec<Submit>,
    /// Queues that were dropped.
    pub(crate) closed_queues: Vec<QueueId>,
}

/// The inbox of a partition.
pub(crate) struct Inbox {
    post: Mutex<Post>,
    notify: Notify,
    waiting_bytes: AtomicUsize,
    limit_bytes: usize,
    /// Too much is applied and not folded.
    overloaded: AtomicBool,
    /// The journal does not answer.
    stalled: AtomicBool,
    /// The node is about to stop.
    draining: AtomicBool,
    closed: AtomicBool,
}

impl Inbox {
    /// An inbox for at most `limit_bytes` of appends, counted until they have an outcome.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            post: Mutex::default(),
            notify: Notify::new(),
            waiting_bytes: AtomicUsize::new(0),
            limit_bytes,
            overloaded: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Adds an append. [`Inbox::ring`] shows it to the sequencer, after all that arrived together
    /// were added: then they become one block.
    pub(crate) fn put(&self, submit: Submit) -> Result<(), AppendOutcome> {
        if self.is_closed() {
            return Err(AppendOutcome::Unavailable);
        }
        let weight = submit.proposal.weight();
        self.reserve(weight)?;
        let mut post = self.post.lock();
        // Checked again under the lock that `close` takes: nothing is added after it.
        if self.is_closed() {
            self.release(weight);
            return Err(AppendOutcome::Unavailable);
        }
        post.submits.push(submit);
        Ok(())
    }

    /// Adds appends in their order and at once, and shows them to the sequencer. If not all are taken:
    /// why, and the rest from the first that was not.
    pub(crate) fn put_all(
        &self,
        mut submits: Vec<Submit>,
    ) -> Result<(), (AppendOutcome, Vec<Submit>)> {
        let mut post = self.post.lock();
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
        post.submits.append(&mut submits);
        drop(post);
        self.ring();
        reserved.map_err(|outcome| (outcome, rest))
    }

    /// Shows the sequencer what was added.
    pub(crate) fn ring(&self) {
        self.notify.notify_one();
    }

    /// Counts the bytes of an append as waiting, if no bound is reached.
    fn reserve(&self, weight: usize) -> Result<(), AppendOutcome> {
        let waiting = self.waiting_bytes.fetch_add(weight, Ordering::AcqRel);
        let busy = self.overloaded.load(Ordering::Acquire) || self.is_stalled();
        if busy || waiting + weight > self.limit_bytes {
            self.release(weight);
            return Err(AppendOutcome::Busy);
        }
        Ok(())
    }

    /// Lets the sequencer drop what it keeps of a queue. What the queue has waiting is still proposed.
    pub(crate) fn close_queue(&self, queue: QueueId) {
        self.post.lock().closed_queues.push(queue);
        self.ring();
    }

    /// Takes no more appends; the partition ends when those that were taken have their outcome.
    pub(crate) fn close(&self) {
        {
            let _no_put_is_in_between = self.post.lock();
            self.closed.store(true, Ordering::Release);
        }
        self.ring();
    }

    /// Proposes and applies what was taken, however far behind the fold is: the node is about to stop,
    /// and whoever waits is answered before it does. New appends are taken or rejected as before.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.ring();
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

    /// Sets whether the journal leaves proposed blocks unanswered: new appends are `busy` then.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Gives back the bytes of appends that have their outcome.
    pub(crate) fn release(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn has_post(&self) -> bool {
        !self.post.lock().submits.is_empty()
    }

    pub(crate) fn take(&self) -> Post {
        std::mem::take(&mut *self.post.lock())
    }

    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
#[path = "tests/inbox.rs"]
mod tests;
