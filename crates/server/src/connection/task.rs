//! The task of a connection: all of its I/O.
//!
//! ```text
//!  loop: fill, start a job, write ──► wait for one: writable, mail, job, frame, timer, stop ──► session
//! ```
//!
//! Invariant: frames that came together are handled in one turn, and what they submit goes together.
//! Where the loop runs is decided in [`placement`](super::placement).

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_auth::Access;
use roomlog_core::mailbox::{Mail, Mailbox};
use roomlog_protocol::{Author, CloseCode};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::{
    frames::Message,
    held::Held,
    session::Session,
    socket::{self, End, Next, Out, Socket},
    turn::Done,
};
use crate::{
    gateway::{Gateway, stopped},
    principals::Client,
    stream::{Detached, Stream, WriteHalf},
};

/// How many frames, and bytes of frames, are taken before other connections, and writing, have their
/// turn.
const FRAMES_A_TURN: usize = 32;
const BYTES_A_TURN: usize = 64 << 10;

/// For how many letters an idle connection keeps memory.
const MAIL_KEPT: usize = 8;

/// A connection.
pub(crate) struct Connection {
    session: Session,
    mailbox: Arc<Mailbox>,
    /// Mail that was read: its memory is used again.
    mail: Mail,
    job: Option<BoxFuture<'static, Done>>,
    /// The socket takes nothing now.
    is_full: bool,
    /// Notice when tokens are revoked; `None` on an open server.
    revisions: Option<watch::Receiver<u64>>,
}

fn bytes_of(next: &Next) -> usize {
    next.iter().flatten().map(Message::len).sum()
}

enum Event {
    Writable(bool),
    Frame(Next),
    Mail,
    Done(Done),
    Time,
    Revoked,
    Drain,
}

/// The socket of a connection that moves. Nobody else writes to it.
fn detached(socket: Socket, write: Arc<WriteHalf>) -> Option<Detached> {
    let detached = Detached::new(socket.into_half(), Arc::into_inner(write)?);
    detached.inspect_err(|error| debug!(%error, "a socket could not be moved")).ok()
}

