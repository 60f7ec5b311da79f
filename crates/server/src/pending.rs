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
pub(crate) struct Pending {
    most: usize,
    state: Mutex<PendingState>,
}

#[derive(Debug, Default)]
struct PendingState {
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
        Arc::new(Self { most, state: Mutex::default() })
    }

    /// Adds a connection; also returns whether the oldest was cut for it.
    pub(crate) fn enter(self: &Arc<Self>) -> (PendingLogin, bool) {
        let mut state = self.state.lock();
        state.last += 1;
        let (number, cut) = (state.last, Arc::new(Notify::new()));
        state.cuts.insert(number, cut.clone());
        let is_over = state.cuts.len() > self.most;
        if is_over && let Some((_, oldest)) = state.cuts.pop_first() {
            oldest.notify_one();
        }
        (PendingLogin { pending: self.clone(), number, cut }, is_over)
    }
}

impl PendingLogin {
    /// It has logged in, or sent its first request: it is not cut any more.
    pub(crate) fn done(&self) {
        self.pending.state.lock().cuts.remove(&self.number);
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
        drop((third, fourth));
        assert_eq!(pending.state.lock().cuts.len(), 0);
    }
}
