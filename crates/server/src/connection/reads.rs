//! The reads of a connection: `update`, `join`, `leave`, the catching-up of followers, `watch`.
//!
//! Enters: frames, rooms that moved, pages. Leaves: `reply`, `left`, `error`, and a cursor that follows
//! from there. Invariants: reads of one room are answered in the order asked; one page is under way
//! at a time, so a connection costs one page of memory; no `ack` goes before the reply of its join.

use std::time::Instant;

use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    archive::{ArchiveError, Keep},
    head::Head,
    reader::{Page, PageLimits, ReadError},
};
use roomlog_protocol::{
    ClientUpdate, ErrorCode, Refusal, RoomName, ServerFrame, Slot, Span, end_of, latest_of,
    limits::HEADS_PER_FRAME,
};

use super::{Connection, links::Following};
use crate::wire;

/// What a client asked, by a number: a job carries that of what it is for. Meanwhile the client may ask
/// something else of the same room, or leave it, and what comes of the job is then for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question(pub(super) u64);

/// A read that was asked for.
pub(super) struct Read {
    question: Question,
    what: What,
    /// When it is answered `ahead`, while it waits for the log to reach a slot.
    pub(super) deadline: Option<Instant>,
    under_way: bool,
}

enum What {
    Update(ClientUpdate),
    Join(ClientUpdate),
    Leave(Option<i64>),
    /// One that the door refused, in its place among the others.
    Refused(Box<Refusal>),
}

impl Read {
    pub(super) fn is(&self, question: Question) -> bool {
        self.question == question
    }

    pub(super) fn is_join(&self) -> bool {
        matches!(self.what, What::Join(_))
    }
}

/// Something that takes a while; one at a time.
pub(super) enum Job {
    /// The first read of a room.
    Read(Question, u32),
    /// The next page for a follower that the tail has left behind.
    CatchUp(Question, u32),
    /// The next names for `watch`.
    List(Question, Option<RoomName>),
}

/// What came of a job.
pub(super) enum Done {
    Read(Question, u32, Result<Page, ReadError>),
    CatchUp(Question, u32, Result<Page, ReadError>),
    List(Question, Result<Vec<(RoomName, Head)>, ArchiveError>),
}

/// The slot that the log must have reached to answer, one more: where it must end.
pub(crate) fn needed_end(update: &ClientUpdate) -> Slot {
    let after = if let Span::After(after) = update.span { after } else { -1 };
    end_of(after.max(update.seen.unwrap_or(-1)))
}

pub(crate) fn keep_of(span: Span) -> Keep {
    if matches!(span, Span::After(_)) { Keep::Oldest } else { Keep::Newest }
}

impl Connection {
    /// Takes an `update` or a `join`.
    pub(super) fn read(&mut self, update: ClientUpdate, join: bool) {
        let refusal = Refusal { req: update.req, ..Refusal::new(ErrorCode::TooLarge, "") };
        let Some(key) = self.link(&update.room.clone(), &refusal) else { return };
        let counts = self.links.get(key).is_some_and(|link| link.counts());
        if join && !counts && self.links.is_full(self.rooms_limit()) {
            let message = "this connection follows as many rooms as it may; leave one first";
            let room = Some(update.room);
            let refusal = Refusal { room, message: message.into(), ..refusal };
            return self.ask(key, What::Refused(Box::new(refusal)));
        }
        self.ask(key, if join { What::Join(update) } else { What::Update(update) });
    }

    /// Takes a `join`, `leave` or `update` that the door refused.
    pub(super) fn refused_read(&mut self, room: &RoomName, refusal: Box<Refusal>) {
        match self.links.key(room) {
            Some(key) => self.ask(key, What::Refused(refusal)),
            None => self.refuse(*refusal),
        }
    }

