//! The session of a connection: what is done with each frame and each event. Does no I/O.
//!
//! Enters: WebSocket messages, outcomes, keys of rooms that moved, results of jobs, time. Leaves: frames and
//! jobs, or the end of the connection. Invariants: what is wrong with one frame is answered and the
//! connection goes on, unless it is not a JSON object; before a login only `login` and `ping` are done.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use roomlog_core::{lane::Arrival, mailbox::Mailbox, outcome::AppendOutcome, queue::Draft};
use roomlog_protocol::{
    Author, ClientAppend, ClientFrame, ClientUpdate, CloseCode, EntryId, ErrorCode, Join, Login,
    Refusal, RoomName, ServerFrame,
    client::{Rejected, parse},
};
use tokio_websockets::Message;

use super::{
    appends::{Appends, refuse_append},
    follows::Follows,
    reads::{Asked, Reads},
    socket::{End, OUT_BYTES, Out},
    turn::{Done, Job, OpenRooms, Question, Turn},
    watch::Watch,
};
use crate::{
    gateway::Gateway,
    outcome::{new_id, now_ms},
    wire,
};

/// The session of a connection.
pub(super) struct Session {
    gateway: Arc<Gateway>,
    author: Option<Author>,
    rooms: OpenRooms,
    appends: Appends,
    reads: Reads,
    follows: Follows,
    watch: Watch,
    /// What waits to be written to the socket.
    pub(super) out: Out,
    jobs: VecDeque<Job>,
    questions: u64,
    opened: Instant,
    heard: Instant,
    is_pinged: bool,
    /// Since when the server stops.
    draining: Option<Instant>,
}

/// Splits a session into the turn and its parts.
macro_rules! parts {
    ($session:ident, $now:expr) => {{
        let Session { gateway, rooms, out, jobs, appends, reads, follows, watch, .. } = $session;
        (Turn { now: $now, gateway, rooms, out, jobs }, appends, reads, follows, watch)
    }};
}

impl Session {
    pub(super) fn new(gateway: Arc<Gateway>, mailbox: Arc<Mailbox>, now: Instant) -> Self {
        let mut out = Out::default();
        out.push(gateway.hello.clone());
        Self {
            gateway,
            author: None,
            rooms: OpenRooms::new(mailbox.clone()),
            appends: Appends::new(mailbox),
            reads: Reads::default(),
            follows: Follows::default(),
            watch: Watch::default(),
            out,
            jobs: VecDeque::new(),
            questions: 0,
            opened: now,
            heard: now,
            is_pinged: false,
            draining: None,
        }
    }

    /// Notes that the client is alive.
    pub(super) fn note_heard(&mut self, now: Instant) {
        self.heard = now;
        self.is_pinged = false;
    }

    /// Whether the socket is read.
    pub(super) fn may_read(&self) -> bool {
        let most = self.gateway.config.limits.appends_in_flight;
        self.draining.is_none()
            && self.out.bytes() < OUT_BYTES
            && self.appends.unanswered() < most
            && self.appends.submitted() < most
            && self.reads.unanswered() < most
    }

    /// Whether a follower may have something to send.
    pub(super) fn has_more(&self) -> bool {
        self.follows.is_pending()
    }

    /// Fills what waits for the socket up to one batch.
    pub(super) fn fill(&mut self) {
        if self.follows.is_pending() {
            let may_read = self.draining.is_none();
            let (mut turn, _, _, follows, _) = parts!(self, Instant::now());
            follows.fill(&mut turn, may_read);
        }
    }

