//! A client's conversation with a server, across all its connections, without I/O.
//!
//! ```text
//!  appends ──► Outbox ──┐                ┌──► outcomes
//!  reads   ──► Requests ┼─► frames   ────┤──► replies
//!  follows ──►        ──┘   answers ◄────└──► deliveries
//! ```
//!
//! Invariant: appends go behind the other requests, so a long outbox does not delay a read; a
//! connection is given up only after a `ping` got no answer. Time and jitter are passed in.

use std::time::Duration;

use roomlog_protocol::{ClientAppend, ClientFrame, EntryId, Hello, Limits, ServerFrame};
use tokio::sync::oneshot;

use crate::{
    AppendError, ClientError,
    options::Options,
    outbox::{Outbox, Outcome, Verdict},
    requests::{Requests, written},
    socket::{LOGIN_REQ, login_with},
};

/// How long past the server's own limit to wait for an answer.
const ANSWER_SLACK: Duration = Duration::from_secs(10);
/// Bounds of [`Options::ping_after`] and [`Options::ping_timeout`]: no busy loop, no overflow.
const SILENCES: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));

/// An append and who waits for its outcome.
pub(crate) struct AppendRequest {
    pub(crate) id: EntryId,
    pub(crate) append: ClientAppend,
    /// The log of the slots that it names.
    pub(crate) log: String,
    pub(crate) caller: oneshot::Sender<Outcome>,
}

pub(crate) struct Session {
    pub(crate) outbox: Outbox<oneshot::Sender<Outcome>>,
    pub(crate) requests: Requests,
    limits: Limits,
    liveness: Liveness,
    ping: Option<String>,
    /// A login with a new token that was not sent yet.
    login: Option<String>,
    /// Timeouts of answers start here at the earliest: before, the socket was not read.
    reading_since: Duration,
    /// Whether the server answered anything on this connection.
    pub(crate) was_answered: bool,
}

impl Session {
    pub(crate) fn new(options: &Options, hello: &Hello, now: Duration) -> Self {
        Self {
            outbox: Outbox::new(options.outbox, options.retry_timeout)
                .wait_when_ahead(options.wait_when_ahead)
                .append_to_new_log(options.append_to_new_log),
            requests: Requests::new(options.retry_timeout, &hello.log),
            limits: hello.limits.clone(),
            liveness: Liveness::new(
                bounded(options.ping_after),
                bounded(options.ping_timeout),
                now,
            ),
            ping: None,
            login: None,
            reading_since: now,
            was_answered: false,
        }
    }

    /// Whether every append and read is answered.
    pub(crate) fn is_done(&self) -> bool {
        self.outbox.is_empty() && self.requests.reads.is_empty()
    }

    pub(crate) fn connected(&mut self, hello: &Hello, now: Duration) {
        if hello.log != self.requests.log() {
            self.outbox.new_log();
        }
        self.requests.connected(&hello.log, now);
        self.limits = hello.limits.clone();
        self.was_answered = false;
        (self.ping, self.login) = (None, None);
        self.reading_again(now);
        self.settle();
    }

    /// Queues an append. One of another log loses its `after`, or fails if it names a slot.
    pub(crate) fn append(&mut self, request: AppendRequest) {
        let AppendRequest { id, mut append, log, caller } = request;
        if log != self.requests.log() {
            if self.outbox.fails_on_new_log(&append) {
                let _caller_may_be_dropped = caller.send(Err(AppendError::NewLog));
                return;
            }
            append.after = None;
        }
        self.outbox.push(id, append, caller);
    }

    /// Logs in again with this token.
    pub(crate) fn renew(&mut self, token: String) {
        self.login = Some(login_with(token));
    }

    /// The socket was not read until now, so the silence means nothing.
    pub(crate) fn reading_again(&mut self, now: Duration) {
        self.liveness.heard(now);
        self.reading_since = now;
    }

