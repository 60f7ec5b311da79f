//! When the head of a request has to be there.
//!
//! ```text
//!  opened ──HEAD_TIME──► request in hand ──► answered: rests ──first byte──HEAD_TIME──► request in hand
//! ```
//!
//! Enters: that bytes came, that a request is in hand, that its answer has ended. Leaves: an instant at which
//! the connection ends, if there is one. Invariants: a connection that has said nothing yet, and a head
//! that has begun, have [`HEAD_TIME`]; a connection at rest between two requests has hyper's
//! `header_read_timeout`, [`REST_TIME`], which bounds every head as well.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the head of a request may take, from the opening of the connection or from its first byte.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection may rest between two requests. Balancers and proxies keep one for 60 s as a rule:
/// they have to be the ones that end it, or a request meets the end of its connection.
pub(crate) const REST_TIME: Duration = Duration::from_secs(75);

/// The clock of one connection, shared by its socket and its requests.
#[derive(Clone)]
pub(crate) struct HeadClock(Arc<Mutex<State>>);

#[derive(Clone, Copy)]
enum State {
    HeadIsDue(Instant),
    InHand,
    AtRest,
}

impl HeadClock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(State::HeadIsDue(Instant::now() + HEAD_TIME))))
    }

    /// Bytes came: behind an answer they are the head of the next request.
    pub(crate) fn bytes_came(&self) {
        let mut state = self.0.lock();
        if matches!(*state, State::AtRest) {
            *state = State::HeadIsDue(Instant::now() + HEAD_TIME);
        }
    }

    /// A head is there.
    pub(crate) fn request_came(&self) {
        *self.0.lock() = State::InHand;
    }

    /// When the head has to be there.
    pub(crate) fn due(&self) -> Option<Instant> {
        match *self.0.lock() {
            State::HeadIsDue(at) => Some(at),
            State::InHand | State::AtRest => None,
        }
    }

    /// The body of the answer to the request in hand: when it ends, the connection rests.
    pub(crate) fn until_the_end_of(&self, body: Body) -> Body {
        Body::new(Answer { body, clock: self.clone() })
    }
}

struct Answer {
    body: Body,
    clock: HeadClock,
}

impl Drop for Answer {
    fn drop(&mut self) {
        *self.clock.0.lock() = State::AtRest;
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_the_opening_or_its_first_byte_and_a_rest_has_none() {
        let clock = HeadClock::start();
        let opened = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        clock.bytes_came();
        assert_eq!(clock.due(), Some(opened + HEAD_TIME));
        clock.request_came();
        clock.bytes_came();
        assert_eq!(clock.due(), None);
        let body = clock.until_the_end_of(Body::from("answer"));
        assert_eq!((clock.due(), body.size_hint().exact()), (None, Some(6)));
        drop(body);
        assert_eq!(clock.due(), None);
        tokio::time::advance(Duration::from_secs(60)).await;
        clock.bytes_came();
        assert_eq!(clock.due(), Some(Instant::now() + HEAD_TIME));
    }
}
