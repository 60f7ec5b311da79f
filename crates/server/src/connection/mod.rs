//! A connection: one task, one socket, any number of rooms.
//!
//! ```text
//!  socket ──frames──► appends (lane per room) ──► sequencer
//!                └──► reads (a line per room) ──► jobs: one page at a time
//!  mailbox ──outcomes, rooms that moved──► answers, followers ──► out ──► socket
//! ```
//!
//! Enters: frames of one client, mail from the node. Leaves: frames to that client. Invariants: nothing
//! here waits for the client while the node waits for it; the socket is not read while the client
//! has too much unanswered or does not take its answers; memory is bounded by one batch, one page and
//! what the client may have in flight.

mod appends;
mod follow;
mod frames;
mod links;
mod out;
mod reads;
mod socket;
mod watch;

use std::{collections::VecDeque, sync::Arc, time::Duration, time::Instant};

use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::mailbox::{Mail, Mailbox};
use roomlog_protocol::{Author, CloseCode, ErrorCode, Refusal, RoomName, ServerFrame};
use tokio::net::TcpStream;
use tokio_websockets::Message;

pub(crate) use self::reads::{keep_of, needed_end};
use self::{
    appends::Hands,
    links::Links,
    out::Out,
    reads::{Done, Job, Question},
    socket::Socket,
    watch::Watch,
};
use crate::{
    gateway::{Gateway, stopped},
    wire,
};

/// How much is put before a socket at once for those who follow over it, in bytes.
pub(crate) const BATCH_BYTES: usize = 128 << 10;

/// When this much waits for a socket, it is not read and no page is begun, in bytes.
const OUT_BYTES: usize = 256 << 10;

/// How many frames are taken before others have their turn, writing among them.
const FRAMES_A_TURN: usize = 32;

/// For how many letters an idle connection keeps memory.
const MAIL_KEPT: usize = 8;

/// Why a connection ends: the close frame that says so, or nothing when there is nobody to tell.
struct End(Option<(CloseCode, String)>);

impl End {
    fn close(code: CloseCode, reason: impl Into<String>) -> Self {
        Self(Some((code, reason.into())))
    }

    const GONE: Self = Self(None);
}

/// A connection.
pub(crate) struct Connection {
    gateway: Arc<Gateway>,
    mailbox: Arc<Mailbox>,
    /// Mail that was read: its memory is used again.
    mail: Mail,
    author: Option<Author>,
    out: Out,
    out_is_full: bool,
    links: Links,
    /// Keys of links in which something waits with a deadline.
    waiting: Vec<u32>,
    hands: Hands,
    reads_unanswered: usize,
    /// How many questions were asked for which jobs may run.
    questions: u64,
    jobs: VecDeque<Job>,
    job: Option<BoxFuture<'static, Done>>,
    /// Keys of followed rooms that may have something to send.
    line: VecDeque<u32>,
    watch: Option<Watch>,
    opened: Instant,
    heard: Instant,
    pinged: bool,
    /// Since when the server stops, as this connection sees it.
    draining: Option<Instant>,
}

enum Event {
    Writable(bool),
    Frame(Option<Result<Message, tokio_websockets::Error>>),
    Mail,
    Done(Done),
    Time,
    Drain,
}