    /// A WebSocket ping or pong arrived.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.liveness.heard(now);
    }

    pub(crate) fn frame(&mut self, frame: ServerFrame, now: Duration, jitter: f64) -> Verdict {
        self.liveness.heard(now);
        self.was_answered |= matches!(
            frame,
            ServerFrame::Appended(_) | ServerFrame::Reply(_) | ServerFrame::Heads(_)
        );
        let mut verdict = Verdict::Continue;
        match frame {
            ServerFrame::Appended(appended) => self.outbox.appended(appended, now),
            ServerFrame::Reply(reply) => self.requests.reply(reply, now, jitter),
            ServerFrame::Ack(ack) => self.requests.ack(ack, now),
            ServerFrame::Heads(heads) => self.requests.heads(heads, now),
            ServerFrame::Error(error) => {
                verdict = match error.req {
                    // The new token is not good; a new connection finds out whether another one is.
                    Some(LOGIN_REQ) => Verdict::Reconnect(error.message),
                    Some(req) if req > 0 => self.outbox.refused(error, now, jitter),
                    Some(_) => self.requests.refused(error, now, jitter),
                    // All our frames have a `req`: this ends a follow, the watch or the connection.
                    None => self.requests.cut_off(error, now, jitter),
                }
            }
            ServerFrame::Hello(_)
            | ServerFrame::Welcome { .. }
            | ServerFrame::Left { .. }
            | ServerFrame::Pong { .. } => {}
        }
        self.settle();
        verdict
    }

    pub(crate) fn next_frame(&mut self, now: Duration) -> Option<String> {
        if let Some(first) = self.login.take().or_else(|| self.ping.take()) {
            return Some(first);
        }
        let frame =
            self.requests.next_frame(now).or_else(|| self.outbox.next_frame(now, &self.limits));
        self.settle(); // An append that is too large fails without being sent.
        frame
    }

    /// Checks the timeouts: when to check again, or why to reconnect.
    pub(crate) fn check(&mut self, now: Duration) -> Result<Duration, String> {
        let limit = self.limits.append_for + ANSWER_SLACK;
        let oldest = self.outbox.oldest_unanswered().into_iter();
        let oldest = oldest.chain(self.requests.oldest_unanswered()).min();
        let overdue = oldest.map(|sent| sent.max(self.reading_since) + limit);
        if overdue.is_some_and(|overdue| overdue <= now) {
            return Err(format!("the server left a frame unanswered for {} s", limit.as_secs()));
        }
        let silence = match self.liveness.check(now) {
            Silence::Dead => return Err("the server does not answer a ping".into()),
            Silence::Ping => self.send_ping(now),
            Silence::Until(at) => at,
        };
        let wakes = [overdue, self.outbox.next_wake(), self.requests.next_wake()];
        Ok(wakes.into_iter().flatten().fold(silence, Duration::min))
    }

    /// As [`Session::check`] while the socket is not read: it only sends pings.
    pub(crate) fn check_unread(&mut self, now: Duration) -> Duration {
        match self.liveness.check(now) {
            Silence::Dead => {
                self.liveness.heard(now);
                now
            }
            Silence::Ping => self.send_ping(now),
            Silence::Until(at) => at,
        }
    }

    fn send_ping(&mut self, now: Duration) -> Duration {
        self.ping = Some(written(&ClientFrame::Ping { req: None }));
        now
    }

    pub(crate) fn fail_all(&mut self, error: &ClientError) {
        self.requests.reads.fail_all(error);
        self.outbox.fail_all(&AppendError::Unknown(error.clone()));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((caller, outcome)) = self.outbox.next_settled() {
            let _caller_may_be_dropped = caller.send(outcome);
        }
    }
}

fn bounded(silence: Duration) -> Duration {
    silence.clamp(SILENCES.0, SILENCES.1)
}

/// What to do about a silent connection.
#[derive(Debug, PartialEq, Eq)]
enum Silence {
    /// Check again at this time.
    Until(Duration),
    /// Send a `ping` now.
    Ping,
    /// The `ping` timed out.
    Dead,
}

#[derive(Debug)]
struct Liveness {
    ping_after: Duration,
    ping_timeout: Duration,
    heard: Duration,
    pinged: Option<Duration>,
}

impl Liveness {
    /// Sends a `ping` after `ping_after` of silence and gives up `ping_timeout` later.
    fn new(ping_after: Duration, ping_timeout: Duration, now: Duration) -> Self {
        Self { ping_after, ping_timeout, heard: now, pinged: None }
    }

    /// Something arrived, or the socket was not read until now.
    fn heard(&mut self, now: Duration) {
        (self.heard, self.pinged) = (now, None);
    }

    fn check(&mut self, now: Duration) -> Silence {
        match self.pinged {
            Some(pinged) if now >= pinged + self.ping_timeout => Silence::Dead,
            Some(pinged) => Silence::Until(pinged + self.ping_timeout),
            None if now >= self.heard + self.ping_after => {
                self.pinged = Some(now);
                Silence::Ping
            }
            None => Silence::Until(self.heard + self.ping_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_is_pinged_once_and_then_given_up() {
        let at = Duration::from_secs;
        let mut liveness = Liveness::new(at(15), at(10), at(0));
        assert_eq!(liveness.check(at(14)), Silence::Until(at(15)));
        assert_eq!(liveness.check(at(15)), Silence::Ping);
        assert_eq!(liveness.check(at(24)), Silence::Until(at(25)));
        liveness.heard(at(24));
        assert_eq!(liveness.check(at(25)), Silence::Until(at(39)));
        assert_eq!(liveness.check(at(39)), Silence::Ping);
        assert_eq!(liveness.check(at(49)), Silence::Dead);
    }
}
