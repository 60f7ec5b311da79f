//! The mailbox of a connection: how the node notifies it without waiting for it.
//!
//! Enters: outcomes of its appends, and keys of rooms that moved. Leaves: both, in order.
//! Invariant: its size is bounded by the connection's requests: one outcome per append in flight,
//! and a room that moved is listed once until the connection looks at it.

use std::{future::poll_fn, task::Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::model::outcome::AppendOutcome;

/// The content of a mailbox.
#[derive(Debug, Default)]
pub struct Mail {
    /// Outcomes, by the token that the connection gave each append.
    pub outcomes: Vec<(u64, AppendOutcome)>,
    /// The keys of rooms that moved.
    pub moved: Vec<u32>,
}

/// The mailbox of a connection.
#[derive(Debug, Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    owner: AtomicWaker,
}

impl Mailbox {
    pub(crate) fn outcome(&self, token: u64, outcome: AppendOutcome) {
        self.mail.lock().outcomes.push((token, outcome));
        self.owner.wake();
    }

    pub(crate) fn moved(&self, key: u32) {
        self.mail.lock().moved.push(key);
        self.owner.wake();
    }

    /// Takes all mail.
    #[must_use]
    pub fn take(&self) -> Mail {
        std::mem::take(&mut self.mail.lock())
    }

    /// Swaps all mail with an empty `mail`, so that notifying a thousand followers does not
    /// allocate a thousand times.
    pub fn exchange(&self, mail: &mut Mail) {
        debug_assert!(
            mail.outcomes.is_empty() && mail.moved.is_empty(),
            "unread mail would be lost"
        );
        std::mem::swap(&mut *self.mail.lock(), mail);
    }

    /// Waits until there is mail. Only one task may wait.
    pub async fn wait(&self) {
        poll_fn(|context| {
            // Registered before looking, so that mail in between wakes this task again.
            self.owner.register(context.waker());
            let mail = self.mail.lock();
            if mail.outcomes.is_empty() && mail.moved.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
}
