//! The session of a connection: what is done with each frame and each event. Does no I/O.
//!
//! Enters: WebSocket messages, outcomes, keys of rooms that moved, results of jobs, time. Leaves: frames and
//! jobs, or the end of the connection. Invariants: what is wrong with one frame is answered and the
//! connection goes on, unless it is not a JSON object; before a login only `login` and `ping` are done; a
//! room is held while it is followed, read or appended to, and only one with entries a while longer, for
//! the next append.

mod access;
mod appending;
mod rooms;

use std::{sync::Arc, time::Instant};

use access::LoginState;
use appending::Delayed;
use futures_util::future::BoxFuture;
use roomlog_auth::Access;
use roomlog_core::{mailbox::Mailbox, outcome::AppendOutcome};
use roomlog_protocol::{
    Author, ClientFrame, ClientUpdate, CloseCode, ErrorCode, Join, Refusal, ServerFrame,
    client::{Rejected, parse},
};

use super::{
    appends::Appends,
    follows::Follows,
    frames::{Message, utf8},
    held::FRAME_BYTES,
    login::needs_login,
    reads::{Asked, Reads},
    socket::{self, End, OUT_BYTES},
    turn::{Done, Job, Turn},
    watch::Watch,
};
use crate::{
    admission::refused_for, auth::rights::check_read, gateway::Gateway, limited::Limit,
    principals::Client, wire,
};

/// The session of a connection.
pub(super) struct Session {
    pub(super) turn: Turn,
    author: Option<Author>,
    appends: Appends,
    reads: Reads,
    follows: Follows,
    watch: Watch,
    questions: u64,
    opened: Instant,
    heard: Instant,
    is_pinged: bool,
    /// Since when the server stops.
    draining: Option<Instant>,
    login: LoginState,
    delayed: Option<Delayed>,
}

impl Session {
    pub(super) fn new(gateway: Arc<Gateway>, client: Client, mailbox: Arc<Mailbox>) -> Self {
        let nothing = Arc::new(Access::nothing());
        let mut turn = Turn::new(gateway, (client, nothing), mailbox.clone());
        turn.out.push(turn.gateway.hello());
        Self {
            login: LoginState::default(),
            author: None,
            appends: Appends::new(mailbox),
            reads: Reads::default(),
            follows: Follows::default(),
            watch: Watch::default(),
            questions: 0,
            opened: turn.now,
            heard: turn.now,
            is_pinged: false,
            draining: None,
            delayed: None,
            turn,
        }
    }

    /// Notes that the client is alive.
    pub(super) fn note_heard(&mut self) {
        self.heard = self.turn.now;
        self.is_pinged = false;
    }

    /// Whether the socket is read: only if the answer to a frame more may be held.
    pub(super) fn may_read(&mut self) -> bool {
        self.count_held();
        let most = self.turn.gateway.config.limits.appends_in_flight;
        // One frame at a time is part of what every connection is charged for.
        let is_first = self.turn.out.is_empty() && self.appends.is_empty() && self.reads.is_empty();
        self.draining.is_none()
            && !self.login.is_pending()
            && self.delayed.is_none()
            && self.turn.paused_until.is_none_or(|until| self.turn.now >= until)
            && self.turn.out.bytes() < OUT_BYTES
            && self.appends.unanswered() < most
            && self.appends.submitted() < most
            && self.reads.unanswered() < most
            && (is_first || self.turn.may_hold_or_retry(FRAME_BYTES))
    }

    fn count_held(&mut self) {
        let Self { turn, appends, reads, follows, .. } = self;
        turn.held_else = appends.bytes() + reads.bytes() + follows.bytes();
    }

    /// Whether there is more to do once the socket has taken what waited: for a follower, or a job
    /// unless one is running (`has_job`). Nothing else would wake the task for these.
    pub(super) fn has_more(&self, has_job: bool) -> bool {
        self.follows.is_pending() || (!has_job && !self.turn.jobs.is_empty())
    }

    /// Fills what waits for the socket up to one batch.
    pub(super) fn fill(&mut self) {
        self.count_held();
        self.turn.settle();
        if self.follows.is_pending() {
            self.follows.fill(&mut self.turn, self.draining.is_none());
        }
    }

