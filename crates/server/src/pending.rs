//! Connections that are pending: without a first request, or on a WebSocket without a login.
//!
//! Enters: each new connection. Leaves: whether it must end. Invariant: at most `pending_logins` are
//! pending. A new one is never refused for that: the oldest is cut. Whoever fills the places with
//! connections that send nothing would otherwise keep everybody out for `handshake_ms`; so they
//! would have to open `pending_logins` connections faster than a client logs in.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The pending connections, by age.
#[derive(Debug)]
pub(crate) struct Pending(Mutex<PendingState>);

#[derive(Debug)]
struct PendingState {
    most: usize,
    last: u64,
    cuts: BTreeMap<u64, Arc<Notify>>,
}

/// A connection that is, or was, pending.
#[derive(Debug)]
pub(crate) struct PendingLogin {
    pending: Arc<Pending>,
    number: u64,
    cut: Arc<Notify>,
}

impl Pending {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(PendingState { most, last: 0, cuts: BTreeMap::new() })))
    }

    /// Changes how many may be pending; the oldest beyond that are cut.
    pub(crate) fn set_most(&self, most: usize) {
        let mut state = self.0.lock();
        state.most = most;
        state.cut_surplus();
    }

    /// Adds a connection; also returns whether the oldest was cut for it.
    pub(crate) fn enter(self: &Arc<Self>) -> (PendingLogin, bool) {
        let mut state = self.0.lock();
        state.last += 1;
        let (number, cut) = (state.last, Arc::new(Notify::new()));
        state.cuts.insert(number, cut.clone());
        let was_cut = state.cut_surplus();
        (PendingLogin { pending: self.clone(), number, cut }, was_cut)
    }
}

impl PendingState {
    /// Cuts the oldest until no more than may be are pending; whether there was one to cut.
    fn cut_surplus(&mut self) -> bool {
        let is_over = self.cuts.len() > self.most;
        while self.cuts.len() > self.most
            && let Some((_, oldest)) = self.cuts.pop_first()
        {
            oldest.notify_one();
        }
        is_over
    }
}

impl PendingLogin {
    /// It has logged in, or sent its first request: it is not cut any more.
    pub(crate) fn done(&self) {
        self.pending.0.lock().cuts.remove(&self.number);
    }

    /// Resolves when it must end. For one task at a time.
    pub(crate) async fn cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for PendingLogin {
    fn drop(&mut self) {
        self.done();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_too_many_cuts_the_oldest_that_is_still_pending() {
        let pending = Pending::new(2);
        let (first, second) = (pending.enter().0, pending.enter().0);
        first.done();
        let (third, was_cut) = pending.enter();
        assert!(!was_cut);
        let (fourth, was_cut) = pending.enter();
        assert!(was_cut);
        let is_cut = [&first, &second, &third, &fourth].map(|it| it.cut().now_or_never().is_some());
        assert_eq!(is_cut, [false, true, false, false]);
        pending.set_most(1);
        assert!(third.cut().now_or_never().is_some() && fourth.cut().now_or_never().is_none());
        drop((third, fourth));
        assert_eq!(pending.0.lock().cuts.len(), 0);
    }
}