    /// Takes a `leave`.
    pub(super) fn leave(&mut self, room: RoomName, req: Option<i64>) {
        match self.links.key(&room) {
            Some(key) => self.ask(key, What::Leave(req)),
            None => self.say(&ServerFrame::Left { room, req }),
        }
    }

    fn ask(&mut self, key: u32, what: What) {
        let question = self.new_question();
        let Some(link) = self.links.get(key) else { return };
        link.reads.push_back(Read { question, what, deadline: None, under_way: false });
        self.reads_unanswered += 1;
        self.go_on_reading(key);
    }

    /// Begins the first read of a room, when it can begin.
    pub(super) fn go_on_reading(&mut self, key: u32) {
        loop {
            let ahead_for = self.gateway.ahead_for();
            let Some(link) = self.links.get(key) else { return };
            let Some(read) = link.reads.front_mut().filter(|read| !read.under_way) else { return };
            let (What::Update(update) | What::Join(update)) = &read.what else {
                let Some(read) = link.reads.pop_front() else { return };
                self.reads_unanswered -= 1;
                self.answer_at_once(key, read.what);
                continue;
            };
            if link.tail.head().end >= needed_end(update) {
                read.under_way = true;
                read.deadline = None;
                return self.jobs.push_back(Job::Read(read.question, key));
            }
            if read.deadline.is_none() {
                read.deadline = Some(Instant::now() + ahead_for);
                link.hear(&self.mailbox, key);
                self.wait_in(key);
                // It may have moved before it was heard.
                continue;
            }
            return;
        }
    }

    /// Answers what needs no page.
    fn answer_at_once(&mut self, key: u32, what: What) {
        match what {
            What::Leave(req) => {
                let Some(link) = self.links.get(key) else { return };
                link.follow = None;
                let room = link.tail.room().clone();
                self.say(&ServerFrame::Left { room, req });
            }
            What::Refused(refusal) => self.refuse(*refusal),
            What::Update(_) | What::Join(_) => {}
        }
    }

    /// Answers the first read of a room when it has waited too long for the log.
    pub(super) fn give_up_read(&mut self, key: u32, now: Instant) {
        let Some(link) = self.links.get(key) else { return };
        let late = |read: &Read| !read.under_way && read.deadline.is_some_and(|at| at <= now);
        if link.reads.front().is_some_and(late) {
            let message = "the log has not reached the slot that you have seen; try again later";
            self.finish_read(key, Err((ErrorCode::Ahead, message.into())));
        }
    }

    /// The node stops: reads that wait for the log are answered at once.
    pub(super) fn turn_away_reads(&mut self, key: u32) {
        while self.links.get(key).and_then(|link| link.reads.front()).is_some_and(|r| !r.under_way)
        {
            self.finish_read(key, Err((ErrorCode::Unavailable, "the server stops".into())));
        }
    }

