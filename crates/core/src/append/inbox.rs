//! The inbox of a partition: where connections put appends that may go.
//!
//! Enters: [`Submit`]s, from any task. Leaves: the same, in order, to the partition's one task.
//! Invariant: what waits or is under way, and what is not folded, is bounded; at a bound an append is
//! refused at once ([`Turned`]), never dropped and never waited for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::append::{merge::QueueId, sequencer::Submit};

/// Why an append was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The node is at a bound of its own.
    Busy,
    /// The node stops.
    Closed,
}

/// What the partition has not looked at yet.
#[derive(Default)]
pub struct Post {
    /// Appends, in order of arrival.
    pub submits: Vec<Submit>,
    /// Queues whose connections are gone.
    pub forgotten: Vec<QueueId>,
}

/// The inbox of a partition.
pub struct Inbox {
    post: Mutex<Post>,
    notify: Notify,
    waiting_bytes: AtomicUsize,
    limit_bytes: usize,
    /// Much is applied and not folded.
    overloaded: AtomicBool,
    /// The journal does not answer.
    stalled: AtomicBool,
    /// The node is about to stop.
    draining: AtomicBool,
    closed: AtomicBool,
}

impl Inbox {
    /// An inbox for appends of at most `limit_bytes` in all, counted until they have an outcome.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
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

    /// Puts an append in and lets the partition know.
    ///
    /// # Errors
    /// [`Turned`]; nothing was taken then.
    pub fn submit(&self, submit: Submit) -> Result<(), Turned> {
        self.put(submit)?;
        self.ring();
        Ok(())
    }

    /// Puts an append in. Who has put in all that came together calls [`Inbox::ring`]: then it becomes
    /// one block, and not a block of the first and a block of the others.
    ///
    /// # Errors
    /// [`Turned`]; nothing was taken then.
    pub fn put(&self, submit: Submit) -> Result<(), Turned> {
        if self.is_closed() {
            return Err(Turned::Closed);
        }
        let weight = submit.proposal.weight();
        self.reserve(weight)?;
        let mut post = self.post.lock();
        // Asked again under the lock that `close` takes: behind a close nothing comes.
        if self.is_closed() {
            self.release(weight);
            return Err(Turned::Closed);
        }
        post.submits.push(submit);
        Ok(())
    }

    /// Lets the partition know that something was put in.
    pub fn ring(&self) {
        self.notify.notify_one();
    }

    /// Puts appends in, in their order and at once, so that they share blocks as far as one holds them.
    ///
    /// # Errors
    /// Why not all were taken, and what was not: the first that was turned away, and all behind it.
    pub fn submit_all(&self, submits: Vec<Submit>) -> Result<(), (Turned, Vec<Submit>)> {
        let mut post = self.post.lock();
        if self.is_closed() {
            return Err((Turned::Closed, submits));
        }
        let mut turned = Ok(());
        let fit = submits.iter().take_while(|submit| {
            turned = self.reserve(submit.proposal.weight());
            turned.is_ok()
        });
        let fit = fit.count();
        let mut submits = submits;
        let rest = submits.split_off(fit);
        post.submits.append(&mut submits);
        drop(post);
        self.ring();
        turned.map_err(|turned| (turned, rest))
    }

    /// Counts an append's bytes as waiting, unless a bound is met.
    fn reserve(&self, weight: usize) -> Result<(), Turned> {
        let waiting = self.waiting_bytes.fetch_add(weight, Ordering::AcqRel);
        let busy = self.overloaded.load(Ordering::Acquire) || self.is_stalled();
        if busy || waiting + weight > self.limit_bytes {
            self.release(weight);
            return Err(Turned::Busy);
        }
        Ok(())
    }

    /// Says that the connection of a queue is gone.
    pub fn forget(&self, queue: QueueId) {
        self.post.lock().forgotten.push(queue);
        self.ring();
    }

    /// Takes no more appends; the partition ends when those taken have their outcome.
    pub fn close(&self) {
        {
            let _no_submit_is_between = self.post.lock();
            self.closed.store(true, Ordering::Release);
        }
        self.ring();
    }

    /// From now on what was taken goes through, however far behind the fold is: the node is about to stop,
    /// and whoever waits is to be answered before. New appends are taken or refused as before.
    pub fn drain(&self) {
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

    /// Says whether the journal leaves what was proposed without an answer: new appends are `busy` then.
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
