//! One client's dealings with a server, over all its connections, without I/O.
//!
//! ```text
//!  appends ──► Outbox ──┐                ┌──► outcomes
//!  reads   ──► Asks   ──┼─► frames   ────┤──► replies
//!  follows ──►        ──┘   answers ◄────└──► deliveries
//! ```
//!
//! Enters: what callers want, frames, losses. Leaves: frames, outcomes, deliveries. Invariant:
//! appends go behind asks, so a long outbox does not hold up a read; time and jitter are handed in.

use std::time::Duration;

use roomlog_protocol::{ClientFrame, Hello, Limits, ServerFrame};
use tokio::sync::oneshot;

use crate::{
    AppendError, ClientError,
    asks::{Asks, Delivery, written},
    driver::AppendRequest,
    liveness::{Liveness, Silence},
    options::Options,
    outbox::{Outbox, Outcome, Verdict},
};

/// How much longer than the server's own bound an answer is waited for.
const ANSWER_SLACK: Duration = Duration::from_secs(10);

/// The shortest and the longest silence that can be asked for: one is no busy loop, the other no overflow.
const SILENCES: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));

pub(crate) struct Session {
    pub(crate) outbox: Outbox<oneshot::Sender<Outcome>>,
    pub(crate) asks: Asks,
    limits: Limits,
    liveness: Liveness,
    ping: Option<String>,
    /// Nothing that was sent before counts as sent earlier than this: nobody listened.
    listening_since: Duration,
    /// Whether the server answered something on this connection.
    answered: bool,
}

impl Session {
    pub(crate) fn new(options: &Options, hello: &Hello, now: Duration) -> Self {
        Self {
            outbox: Outbox::new(options.outbox, options.patience)
                .wait_when_ahead(options.wait_when_ahead)
                .append_to_new_log(options.append_to_new_log),
            asks: Asks::new(options.patience, &hello.log),
            limits: hello.limits.clone(),
            liveness: Liveness::new(bounded(options.quiet), bounded(options.answer), now),
            ping: None,
            listening_since: now,
            answered: false,
        }
    }

    /// Whether all that was asked for has its answer.
    pub(crate) fn is_done(&self) -> bool {
        self.outbox.is_empty() && self.asks.is_quiet()
    }

    /// Whether the server answered something since the last [`Session::connected`].
    pub(crate) fn was_answered(&self) -> bool {
        self.answered
    }

    pub(crate) fn connected(&mut self, hello: &Hello, now: Duration) {
        if hello.log != self.asks.log() {
            self.outbox.new_log();
        }
        self.asks.connected(&hello.log, now);
        self.limits = hello.limits.clone();
        self.answered = false;
        self.ping = None;
        self.listened(now);
        self.hand_out();
    }

    /// Takes an append. One that was made for another log than the server's drops its `after`, and one
    /// that names a slot of it goes back to its author.
    pub(crate) fn append(&mut self, request: AppendRequest) {
        let AppendRequest { id, mut append, log, caller } = request;
        if log != self.asks.log() {
            if self.outbox.gives_back(&append) {
                // A caller that went away wants no outcome.
                let _ = caller.send(Err(AppendError::NewLog));
                return;
            }
            append.after = None;
        }
        self.outbox.push(id, append, caller);
    }

    /// Nobody read from the socket until now, so silence until now means nothing.
    pub(crate) fn listened(&mut self, now: Duration) {
        self.liveness.heard(now);
        self.listening_since = now;
    }

    /// Something that is no frame of the protocol came in (a WebSocket ping).
    pub(crate) fn heard(&mut self, now: Duration) {
        self.liveness.heard(now);
    }

    /// Takes a frame of the server.
    pub(crate) fn frame(&mut self, frame: ServerFrame, now: Duration, unit: f64) -> Verdict {
        self.liveness.heard(now);
        let verdict = match frame {
            ServerFrame::Appended(appended) => {
                self.answered = true;
                self.outbox.appended(appended, now);
                Verdict::GoOn
            }
            ServerFrame::Reply(reply) => {
                self.answered = true;
                self.asks.reply(reply, now, unit);
                Verdict::GoOn
            }
            ServerFrame::Ack(ack) => {
                self.asks.ack(ack, now);
                Verdict::GoOn
            }
            ServerFrame::Heads(heads) => {
                self.answered = true;
                self.asks.heads(heads, now);
                Verdict::GoOn
            }
            ServerFrame::Error(error) => match error.req {
                Some(req) if req > 0 => self.outbox.refused(error, now, unit),
                Some(_) => self.asks.refused(error, now, unit),
                // Every frame of ours has a mark: this is about a following, or the connection.
                None => self.asks.cut_off(error, now, unit),
            },
            ServerFrame::Hello(_)
            | ServerFrame::Welcome { .. }
            | ServerFrame::Left { .. }
            | ServerFrame::Pong { .. } => Verdict::GoOn,
        };
        self.hand_out();
        verdict
    }

    /// The next frame to send.
    pub(crate) fn next_frame(&mut self, now: Duration) -> Option<String> {
        if let Some(ping) = self.ping.take() {
            return Some(ping);
        }
        let frame = self.asks.next_frame(now).or_else(|| self.outbox.next_frame(now, &self.limits));
        self.hand_out(); // What is too large has its outcome without being sent.
        frame
    }

    /// Looks at the clock: when to look again, or why the connection is of no use any more.
    pub(crate) fn look(&mut self, now: Duration) -> Result<Duration, String> {
        let patience = Duration::from_millis(self.limits.append_ms) + ANSWER_SLACK;
        let oldest = self.outbox.oldest_unanswered().into_iter();
        let oldest = oldest.chain(self.asks.oldest_unanswered()).min();
        let overdue = oldest.map(|sent| sent.max(self.listening_since) + patience);
        if overdue.is_some_and(|overdue| overdue <= now) {
            return Err(format!("the server left a frame unanswered for {} s", patience.as_secs()));
        }
        let silence = match self.liveness.look(now) {
            Silence::Dead => return Err("the server does not answer a ping".into()),
            Silence::Ping => self.ask_for_a_sign(now),
            Silence::Until(at) => at,
        };
        let wakes = [overdue, self.outbox.next_wake(), self.asks.next_wake()];
        Ok(wakes.into_iter().flatten().fold(silence, Duration::min))
    }

    /// As [`Session::look`], while nobody reads: silence means nothing, but the server has to hear
    /// from us now and then.
    pub(crate) fn look_deaf(&mut self, now: Duration) -> Duration {
        match self.liveness.look(now) {
            Silence::Dead => {
                self.liveness.heard(now);
                now
            }
            Silence::Ping => self.ask_for_a_sign(now),
            Silence::Until(at) => at,
        }
    }

    fn ask_for_a_sign(&mut self, now: Duration) -> Duration {
        self.ping = Some(written(&ClientFrame::Ping { req: None }));
        now
    }

    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        self.asks.next_delivery()
    }

    /// Gives up on everything, for this reason.
    pub(crate) fn fail_all(&mut self, error: &ClientError) {
        self.asks.fail_all(error);
        self.outbox.fail_all(&AppendError::Unknown(error.clone()));
        self.hand_out();
    }

    fn hand_out(&mut self) {
        while let Some((caller, outcome)) = self.outbox.next_settled() {
            // A caller that went away wants no outcome.
            let _ = caller.send(outcome);
        }
    }
}

fn bounded(silence: Duration) -> Duration {
    silence.clamp(SILENCES.0, SILENCES.1)
}