    /// The future of a job.
    pub(super) fn start(&mut self, job: Job) -> Option<BoxFuture<'static, Done>> {
        let gateway = self.gateway.clone();
        let limits = gateway.page_limits();
        match job {
            Job::Read(question, key) => {
                let read = self.links.get(key)?.first_read(question)?;
                let (What::Update(update) | What::Join(update)) = &read.what else { return None };
                let ClientUpdate { room, span, digest, .. } = update.clone();
                let read = async move {
                    Done::Read(question, key, gateway.page(&room, span, digest, limits).await)
                };
                Some(read.boxed())
            }
            Job::CatchUp(question, key) => {
                let link = self.links.get(key)?;
                let span = link.following(question)?.follower.span();
                let room = link.tail.room().clone();
                let limits = PageLimits { bytes: super::BATCH_BYTES, ..limits };
                let read = async move {
                    Done::CatchUp(question, key, gateway.page(&room, span, None, limits).await)
                };
                Some(read.boxed())
            }
            Job::List(question, after) => {
                let list = async move {
                    let heads = gateway.room_heads(after, HEADS_PER_FRAME).await;
                    Done::List(question, heads)
                };
                Some(list.boxed())
            }
        }
    }

    /// Takes what came of a job, unless its question has been taken back meanwhile.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Read(question, key, result) => {
                if self.links.get(key).is_none_or(|link| link.first_read(question).is_none()) {
                    return;
                }
                let result = result.map_err(|error| match error {
                    ReadError::Diverged { latest } => (
                        ErrorCode::Diverged,
                        format!("your digest is not the log's; the latest slot is {latest}"),
                    ),
                    ReadError::Archive(problem) => unreadable(&problem),
                });
                self.finish_read(key, result);
            }
            Done::CatchUp(question, key, result) => self.caught_up(question, key, result),
            Done::List(question, _) if !self.watches(question) => {}
            Done::List(_, Ok(heads)) => self.listed(heads),
            Done::List(_, Err(problem)) => {
                let (code, message) = unreadable(&problem);
                self.watch = None;
                self.refuse(Refusal::new(code, message));
            }
        }
    }

    /// Takes the next page for a follower.
    fn caught_up(&mut self, question: Question, key: u32, result: Result<Page, ReadError>) {
        let Some(link) = self.links.get(key) else { return };
        let room = link.tail.room().clone();
        let Some(following) = link.following(question) else { return };
        following.catching_up = false;
        match result {
            Ok(page) => {
                following.follower.took(&page.entries);
                for frame in wire::acks(&room, &page.entries, &self.gateway.config.limits) {
                    self.out.push(frame);
                }
                self.stand_in_line(key);
            }
            Err(_) => self.drop_follower(key),
        }
    }

    /// A follower whose entries cannot be read must not wait for ever in silence.
    fn drop_follower(&mut self, key: u32) {
        let Some(link) = self.links.get(key) else { return };
        link.follow = None;
        let room = Some(link.tail.room().clone());
        let message = "the next entries cannot be read; join again with `after` later";
        self.refuse(Refusal { room, ..Refusal::new(ErrorCode::Unavailable, message) });
    }

    /// Answers the first read of a room and goes on to the next.
    fn finish_read(&mut self, key: u32, result: Result<Page, (ErrorCode, String)>) {
        let Some(link) = self.links.get(key) else { return };
        let Some(read) = link.reads.pop_front() else { return };
        self.reads_unanswered -= 1;
        let (update, join) = match read.what {
            What::Update(update) => (update, false),
            What::Join(update) => (update, true),
            other => return self.answer_at_once(key, other),
        };
        match result {
            Ok(page) => self.reply(key, &update, &page, join.then_some(read.question)),
            Err((code, message)) => {
                let latest = matches!(code, ErrorCode::Ahead | ErrorCode::Diverged)
                    .then(|| latest_of(link.tail.head().end));
                let (room, req) = (Some(update.room), update.req);
                self.refuse(Refusal { room, req, latest, ..Refusal::new(code, message) });
            }
        }
        self.go_on_reading(key);
    }

    /// Answers a read with a page; the reply to a `join` begins a following.
    fn reply(&mut self, key: u32, update: &ClientUpdate, page: &Page, join: Option<Question>) {
        let keep = keep_of(update.span);
        let encoded = wire::page(&update.room, page, keep, &self.gateway.config.limits);
        self.out.push(encoded.reply(update.req));
        let Some(question) = join else { return };
        let next = encoded.end.unwrap_or(match update.span {
            Span::After(after) => end_of(after),
            Span::UpTo { .. } => page.head.end,
        });
        let Some(link) = self.links.get(key) else { return };
        let follower = self.gateway.node.follow(link.tail.clone(), next);
        link.follow = Some(Following { question, follower, catching_up: false });
        link.hear(&self.mailbox, key);
        self.stand_in_line(key);
    }
}

fn unreadable(problem: &ArchiveError) -> (ErrorCode, String) {
    (ErrorCode::Unavailable, format!("this cannot be read: {problem}"))
}
