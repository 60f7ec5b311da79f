//! The reads of a connection: `update`, `join`, `leave`.
//!
//! Enters: what was asked, rooms that moved, pages, time. Leaves: `reply`, `left` and `error` frames, jobs,
//! and followings that begin and end. Invariants: reads of one room are answered in the order asked; one
//! page is read at a time, as large as may be held; no `ack` goes before the reply of its `join`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use roomlog_core::{
    archive::Keep,
    budget::Charge,
    reader::{Page, ReadError},
};
use roomlog_protocol::{ClientUpdate, ErrorCode, Latest, Refusal, ServerFrame, Slot, Span};

use super::{
    follows::Follows,
    held::UNANSWERED_BYTES,
    turn::{Job, Question, Turn},
};
use crate::{
    auth::rights::check_read,
    gateway::{holds_too_much, unreadable},
    wire,
};

/// What was asked of a room.
pub(super) enum Asked {
    Update(ClientUpdate),
    Join(ClientUpdate),
    Leave(Option<i64>),
    /// One that was refused on input, in its place among the others.
    Refused(Box<Refusal>),
}

struct PendingRead {
    question: Question,
    asked: Asked,
    /// When it is answered `ahead`, while it waits for the log to reach a slot.
    deadline: Option<Instant>,
    /// Its page is being read, or is among the jobs.
    has_job: bool,
}

/// The reads of a connection.
#[derive(Default)]
pub(super) struct Reads {
    /// Of each room in the order asked. No queue is empty.
    rooms: BTreeMap<u32, VecDeque<PendingRead>>,
    unanswered: usize,
}

/// The slot behind the last one that the log must have reached to answer.
pub(crate) fn needed_end(update: &ClientUpdate) -> Slot {
    let after = if let Span::After(after) = update.span { Some(after) } else { None };
    after.max(update.seen).map_or(0, Latest::end)
}

/// Which end of a page is kept if it is too large.
pub(crate) fn keep_of(span: Span) -> Keep {
    if matches!(span, Span::After(_)) { Keep::Oldest } else { Keep::Newest }
}