    /// The next job, if the client takes its answers.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        while self.out.bytes() < OUT_BYTES {
            let job = self.jobs.pop_front()?;
            let is_open = match &job {
                Job::Read(..) => true,
                Job::CatchUp(question, key, ..) => self.follows.is_open(*key, *question),
                Job::List(question, _) => self.watch.is_open(*question),
            };
            if is_open {
                return Some(job);
            }
        }
        None
    }

    /// Shows the sequencer what was submitted.
    pub(super) fn flush(&mut self) {
        if self.appends.take_unflushed() {
            self.gateway.node.flush();
        }
    }

    pub(super) fn outcome(&mut self, now: Instant, token: u64, outcome: AppendOutcome) {
        let (mut turn, appends, ..) = parts!(self, now);
        appends.outcome(&mut turn, token, outcome);
    }

    /// A room has moved.
    pub(super) fn moved(&mut self, now: Instant, key: u32) {
        let (mut turn, appends, reads, follows, _) = parts!(self, now);
        let (waits, has_reads) = (appends.waits_for_room(key), reads.has(key));
        turn.rooms.heard(key, follows.has(key) || has_reads || waits);
        follows.moved(key);
        if waits {
            appends.moved(&mut turn, key);
        }
        if has_reads {
            reads.proceed(&mut turn, follows, key);
        }
    }

    pub(super) fn done(&mut self, now: Instant, done: Done) {
        let (mut turn, _, reads, follows, watch) = parts!(self, now);
        match done {
            Done::Read(question, key, page) => {
                reads.page(&mut turn, follows, question, key, page);
            }
            Done::CatchUp(question, key, page) => follows.page(&mut turn, question, key, page),
            Done::List(question, heads) => watch.listed(&mut turn, question, heads),
        }
    }

    /// When [`Session::tick`] has something to do, if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        let (drain, limits) = (self.gateway.config.drain, &self.gateway.config.limits);
        let silence = if self.is_pinged { limits.idle_for } else { limits.ping_after };
        let login = self.author.is_none().then(|| self.opened + limits.login_for);
        let drained = self.draining.map(|since| since + drain);
        let appends = self.appends.deadline(self.gateway.config.limits.append_for);
        let others = [login, drained, appends, self.reads.deadline(), self.watch.deadline()];
        others.into_iter().flatten().fold(self.heard + silence, Instant::min)
    }

    pub(super) fn tick(&mut self, now: Instant) -> Result<(), End> {
        let limits = &self.gateway.config.limits;
        if self.draining.is_some_and(|since| now >= since + self.gateway.config.drain) {
            return Err(End::GONE);
        }
        if self.author.is_none() && now >= self.opened + limits.login_for {
            return Err(End::close(CloseCode::Policy, "no login in time"));
        }
        if now >= self.heard + limits.idle_for {
            return Err(End::close(CloseCode::GoingAway, "nothing was heard for idle_ms"));
        }
        if !self.is_pinged && now >= self.heard + limits.ping_after {
            self.is_pinged = true;
            self.out.push(wire::ping_frame());
        }
        let (mut turn, appends, reads, follows, watch) = parts!(self, now);
        appends.tick(&mut turn);
        reads.tick(&mut turn, follows);
        watch.tick(&mut turn);
        Ok(())
    }

    /// The server stops: what waits is answered, what was taken is finished.
    pub(super) fn drain(&mut self, now: Instant) {
        self.draining = Some(now);
        let (mut turn, appends, reads, follows, _) = parts!(self, now);
        appends.close(&mut turn);
        reads.close(&mut turn, follows);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Whether nothing is left to do before the server stops, but for a job that is running.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.is_some()
            && self.out.is_empty()
            && self.appends.unanswered() == 0
            && self.jobs.is_empty()
    }

    /// Takes a WebSocket message.
    pub(super) fn message(&mut self, now: Instant, message: &Message) -> Result<(), End> {
        if message.is_ping() {
            self.out.push(wire::pong_frame(message.as_payload()));
            return Ok(());
        }
        if message.is_close() {
            return Err(End::close(CloseCode::Normal, ""));
        }
        if message.is_binary() {
            let reason = "frames are text: one JSON object each";
            return Err(End::close(CloseCode::Unsupported, reason));
        }
        let Some(text) = message.as_text() else { return Ok(()) };
        match parse(text, &self.gateway.config.limits) {
            Ok(frame) => self.frame(now, frame),
            Err(Rejected::Malformed(problem)) => {
                return Err(End::close(CloseCode::NotJson, problem.to_string()));
            }
            Err(Rejected::Refused(refusal)) => self.refuse(*refusal),
            Err(Rejected::RefusedRead { room, refusal }) => match self.rooms.key(&room) {
                Some(key) => self.ask(now, key, Asked::Refused(refusal)),
                None => self.refuse(*refusal),
            },
            Err(Rejected::RefusedAppend { place, refusal }) => {
                self.refused_append(now, place, *refusal);
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Instant, frame: ClientFrame) {
        if self.author.is_none()
            && let Some(refusal) = needs_login(&frame)
        {
            return match frame {
                ClientFrame::Append(_) => self.refuse_append(now, refusal),
                _ => self.refuse(refusal),
            };
        }
        match frame {
            ClientFrame::Login(login) => self.login(login),
            ClientFrame::Join(Join(update)) => self.read(now, update, true),
            ClientFrame::Update(update) => self.read(now, update, false),
            ClientFrame::Leave { room, req } => match self.rooms.key(&room) {
                Some(key) => self.ask(now, key, Asked::Leave(req)),
                None => self.say(&ServerFrame::Left { room, req }),
            },
            ClientFrame::Append(append) => self.append(now, *append),
            ClientFrame::Watch { req } => {
                let question = self.new_question();
                let (mut turn, .., watch) = parts!(self, now);
                watch.begin(&mut turn, question, req);
            }
            ClientFrame::Ping { req } => self.say(&ServerFrame::Pong { req }),
        }
    }

    fn login(&mut self, login: Login) {
        let Login { token, author, req } = login;
        let refuse = |code, message: &str| Refusal { req, ..Refusal::new(code, message) };
        let Some(author) = author.filter(|_| token.is_none()) else {
            let message = "this server is open: log in with `author` and no `token`";
            return self.refuse(refuse(ErrorCode::BadMessage, message));
        };
        if self.author.as_ref().is_some_and(|first| *first != author) {
            let message = "this connection is logged in as another author; open a new one";
            return self.refuse(refuse(ErrorCode::Forbidden, message));
        }
        self.author = Some(author.clone());
        self.say(&ServerFrame::Welcome { author });
    }

    fn append(&mut self, now: Instant, append: ClientAppend) {
        let Some(author) = append.author.as_ref().or(self.author.as_ref()).cloned() else { return };
        let entry_id = append.id.clone().unwrap_or_else(new_id);
        let place = (append.room.clone(), Some(entry_id.clone()), append.req);
        let arrival = Arrival {
            token: 0,
            seq: append.seq,
            id: append.id.clone(),
            entry_id: entry_id.clone(),
            after: append.after,
            reference: append.reference,
            work: Ok(Box::new(Draft::new(append, author, entry_id, now_ms()))),
        };
        self.arrive(now, place, arrival);
    }

    /// Takes an append that was refused on input. If it has a number, it uses that up, in its turn.
    fn refused_append(&mut self, now: Instant, place: Option<(RoomName, u64)>, refusal: Refusal) {
        let Some((room, seq)) = place else { return self.refuse_append(now, refusal) };
        if self.author.is_none() {
            let Refusal { code, message, .. } = login_required();
            return self.refuse_append(now, Refusal { code, message, ..refusal });
        }
        let bare = Refusal::new(refusal.code, refusal.message);
        let arrival = Arrival {
            token: 0,
            seq: Some(seq),
            id: refusal.id.clone(),
            entry_id: refusal.id.clone().unwrap_or_else(new_id),
            after: None,
            reference: None,
            work: Err(AppendOutcome::Invalid(Box::new(bare))),
        };
        self.arrive(now, (room, refusal.id, refusal.req), arrival);
    }

    fn arrive(
        &mut self,
        now: Instant,
        place: (RoomName, Option<EntryId>, Option<i64>),
        arrival: Arrival<Box<Draft>>,
    ) {
        let (room, id, req) = &place;
        let refusal =
            Refusal { id: id.clone(), req: *req, ..Refusal::new(ErrorCode::TooLarge, "") };
        let Some(key) = self.open(room, &refusal) else {
            return self.gateway.config.metrics.refused(ErrorCode::Unavailable);
        };
        if arrival.seq.is_some() && !self.counts(key) && self.is_full() {
            let message = "this connection has as many rooms as it may; use another connection";
            return self.refuse_append(now, Refusal { message: message.into(), ..refusal });
        }
        let (mut turn, appends, ..) = parts!(self, now);
        appends.arrive(&mut turn, key, place, arrival);
    }

    /// Takes an `update` or a `join`.
    fn read(&mut self, now: Instant, update: ClientUpdate, is_join: bool) {
        let refusal = Refusal { req: update.req, ..Refusal::new(ErrorCode::TooLarge, "") };
        let Some(key) = self.open(&update.room, &refusal) else { return };
        if is_join && !self.counts(key) && self.is_full() {
            let message = "this connection follows as many rooms as it may; leave one first";
            let room = Some(update.room);
            let refusal = Refusal { room, message: message.into(), ..refusal };
            return self.ask(now, key, Asked::Refused(Box::new(refusal)));
        }
        self.ask(now, key, if is_join { Asked::Join(update) } else { Asked::Update(update) });
    }

    fn ask(&mut self, now: Instant, key: u32, asked: Asked) {
        let question = self.new_question();
        let (mut turn, _, reads, follows, _) = parts!(self, now);
        reads.ask(&mut turn, follows, key, question, asked);
    }

    fn new_question(&mut self) -> Question {
        self.questions += 1;
        Question(self.questions)
    }

    /// The key of a room, which is opened if it is not yet. If it cannot be read, the client is told.
    fn open(&mut self, room: &RoomName, refusal: &Refusal) -> Option<u32> {
        if let Some(key) = self.rooms.key(room) {
            return Some(key);
        }
        match self.gateway.node.tail(room) {
            Ok(tail) => {
                if self.rooms.len() >= self.gateway.config.limits.rooms_per_connection {
                    self.evict_rooms_at_rest();
                }
                Some(self.rooms.add(tail))
            }
            Err(problem) => {
                self.gateway.note_unreadable(&problem);
                self.refuse(Refusal {
                    code: ErrorCode::Unavailable,
                    message: format!("this room cannot be read: {problem}"),
                    room: Some(room.clone()),
                    ..refusal.clone()
                });
                None
            }
        }
    }

    /// Whether a room counts towards `rooms_per_connection`.
    fn counts(&self, key: u32) -> bool {
        self.follows.has(key) || self.appends.is_numbered(key) || self.reads.has_join(key)
    }

    /// Whether `rooms_per_connection` is reached.
    fn is_full(&self) -> bool {
        let most = self.gateway.config.limits.rooms_per_connection;
        // Most connections have fewer rooms: then none is looked at, for each one that is new.
        self.rooms.len() >= most
            && self.rooms.keys().into_iter().filter(|key| self.counts(*key)).count() >= most
    }

    fn evict_rooms_at_rest(&mut self) {
        let Self { rooms, appends, reads, follows, .. } = self;
        rooms.retain(|key| follows.has(key) || reads.has(key) || !appends.is_at_rest(key));
        appends.retain(|key| rooms.tail(key).is_some());
    }

    fn say(&mut self, frame: &ServerFrame) {
        self.out.push(wire::server_frame(frame));
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.say(&ServerFrame::Error(refusal.into()));
    }

    fn refuse_append(&mut self, now: Instant, refusal: Refusal) {
        let (mut turn, ..) = parts!(self, now);
        refuse_append(&mut turn, refusal);
    }
}

/// The refusal of a frame that needs a login; `None` if it needs none.
fn needs_login(frame: &ClientFrame) -> Option<Refusal> {
    let refusal =
        |room: Option<&RoomName>, req| Refusal { room: room.cloned(), req, ..login_required() };
    Some(match frame {
        ClientFrame::Login(_) | ClientFrame::Ping { .. } => return None,
        ClientFrame::Join(Join(update)) | ClientFrame::Update(update) => {
            refusal(Some(&update.room), update.req)
        }
        ClientFrame::Leave { room, req } => refusal(Some(room), *req),
        ClientFrame::Watch { req } => refusal(None, *req),
        ClientFrame::Append(append) => Refusal {
            id: append.id.clone(),
            seq: append.seq,
            ..refusal(Some(&append.room), append.req)
        },
    })
}

fn login_required() -> Refusal {
    Refusal::new(ErrorCode::LoginRequired, "log in first: {\"type\":\"login\",\"author\":…}")
}
