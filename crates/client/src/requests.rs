//! The requests besides appends: reads, follows, watches.
//!
//! Enters: requests, answers, disconnects. Leaves: frames, answers to reads, a [`Delivery`] for
//! each item of a follow or watch. Invariant: after a reconnect a follow joins again at its slot;
//! at most one `join` or `update` of it is unanswered. The `req` of these frames is negative (that
//! of appends positive) and unique; follows and watches are numbered: nothing reaches a later one.

mod rooms;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use roomlog_protocol::{
    ClientFrame, ClientUpdate, ErrorCode, ErrorFrame, Heads, RoomName, ServerReply,
};

use crate::{
    ClientError,
    backoff::{stretched, wait_of},
    outbox::Verdict,
    reads::{ReadCaller, Reads},
    timeline::Followed,
    watches::Watches,
};
use rooms::Following;

/// How often a follow checks that it missed nothing, before jitter.
const CHECK: Duration = Duration::from_secs(24);
/// How many reads may be unanswered.
const MAX_READS: usize = 32;

/// An item of this log for the follow or watch with this number.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) to: u64,
    pub(crate) log: Arc<str>,
    pub(crate) item: Item,
}

#[derive(Debug)]
pub(crate) enum Item {
    Followed(Followed),
    Heads(Heads),
    End(ClientError),
}

/// What an unanswered frame requests.
enum Unanswered {
    Read,
    Join(RoomName),
    Page(RoomName),
    Watch,
}

#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) reads: Reads,
    rooms: BTreeMap<RoomName, Following>,
    watches: Watches,
    unanswered: HashMap<i64, (Unanswered, Duration)>,
    control: VecDeque<String>,
    pub(crate) deliveries: VecDeque<Delivery>,
    /// When the first frame may be due; no search before.
    next_due: Option<Duration>,
    last_req: i64,
    retry_timeout: Option<Duration>,
    log: Arc<str>,
}

impl Requests {
    pub(crate) fn new(retry_timeout: Option<Duration>, log: &str) -> Self {
        Self { retry_timeout, log: log.into(), ..Self::default() }
    }

    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    pub(crate) fn has_space(&self) -> bool {
        self.reads.len() < MAX_READS
    }

    pub(crate) fn read(
        &mut self,
        update: ClientUpdate,
        log: Option<String>,
        caller: ReadCaller,
        now: Duration,
    ) {
        if log.as_ref().is_some_and(|log| *log != *self.log) {
            let _caller_may_be_dropped = caller.send(Err(ClientError::NewLog));
            return;
        }
        let req = self.new_req();
        self.reads.push(req, update, log, caller, now);
        self.wake_at(now);
    }

    /// Ends a follow or watch whose reader was dropped.
    pub(crate) fn remove(&mut self, number: u64) {
        self.watches.remove(number);
        let of = |(room, it): (&RoomName, &Following)| (it.number == number).then(|| room.clone());
        if let Some(room) = self.rooms.iter().find_map(of) {
            self.unfollow(room);
        }
    }

    pub(crate) fn remove_all(&mut self) {
        self.rooms.clear();
        self.watches = Watches::default();
        self.deliveries.clear();
    }

    pub(crate) fn watch(&mut self, number: u64, now: Duration) {
        self.watches.add(number, now);
        self.wake_at(now);
    }

    /// A new connection: resends everything unanswered that is not about another log.
    pub(crate) fn connected(&mut self, log: &str, now: Duration) {
        let new_log = *log != *self.log;
        self.log = log.into();
        self.unanswered.clear();
        self.control.clear();
        self.reads.connected(log, now);
        self.watches.restart(now);
        let mut reset = Vec::new();
        for (room, following) in &mut self.rooms {
            following.disconnected(now);
            if new_log && following.timeline.has_place() {
                reset.push(room.clone());
            }
        }
        reset.iter().for_each(|room| self.reset(room));
        self.wake_at(now);
    }

    fn deliver(&mut self, to: u64, item: Item) {
        self.deliveries.push_back(Delivery { to, log: self.log.clone(), item });
    }

