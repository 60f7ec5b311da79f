//! The mailbox of a connection: how the node speaks to it without ever waiting for it.
//!
//! Enters: outcomes of its appends, and keys of rooms that moved. Leaves: both, in order. Invariant:
//! it cannot outgrow what the connection has asked for: an append reserves its place when it is read,
//! so at most one outcome per append in hand; a moved room is named once until it is looked at.

use std::{future::poll_fn, task::Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::model::outcome::AppendOutcome;

/// Mail for a connection.
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
    /// Delivers the outcome of an append.
    pub(crate) fn outcome(&self, token: u64, outcome: AppendOutcome) {
        self.mail.lock().outcomes.push((token, outcome));
        self.owner.wake();
    }

    /// Says that a room moved.
    pub(crate) fn moved(&self, key: u32) {
        self.mail.lock().moved.push(key);
        self.owner.wake();
    }

    /// Takes all mail.
    #[must_use]
    pub fn take(&self) -> Mail {
        std::mem::take(&mut self.mail.lock())
    }

    /// Takes all mail for a `mail` that was read and is empty; the two change places, so that a
    /// thousand followers that are told do not allocate a thousand times.
    pub fn exchange(&self, mail: &mut Mail) {
        debug_assert!(mail.outcomes.is_empty() && mail.moved.is_empty(), "mail that was not read");
        std::mem::swap(&mut *self.mail.lock(), mail);
    }

    /// Waits until there is mail. One connection waits at a time.
    pub async fn wait(&self) {
        poll_fn(|context| {
            // Registered first: mail that comes between the two wakes this up again.
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
