//! Appends on their way, in the order they were made.
//!
//! Enters: appends with what the command knows of them. Leaves: their outcomes, in that order.
//! Invariant: at most [`SIZE`] at a time.

use std::collections::VecDeque;

use roomlog_client::{Outcome, Pending};

/// How many appends may be on their way: what the client's outbox and its channel hold.
const SIZE: usize = 1_024;

/// Appends on their way.
pub(crate) struct Window<T> {
    waiting: VecDeque<(T, Pending)>,
}

impl<T> Window<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(SIZE) }
    }

    pub(crate) fn has_space(&self) -> bool {
        self.waiting.len() < SIZE
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, about: T, pending: Pending) {
        self.waiting.push_back((about, pending));
    }

    /// The outcome of the oldest; never when there is none. May be dropped at any point.
    pub(crate) async fn next(&mut self) -> (T, Outcome) {
        let outcome = match self.waiting.front_mut() {
            Some((_, pending)) => pending.await,
            None => std::future::pending().await,
        };
        match self.waiting.pop_front() {
            Some((about, _)) => (about, outcome),
            None => unreachable!("the oldest was there a moment ago"),
        }
    }
}