    pub(crate) fn next_frame(&mut self, now: Duration) -> Option<String> {
        if let Some(frame) = self.control.pop_front() {
            return Some(frame);
        }
        if self.next_due.is_none_or(|due| now < due) {
            return None;
        }
        let frame = self.next_watch(now).or_else(|| self.next_of_room(now));
        let frame = frame.or_else(|| self.next_read(now));
        if frame.is_none() {
            let idle = self.rooms.values().filter(|following| following.req.is_none());
            let rooms = idle.filter_map(|following| following.due);
            self.next_due = rooms.chain(self.reads.due()).chain(self.watches.due()).min();
        }
        frame
    }

    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.next_due
    }

    pub(crate) fn oldest_unanswered(&self) -> Option<Duration> {
        self.unanswered.values().map(|(_, sent)| *sent).min()
    }

    pub(crate) fn reply(&mut self, reply: ServerReply, now: Duration, jitter: f64) {
        let Some(req) = reply.req else { return };
        let reply = reply.reply;
        let (room, is_join) = match self.unanswered.remove(&req) {
            Some((Unanswered::Read, _)) => return self.reads.answer(req, Ok(reply)),
            Some((Unanswered::Watch, _)) | None => return,
            Some((Unanswered::Join(room), _)) => (room, true),
            Some((Unanswered::Page(room), _)) => (room, false),
        };
        let Some(following) = self.answered_by(&room, req) else { return };
        following.answered();
        following.due.get_or_insert(now + stretched(CHECK, jitter));
        let step = if is_join {
            (following.joined, following.is_served) = (true, true);
            following.timeline.joined(reply)
        } else {
            following.timeline.page(reply)
        };
        self.stepped(&room, step, now);
    }

    pub(crate) fn heads(&mut self, heads: Heads, now: Duration) {
        if let Some(req) = heads.req {
            if heads.more != Some(true) {
                self.unanswered.remove(&req);
            } else if let Some((_, sent)) = self.unanswered.get_mut(&req) {
                *sent = now; // A long list is an answer in many frames.
            }
        }
        for (number, heads) in self.watches.take(heads, now) {
            self.deliver(number, Item::Heads(heads));
        }
        if let Some(due) = self.watches.due() {
            self.wake_at(due);
        }
    }

    /// Takes an `error` whose `req` is negative.
    pub(crate) fn refused(&mut self, error: ErrorFrame, now: Duration, jitter: f64) -> Verdict {
        let Some(req) = error.req else { return Verdict::Continue };
        let Some((request, _)) = self.unanswered.remove(&req) else { return Verdict::Continue };
        if matches!(error.code, ErrorCode::LoginRequired | ErrorCode::Unauthorized) {
            return Verdict::Reconnect(format!("{}: {}", error.code, error.message));
        }
        let again = now + wait_of(&error, jitter);
        match request {
            Unanswered::Read if error.code.is_transient() && !names_damage(&error) => {
                self.reads.retry_later(req, error, (now, again), self.retry_timeout);
            }
            Unanswered::Read => self.reads.answer(req, Err(ClientError::Refused(Box::new(error)))),
            Unanswered::Watch => self.watch_refused(req, &error, now, again),
            Unanswered::Join(room) | Unanswered::Page(room) => {
                self.room_refused(room, req, error, now, jitter);
            }
        }
        self.wake_at(again);
        Verdict::Continue
    }

    /// Takes an `error` without `req`: the server ends a follow, the watch, or the connection.
    pub(crate) fn cut_off(&mut self, error: ErrorFrame, now: Duration, jitter: f64) -> Verdict {
        let is_transient = error.code.is_transient();
        match error.room.clone() {
            Some(room) if is_transient && self.rooms.contains_key(&room) => {
                if let Some(following) = self.rooms.get_mut(&room) {
                    following.joined = false;
                }
                self.retry_later(room, &error, now, jitter);
                Verdict::Continue
            }
            None if is_transient && !self.watches.is_empty() => {
                let again = now + wait_of(&error, jitter);
                self.unanswered.retain(|_, (request, _)| !matches!(request, Unanswered::Watch));
                self.watches.restart(again);
                self.wake_at(again);
                Verdict::Continue
            }
            _ => Verdict::Reconnect(format!("{}: {}", error.code, error.message)),
        }
    }

    fn watch_refused(&mut self, req: i64, error: &ErrorFrame, now: Duration, again: Duration) {
        self.watches.refused(req, now, again);
        let since = self.watches.refused_since.unwrap_or(now);
        let may_retry = self
            .retry_timeout
            .is_none_or(|retry_timeout| now.saturating_sub(since) < retry_timeout);
        if error.code.is_transient() && may_retry {
            return;
        }
        for number in self.watches.give_up() {
            self.deliver(number, Item::End(ClientError::Refused(Box::new(error.clone()))));
        }
    }

    fn next_watch(&mut self, now: Duration) -> Option<String> {
        self.watches.due().filter(|due| *due <= now)?;
        let req = self.new_req();
        self.watches.sent(req);
        self.unanswered.insert(req, (Unanswered::Watch, now));
        Some(written(&ClientFrame::Watch { req: Some(req) }))
    }

    fn next_read(&mut self, now: Duration) -> Option<String> {
        let update = self.reads.next(now)?;
        if let Some(req) = update.req {
            self.unanswered.insert(req, (Unanswered::Read, now));
        }
        Some(written(&ClientFrame::Update(update)))
    }

    fn new_req(&mut self) -> i64 {
        self.last_req -= 1;
        self.last_req
    }

    fn wake_at(&mut self, at: Duration) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }
}

/// Whether the server reports damaged data, which no retry repairs.
fn names_damage(error: &ErrorFrame) -> bool {
    error.code == ErrorCode::Unavailable && error.message.contains("damaged")
}

pub(crate) fn written(frame: &ClientFrame) -> String {
    match serde_json::to_string(frame) {
        Ok(text) => text,
        Err(why) => unreachable!("a frame of names and numbers is always JSON: {why}"),
    }
}