impl Connection {
    /// A connection of this client; `login` is what a token of the handshake gave, and its length.
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        client: Client,
        login: Option<(Author, Arc<Access>, usize)>,
    ) -> Box<Self> {
        let mailbox = Arc::<Mailbox>::default();
        let mut session = Session::new(gateway, client, mailbox.clone());
        if let Some((author, access, length)) = login
            && let Err(refusal) = session.enter(author, access, length)
        {
            session.turn.refuse(refusal);
        }
        let tokens = session.turn.gateway.config.tokens.as_ref();
        let revisions = tokens.map(|tokens| tokens.revisions());
        let mail = Mail::default();
        // In a box, because it moves from task to task.
        Box::new(Self { session, mailbox, mail, job: None, is_full: false, revisions })
    }

    /// Where it is to be served.
    pub(crate) fn runtime(&self) -> Handle {
        let gateway = &self.session.turn.gateway;
        let append_loop = gateway.config.append_loop.as_ref();
        let append_loop = append_loop.filter(|_| self.session.turn.placement.is_on_loop());
        append_loop.unwrap_or(&gateway.runtime).clone()
    }

    /// Serves an upgraded connection until it ends, or is to be served elsewhere. `read` is what came with
    /// the handshake already.
    pub(crate) async fn serve(
        mut self: Box<Self>,
        stream: Stream,
        read: Bytes,
    ) -> Option<(Box<Self>, Detached)> {
        let frame_bytes = self.session.turn.gateway.config.limits.frame_bytes;
        let memory = self.session.turn.client.memory.clone();
        let (mut socket, write) = Socket::new(stream, read, frame_bytes, &memory);
        let write = Arc::new(write);
        self.session.turn.sink.lock().socket = Some(write.clone());
        let mut stopping = Box::pin(stopped(self.session.turn.gateway.stopping.clone()));
        let mut timer = Box::pin(tokio::time::sleep_until(self.session.deadline().into()));
        let mut has_had_turn = false;
        let End(close) = loop {
            match self.send(&write) {
                Ok(false) => {}
                Ok(true) => {
                    // The socket takes more; others have their turn first.
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(end) => break end,
            }
            if self.moves(&socket) {
                self.session.turn.placement.note_moved();
                let socket = detached(socket, write);
                return socket.map(|socket| (self, socket));
            }
            if std::mem::take(&mut has_had_turn) {
                tokio::task::yield_now().await;
            }
            if self.job.is_none() && self.session.is_drained() {
                break End::close(CloseCode::Restarting, "the server stops; reconnect");
            }
            let deadline = tokio::time::Instant::from(self.session.deadline());
            if timer.is_elapsed() || deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            let (may_read, is_draining) = (self.session.may_read(), self.session.is_draining());
            let event = tokio::select! {
                biased;
                writable = write.writable(), if self.is_full => Event::Writable(writable.is_ok()),
                () = self.mailbox.wait() => Event::Mail,
                done = async { match &mut self.job {
                    Some(job) => job.await,
                    None => std::future::pending().await,
                } } => Event::Done(done),
                () = &mut timer => Event::Time,
                () = async { match &mut self.revisions {
                    // The tokens are there as long as the gateway is.
                    Some(revisions) => _ = revisions.changed().await,
                    None => std::future::pending().await,
                } } => Event::Revoked,
                () = &mut stopping, if !is_draining => Event::Drain,
                frame = socket.next(), if may_read => Event::Frame(frame),
            };
            // What the event has to say comes before what is delivered from now on.
            self.session.turn.sink.lock().is_free = false;
            self.session.turn.now = Instant::now();
            let read = match &event {
                Event::Frame(frame) => Some(bytes_of(frame)),
                _ => None,
            };
            let mut taken = self.take(event);
            if let (Ok(()), Some(bytes)) = (&taken, read) {
                let more = self.take_more(&mut socket, bytes);
                taken = more.map(|is_full| has_had_turn = is_full);
                if let Err(failure) = socket.keep() {
                    taken = taken.and(Err(socket::end_of(&failure)));
                }
            }
            self.session.flush();
            if let Err(end) = taken {
                break end;
            }
        };
        // Its queues and followers end now, not after the client has read the close frame.
        let (out, held) = self.into_out();
        let write = Arc::into_inner(write)?;
        // In a box: as long as it is served, a connection needs no room for this.
        Box::pin(socket::finish(socket, write, out, close)).await;
        drop(held);
        None
    }

    /// Fills what waits for the socket, starts a job, and writes. Whether the socket takes more and there
    /// is more.
    fn send(&mut self, write: &WriteHalf) -> Result<bool, End> {
        let sink = self.session.turn.sink.clone();
        let mut sink = sink.lock();
        sink.give_rest(&mut self.session.turn.out);
        self.session.fill();
        if self.job.is_none() {
            self.job = self.session.next_job().map(|job| self.away(job));
        }
        let mut has_more = false;
        if !self.is_full && (!self.session.turn.out.is_empty() || write.is_unsent()) {
            self.is_full = self.session.turn.out.write(write).map_err(|_| End::GONE)?;
            if !self.is_full {
                self.session.turn.held.note_drained();
            }
            has_more = !self.is_full && self.session.has_more(self.job.is_some());
        }
        sink.is_free = !self.is_full && self.session.turn.out.is_empty() && !write.is_unsent();
        Ok(has_more)
    }

    /// Whether it is to be served elsewhere, and can be moved now: then nobody writes any more.
    fn moves(&mut self, socket: &Socket) -> bool {
        let turn = &mut self.session.turn;
        let moves = turn.placement.moves()
            && turn.gateway.config.append_loop.is_some()
            && self.job.is_none()
            && socket.is_at_rest();
        if !moves || self.session.is_draining() {
            return false;
        }
        let turn = &mut self.session.turn;
        let mut sink = turn.sink.lock();
        let is_free = sink.is_free;
        if is_free {
            sink.close(&mut turn.out);
        }
        is_free
    }

    /// On the append loop, a job that is done on the runtime of all cores: it reads the archive.
    fn away(&self, job: BoxFuture<'static, Done>) -> BoxFuture<'static, Done> {
        if !self.session.turn.placement.is_on_loop() {
            return job;
        }
        let done = AbortOnDropHandle::new(self.session.turn.gateway.runtime.spawn(job));
        async {
            match done.await {
                Ok(done) => done,
                Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                Err(_runtime_ends) => std::future::pending().await,
            }
        }
        .boxed()
    }

    /// What the socket has not taken, and its charge.
    fn into_out(self) -> (Out, Held) {
        let mut turn = self.session.turn;
        turn.sink.lock().close(&mut turn.out);
        (turn.out, turn.held)
    }

    fn take(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Writable(true) => {
                // A socket that was full and takes more is alive.
                self.is_full = false;
                self.session.note_heard();
            }
            Event::Writable(false) | Event::Frame(None) => return Err(End::GONE),
            Event::Frame(Some(frame)) => {
                self.session.note_heard();
                let message = frame.map_err(|error| socket::end_of(&error))?;
                return self.session.message(&message);
            }
            Event::Mail => self.take_mail(),
            Event::Done(done) => {
                self.job = None;
                self.session.done(done);
            }
            Event::Time => return self.session.tick(),
            Event::Revoked => return self.session.check_revoked(),
            Event::Drain => self.session.drain(),
        }
        Ok(())
    }

    /// Takes the frames that came together with one, so that what is pipelined goes on together. Whether that
    /// is a whole turn: then others have theirs.
    fn take_more(&mut self, socket: &mut Socket, mut bytes: usize) -> Result<bool, End> {
        for _ in 1..FRAMES_A_TURN {
            if bytes >= BYTES_A_TURN {
                return Ok(true);
            }
            if !self.session.may_read() {
                return Ok(false);
            }
            let Some(frame) = socket.next().now_or_never() else { return Ok(false) };
            bytes += bytes_of(&frame);
            self.take(Event::Frame(frame))?;
        }
        Ok(true)
    }

    fn take_mail(&mut self) {
        let Self { mail, mailbox, session, .. } = self;
        mailbox.exchange(mail);
        for (token, outcome) in mail.outcomes.drain(..) {
            session.outcome(token, outcome);
        }
        for key in mail.moved.drain(..) {
            session.moved(key);
        }
        mail.outcomes.shrink_to(MAIL_KEPT);
        mail.moved.shrink_to(MAIL_KEPT);
    }
}