impl Reads {
    /// Reads without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// How much memory they take, with their answers to come, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.unanswered * UNANSWERED_BYTES
    }

    pub(super) fn has(&self, key: u32) -> bool {
        self.rooms.contains_key(&key)
    }

    pub(super) fn has_join(&self, key: u32) -> bool {
        let is_join = |read: &PendingRead| matches!(read.asked, Asked::Join(_));
        self.rooms.get(&key).is_some_and(|reads| reads.iter().any(is_join))
    }

    pub(super) fn ask(
        &mut self,
        turn: &mut Turn,
        follows: &mut Follows,
        key: u32,
        question: Question,
        asked: Asked,
    ) {
        let read = PendingRead { question, asked, deadline: None, has_job: false };
        self.rooms.entry(key).or_default().push_back(read);
        self.unanswered += 1;
        self.proceed(turn, follows, key);
    }

    /// Begins the first read of a room if it can begin, and answers those that need no page.
    pub(super) fn proceed(&mut self, turn: &mut Turn, follows: &mut Follows, key: u32) {
        loop {
            let first = self.rooms.get_mut(&key).and_then(VecDeque::front_mut);
            let Some(read) = first.filter(|read| !read.has_job) else { return };
            let (Asked::Update(update) | Asked::Join(update)) = &read.asked else {
                let Some(read) = self.take_first(key) else { return };
                answer_without_page(turn, follows, key, read.asked);
                continue;
            };
            if turn.rooms.end(key) >= needed_end(update) {
                read.has_job = true;
                read.deadline = None;
                turn.jobs.push_back(Job::Read(read.question, key, Box::new(update.clone())));
                return;
            }
            if read.deadline.is_some() {
                return;
            }
            read.deadline = Some(turn.now + turn.gateway.config.limits.ahead_for);
            // It may have moved before notice was asked for: look again.
            turn.rooms.subscribe(key);
        }
    }

    fn take_first(&mut self, key: u32) -> Option<PendingRead> {
        let reads = self.rooms.get_mut(&key)?;
        let read = reads.pop_front();
        if reads.is_empty() {
            self.rooms.remove(&key);
        }
        if self.rooms.is_empty() {
            // An empty map that had an element keeps its memory, and most connections only follow.
            self.rooms = BTreeMap::new();
        }
        self.unanswered -= usize::from(read.is_some());
        read
    }

    /// Takes the page of a read, if it is still open.
    pub(super) fn page(
        &mut self,
        turn: &mut Turn,
        follows: &mut Follows,
        question: Question,
        key: u32,
        page: Result<Page, ReadError>,
        charge: Charge,
    ) {
        turn.held.absorb(charge);
        let first = self.rooms.get(&key).and_then(VecDeque::front);
        if first.is_none_or(|read| read.question != question) {
            return;
        }
        let page = page.map_err(|error| match error {
            ReadError::Diverged { latest } => {
                let message =
                    format!("your digest differs from the log's; the latest slot is {latest}");
                let latest = Some(turn.rooms.latest(key));
                Refusal { latest, ..Refusal::new(ErrorCode::Diverged, message) }
            }
            ReadError::Archive(problem) => unreadable(&problem),
        });
        self.finish(turn, follows, key, page);
    }

    /// Answers the first read of a room and goes on to the next.
    fn finish(
        &mut self,
        turn: &mut Turn,
        follows: &mut Follows,
        key: u32,
        page: Result<Page, Refusal>,
    ) {
        let Some(read) = self.take_first(key) else { return };
        let (update, is_join) = match read.asked {
            Asked::Update(update) => (update, false),
            Asked::Join(update) => (update, true),
            other => return answer_without_page(turn, follows, key, other),
        };
        match page.and_then(|page| reply(turn, &update, &page)) {
            Ok(next) if is_join => follows.begin(turn, key, read.question, next),
            Ok(_) => {}
            Err(refusal) => {
                let (room, req) = (Some(update.room), update.req);
                turn.refuse(Refusal { room, req, ..refusal });
            }
        }
        self.proceed(turn, follows, key);
    }

    /// When [`Reads::tick`] has something to do, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.rooms.values().filter_map(|reads| reads.front()?.deadline).min()
    }

    /// Answers reads that have waited too long for the log; gives the keys of their rooms.
    pub(super) fn tick(&mut self, turn: &mut Turn, follows: &mut Follows) -> Vec<u32> {
        for key in self.rooms.keys().copied().collect::<Vec<_>>() {
            // It may have moved without notice yet.
            self.proceed(turn, follows, key);
        }
        let is_late = |reads: &VecDeque<PendingRead>| {
            let first = reads.front();
            first.is_some_and(|it| !it.has_job && it.deadline.is_some_and(|at| at <= turn.now))
        };
        let late = self.rooms.iter().filter(|(_, reads)| is_late(reads)).map(|(key, _)| *key);
        let late: Vec<_> = late.collect();
        for key in &late {
            let message = "the log has not reached the slot that you have seen; try again later";
            let latest = Some(turn.rooms.latest(*key));
            let refusal = Refusal { latest, ..Refusal::new(ErrorCode::Ahead, message) };
            self.finish(turn, follows, *key, Err(refusal));
        }
        late
    }

    /// The node stops: reads that wait for the log are answered at once.
    pub(super) fn close(&mut self, turn: &mut Turn, follows: &mut Follows) {
        let can_be_answered =
            |reads: &VecDeque<PendingRead>| reads.front().is_some_and(|read| !read.has_job);
        for key in self.rooms.keys().copied().collect::<Vec<_>>() {
            while self.rooms.get(&key).is_some_and(can_be_answered) {
                let refusal = Refusal::new(ErrorCode::Unavailable, "the server stops");
                self.finish(turn, follows, key, Err(refusal));
            }
        }
    }
}

fn answer_without_page(turn: &mut Turn, follows: &mut Follows, key: u32, asked: Asked) {
    match asked {
        Asked::Leave(req) => {
            follows.end(key);
            let Some(tail) = turn.rooms.tail(key) else { return };
            let room = tail.room().clone();
            turn.say(&ServerFrame::Left { room, req });
        }
        Asked::Refused(refusal) => turn.refuse(*refusal),
        Asked::Update(_) | Asked::Join(_) => {}
    }
}

/// Answers a read with a page; gives the slot behind it.
fn reply(turn: &mut Turn, update: &ClientUpdate, page: &Page) -> Result<Slot, Refusal> {
    // A login in between may have brought fewer rights.
    check_read(&turn.access, &update.room)?;
    let limits = &turn.gateway.config.limits;
    let encoded = wire::page(&update.room, page, keep_of(update.span), limits);
    if !turn.send(encoded.reply(update.req)) {
        return Err(holds_too_much());
    }
    Ok(encoded.end.unwrap_or(match update.span {
        Span::After(after) => after.end(),
        Span::UpTo { .. } => page.head.end,
    }))
}