impl Connection {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        let now = Instant::now();
        Self {
            gateway,
            mailbox: Arc::default(),
            mail: Mail::default(),
            author: None,
            out: Out::default(),
            out_is_full: false,
            links: Links::default(),
            waiting: Vec::new(),
            hands: Hands::default(),
            reads_unanswered: 0,
            questions: 0,
            jobs: VecDeque::new(),
            job: None,
            line: VecDeque::new(),
            watch: None,
            opened: now,
            heard: now,
            pinged: false,
            draining: None,
        }
    }

    /// Serves an upgraded connection until it ends. `read` is what came with the handshake already.
    pub(crate) async fn serve(mut self, stream: TcpStream, read: bytes::Bytes) {
        let frame_bytes = usize::try_from(self.gateway.config.limits.frame_bytes);
        let (mut socket, write) = Socket::new(stream, read, frame_bytes.unwrap_or(usize::MAX));
        let mut stopping = Box::pin(stopped(self.gateway.stopping.clone()));
        self.out.push(self.gateway.hello.clone());
        let mut timer = Box::pin(tokio::time::sleep_until(self.deadline().into()));
        let End(close) = loop {
            self.fill();
            self.begin_job();
            if !self.out.is_empty() && !self.out_is_full {
                match self.out.write(&write) {
                    Ok(full) => self.out_is_full = full,
                    Err(_) => break End::GONE,
                }
                if !self.out_is_full && !self.line.is_empty() {
                    // There is more, and the socket takes more; others have their turn first.
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            if self.is_drained() {
                break End::close(CloseCode::Restarting, "the server stops; reconnect");
            }
            let deadline = tokio::time::Instant::from(self.deadline());
            if timer.is_elapsed() || deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            let may_read = self.may_read();
            let event = tokio::select! {
                biased;
                writable = write.writable(), if self.out_is_full => Event::Writable(writable.is_ok()),
                () = self.mailbox.wait() => Event::Mail,
                done = async { match &mut self.job {
                    Some(job) => job.await,
                    None => std::future::pending().await,
                } } => Event::Done(done),
                frame = socket.next(), if may_read => Event::Frame(frame),
                () = &mut timer => Event::Time,
                () = &mut stopping, if self.draining.is_none() => Event::Drain,
            };
            let read = matches!(event, Event::Frame(Some(_)));
            let mut taken = self.take(event);
            if taken.is_ok() && read {
                taken = self.take_more(&mut socket);
            }
            self.flush();
            if let Err(end) = taken {
                break end;
            }
        };
        socket::finish(socket, write, self.out, close).await;
    }

    fn take(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Writable(true) => {
                // A socket that was full and takes more is alive.
                self.out_is_full = false;
                self.note_heard();
                Ok(())
            }
            Event::Writable(false) | Event::Frame(None) => Err(End::GONE),
            Event::Frame(Some(frame)) => {
                self.note_heard();
                self.take_frame(&frame.map_err(|error| socket::end_of(&error))?)
            }
            Event::Mail => {
                self.take_mail();
                Ok(())
            }
            Event::Done(done) => {
                self.job = None;
                self.done(done);
                Ok(())
            }
            Event::Time => self.tick(Instant::now()),
            Event::Drain => {
                self.drain();
                Ok(())
            }
        }
    }

    /// Takes the frames that came together with one, so that what is pipelined goes on together.
    fn take_more(&mut self, socket: &mut Socket) -> Result<(), End> {
        for _ in 1..FRAMES_A_TURN {
            if !self.may_read() {
                return Ok(());
            }
            let Some(frame) = socket.next().now_or_never() else { return Ok(()) };
            self.take(Event::Frame(frame))?;
        }
        Ok(())
    }

    fn take_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.mailbox.exchange(&mut mail);
        for (token, outcome) in mail.outcomes.drain(..) {
            self.outcome(token, outcome);
        }
        for key in mail.moved.drain(..) {
            self.moved(key);
        }
        mail.outcomes.shrink_to(MAIL_KEPT);
        mail.moved.shrink_to(MAIL_KEPT);
        self.mail = mail;
    }

    /// The key of the link to a room, made when there is none.
    fn link(&mut self, room: &RoomName, refusal: &Refusal) -> Option<u32> {
        if let Some(key) = self.links.key(room) {
            return Some(key);
        }
        match self.gateway.node.tail(room) {
            Ok(tail) => {
                let queue = self.gateway.node.queue(&self.mailbox);
                let limits = self.gateway.lane_limits();
                let most = self.rooms_limit();
                Some(self.links.add(tail, queue, limits, most))
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

    /// A question that no other one of this connection is.
    fn new_question(&mut self) -> Question {
        self.questions += 1;
        Question(self.questions)
    }

    fn rooms_limit(&self) -> usize {
        usize::try_from(self.gateway.config.limits.rooms_per_connection).unwrap_or(usize::MAX)
    }

    fn say(&mut self, frame: &ServerFrame) {
        self.out.push(wire::server_frame(frame));
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.say(&ServerFrame::Error(refusal.into()));
    }

    /// Notes that something in a room waits, and hears of the room when it waits for that.
    fn wait_in(&mut self, key: u32) {
        let Some(link) = self.links.get(key) else { return };
        if link.lane.waits_for_room() {
            link.hear(&self.mailbox, key);
            // It may have moved before it was heard.
            let end = link.tail.head().end;
            let mut steps = Vec::new();
            link.lane.pump(end, &mut steps);
            self.take_steps(key, steps);
        }
        let waits = self.links.get(key).is_some_and(|link| link.deadline().is_some());
        if waits && !self.waiting.contains(&key) {
            self.waiting.push(key);
        }
    }

    fn begin_job(&mut self) {
        while self.job.is_none() && self.out.bytes() < OUT_BYTES {
            let Some(job) = self.jobs.pop_front() else { return };
            self.job = self.start(job);
        }
    }

    fn may_read(&self) -> bool {
        let most = usize::try_from(self.gateway.config.limits.appends_in_flight);
        let most = most.unwrap_or(usize::MAX);
        self.draining.is_none()
            && self.out.bytes() < OUT_BYTES
            && self.hands.unanswered < most
            && self.hands.submitted < most
            && self.reads_unanswered < most
    }

    fn note_heard(&mut self) {
        self.heard = Instant::now();
        self.pinged = false;
    }

    /// When something has to be done if nothing happens before.
    fn deadline(&self) -> Instant {
        let limits = &self.gateway.config.limits;
        let ms = Duration::from_millis;
        let silence = self.heard + ms(if self.pinged { limits.idle_ms } else { limits.ping_ms });
        let login = self.author.is_none().then(|| self.opened + ms(limits.login_ms));
        let appends = self.hands.oldest().map(|at| at + ms(limits.append_ms));
        let drain = self.draining.map(|since| since + self.gateway.config.drain);
        let waiting = self.links.deadline(&self.waiting);
        let others = [login, appends, drain, waiting, self.watch_deadline()];
        others.into_iter().flatten().fold(silence, Instant::min)
    }

    fn tick(&mut self, now: Instant) -> Result<(), End> {
        let limits = &self.gateway.config.limits;
        let ms = Duration::from_millis;
        if self.draining.is_some_and(|since| now >= since + self.gateway.config.drain) {
            return Err(End::GONE);
        }
        if self.author.is_none() && now >= self.opened + ms(limits.login_ms) {
            return Err(End::close(CloseCode::Policy, "no login in time"));
        }
        if now >= self.heard + ms(limits.idle_ms) {
            return Err(End::close(CloseCode::GoingAway, "nothing was heard for idle_ms"));
        }
        if !self.pinged && now >= self.heard + ms(limits.ping_ms) {
            self.pinged = true;
            self.out.push(wire::ping_frame());
        }
        self.give_up_old_appends(now);
        for key in std::mem::take(&mut self.waiting) {
            let mut steps = Vec::new();
            if let Some(link) = self.links.get(key) {
                link.lane.tick(now, link.tail.head().end, &mut steps);
            }
            self.take_steps(key, steps);
            self.give_up_read(key, now);
            self.wait_in(key);
        }
        self.tell_heads(now);
        Ok(())
    }

    /// The server stops: what waits is turned away, what was taken is finished.
    fn drain(&mut self) {
        self.draining = Some(Instant::now());
        for key in self.links.keys() {
            let mut steps = Vec::new();
            if let Some(link) = self.links.get(key) {
                link.lane.close(&mut steps);
            }
            self.take_steps(key, steps);
            self.turn_away_reads(key);
        }
    }

    fn is_drained(&self) -> bool {
        self.draining.is_some()
            && self.out.is_empty()
            && self.hands.unanswered == 0
            && self.job.is_none()
            && self.jobs.is_empty()
    }
}