    /// Starts the next job, if the client takes its answers.
    pub(super) fn next_job(&mut self) -> Option<BoxFuture<'static, Done>> {
        while self.turn.out.bytes() < OUT_BYTES {
            let job = self.turn.jobs.pop_front()?;
            let is_open = match &job {
                Job::Read(..) | Job::Login(..) => true,
                Job::CatchUp(question, key, ..) => self.follows.is_open(*key, *question),
                Job::List(question, _) => self.watch.is_open(*question),
            };
            if is_open {
                return Some(job.start(&self.turn));
            }
        }
        None
    }

    /// Shows the sequencer what was submitted.
    pub(super) fn flush(&mut self) {
        if self.appends.take_unflushed() {
            self.turn.gateway.node.flush();
        }
    }

    pub(super) fn outcome(&mut self, token: u64, outcome: AppendOutcome) {
        let key = self.appends.outcome(&mut self.turn, token, outcome);
        self.release_unless_written(key);
    }

    /// A room has moved.
    pub(super) fn moved(&mut self, key: u32) {
        let Self { turn, appends, reads, follows, .. } = self;
        let (waits, has_reads) = (appends.waits_for_room(key), reads.has(key));
        turn.rooms.moved(key, follows.has(key) || has_reads || waits, has_reads || waits);
        follows.moved(key);
        if waits {
            appends.moved(turn, key);
        }
        if has_reads {
            reads.proceed(turn, follows, key);
        }
        self.release(key);
    }

    pub(super) fn done(&mut self, done: Done) {
        let Self { turn, reads, follows, watch, .. } = self;
        let key = match done {
            Done::Read(question, key, page, charge) => {
                reads.page(turn, follows, question, key, page, charge);
                key
            }
            Done::CatchUp(question, key, page, charge) => {
                follows.page(turn, question, key, page, charge);
                key
            }
            Done::List(question, heads, most, charge) => {
                turn.held.absorb(charge);
                return watch.listed(turn, question, heads, most);
            }
            Done::Login(req, checked) => return self.checked(req, checked),
        };
        self.release(key);
    }

    /// When [`Session::tick`] has something to do, if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        let (drain, limits) = (self.turn.gateway.config.drain, &self.turn.gateway.config.limits);
        let silence = if self.is_pinged { limits.idle_for } else { limits.ping_after };
        let login = self.author.is_none().then(|| self.opened + limits.login_for);
        let drained = self.draining.map(|since| since + drain);
        let appends = self.appends.deadline(self.turn.gateway.config.limits.append_for);
        let (reads, watch) = (self.reads.deadline(), self.watch.deadline());
        let (ends_at, paused, held) =
            (self.login.ends_at, self.turn.paused_until, self.turn.held.retry());
        let delayed = self.retry_at();
        let others = [login, ends_at, drained, appends, reads, watch, paused, held, delayed];
        others.into_iter().flatten().fold(self.heard + silence, Instant::min)
    }

    pub(super) fn tick(&mut self) -> Result<(), End> {
        let (now, config) = (self.turn.now, &self.turn.gateway.config);
        let limits = &config.limits;
        if self.draining.is_some_and(|since| now >= since + config.drain) {
            return Err(End::GONE);
        }
        self.turn.paused_until = self.turn.paused_until.filter(|until| now < *until);
        if self.author.is_none() && now >= self.opened + limits.login_for {
            config.metrics.limited(Limit::LoginMs);
            return Err(End::close(CloseCode::Policy, "no login in time"));
        }
        if self.login.ends_at.is_some_and(|at| now >= at) {
            return Err(End::close(
                CloseCode::Policy,
                "the token has expired; log in with a new one",
            ));
        }
        if now >= self.heard + limits.idle_for {
            return Err(End::close(CloseCode::GoingAway, "nothing was heard for idle_ms"));
        }
        if !self.is_pinged && now >= self.heard + limits.ping_after {
            self.is_pinged = true;
            self.turn.out.push(wire::ping_frame());
        }
        self.turn.held.note_retry(now);
        if self.retry_at().is_some_and(|at| now >= at) {
            self.retry_append();
        }
        for key in self.appends.tick(&mut self.turn) {
            self.release_unless_written(Some(key));
        }
        for key in self.reads.tick(&mut self.turn, &mut self.follows) {
            self.release(key);
        }
        self.watch.tick(&mut self.turn);
        Ok(())
    }

    /// The server stops: what waits is answered, what was taken is finished.
    pub(super) fn drain(&mut self) {
        self.draining = Some(self.turn.now);
        self.retry_append();
        self.appends.close(&mut self.turn);
        self.reads.close(&mut self.turn, &mut self.follows);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Whether nothing is left to do before the server stops, but for a job that is running.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.is_some()
            && self.turn.out.is_empty()
            && self.appends.unanswered() == 0
            && self.turn.jobs.is_empty()
    }

    /// Takes a WebSocket message.
    pub(super) fn message(&mut self, message: &Message) -> Result<(), End> {
        // Control frames count like others, and are answered: only reading them stops for a while.
        let over = self.turn.client.admit_frame(message.len()).err();
        if let Some(refusal) = &over {
            self.turn.pause(refused_for(refusal));
        }
        // An append that is submitted takes that back.
        self.turn.placement.note_others(1);
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(payload) => {
                self.turn.out.pong(wire::pong_frame(payload));
                return Ok(());
            }
            Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::close(CloseCode::Normal, "")),
            Message::Binary(_) => {
                let reason = "frames are text: one JSON object each";
                return Err(End::close(CloseCode::Unsupported, reason));
            }
        };
        let text = utf8(text).map_err(|bad| socket::end_of(&bad.into()))?;
        match parse(text, &self.turn.gateway.config.limits) {
            Ok(mut frame) => {
                if let Some(room) = frame.room_mut() {
                    *room = self.turn.access.room(room);
                }
                self.frame(frame, over);
            }
            Err(Rejected::Malformed(problem)) => {
                return Err(End::close(CloseCode::NotJson, problem.to_string()));
            }
            Err(Rejected::Refused(refusal)) => self.turn.refuse(*refusal),
            Err(Rejected::RefusedRead { room, refusal }) => match self.key(&room) {
                Some(key) => self.ask(key, Asked::Refused(refusal)),
                None => self.turn.refuse(*refusal),
            },
            Err(Rejected::RefusedAppend { place, refusal }) => {
                let place = place.map(|(room, seq)| (self.turn.access.room(&room), seq));
                self.refused_append(place, *refusal);
            }
        }
        Ok(())
    }

    /// Takes a frame. If the client is `over` its rates, that is the answer to appends and reads;
    /// for the others it is enough that the socket is not read for a while.
    fn frame(&mut self, frame: ClientFrame, over: Option<Refusal>) {
        if self.author.is_none()
            && let Some(refusal) = needs_login(&frame)
        {
            return match frame {
                ClientFrame::Append(_) => self.turn.refuse_append(refusal),
                _ => self.turn.refuse(refusal),
            };
        }
        match (frame, over) {
            (ClientFrame::Append(append), over) => self.append(*append, over),
            (ClientFrame::Join(Join(update)) | ClientFrame::Update(update), Some(refusal)) => {
                self.refuse_read(update, refusal);
            }
            (ClientFrame::Watch { req }, Some(refusal)) => {
                self.turn.refuse(Refusal { req, ..refusal });
            }
            (ClientFrame::Login(login), _) => self.login(login),
            (ClientFrame::Join(Join(update)), None) => self.read(update, true),
            (ClientFrame::Update(update), None) => self.read(update, false),
            (ClientFrame::Leave { room, req }, _) => match self.turn.rooms.key(&room) {
                Some(key) => self.ask(key, Asked::Leave(req)),
                None => self.turn.say(&ServerFrame::Left { room, req }),
            },
            (ClientFrame::Watch { req }, None) => {
                let question = self.new_question();
                self.watch.begin(&mut self.turn, question, req);
            }
            (ClientFrame::Ping { req }, _) => self.turn.say(&ServerFrame::Pong { req }),
        }
    }

    /// Refuses a read, in its place among those of its room.
    fn refuse_read(&mut self, update: ClientUpdate, refusal: Refusal) {
        let (key, req) = (self.turn.rooms.key(&update.room), update.req);
        let refusal = Refusal { room: Some(update.room), req, ..refusal };
        match key {
            Some(key) => self.ask(key, Asked::Refused(Box::new(refusal))),
            None => self.turn.refuse(refusal),
        }
    }

    /// Takes an `update` or a `join`.
    fn read(&mut self, update: ClientUpdate, is_join: bool) {
        let req = update.req;
        if let Err(refusal) = check_read(&self.turn.access, &update.room) {
            self.turn.client.note_denied("read");
            return self.refuse_read(update, refusal);
        }
        let key = match self.open(&update.room) {
            Ok(key) => key,
            Err(refusal) => return self.turn.refuse(Refusal { req, ..refusal }),
        };
        if is_join && !self.counts(key) && self.is_full() {
            let message = "this connection follows as many rooms as it may; leave one first";
            return self.refuse_read(update, Refusal::new(ErrorCode::TooLarge, message));
        }
        self.ask(key, if is_join { Asked::Join(update) } else { Asked::Update(update) });
    }
}

#[cfg(test)]
#[path = "tests/session.rs"]
mod tests;
