//! What is asked of the server besides appends: reads, followings, the watch.
//!
//! Enters: what callers want, answers of the server, losses of the connection. Leaves: frames to
//! send, answers to reads, and [`Delivery`]s to followers. No clock, no socket, no randomness.
//!
//! Invariant: a following is joined anew after each loss, at the slot it had; at most one `join` or
//! `update` of a following is unanswered. Marks (`req`) of these frames are negative, those of appends
//! are positive, and none is used twice, so an answer belongs to one question. Followings and watchers
//! have numbers, so what was for one never reaches another of the same room.

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
    backoff::stretched,
    following::{Followed, Following, wait_of},
    outbox::Verdict,
    reads::{ReadTag, Reads},
    watches::Watches,
};

/// How often a follower asks whether it missed something, before jitter.
const CHECK: Duration = Duration::from_secs(24);

/// How many reads may be unanswered.
pub(crate) const MOST_READS: usize = 32;

/// Something for one who follows or watches.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The number of the following or the watcher.
    pub(crate) to: u64,
    /// The log that it is of.
    pub(crate) log: Arc<str>,
    pub(crate) item: Item,
}

#[derive(Debug)]
pub(crate) enum Item {
    Followed(Followed),
    Heads(Heads),
    /// Nothing more comes, for this reason.
    End(ClientError),
}

/// What an unanswered frame was.
enum Asked {
    Read,
    Join(RoomName),
    Page(RoomName),
    Watch,
}

pub(crate) struct Asks {
    reads: Reads,
    rooms: BTreeMap<RoomName, Following>,
    watches: Watches,
    unanswered: HashMap<i64, (Asked, Duration)>,
    control: VecDeque<String>,
    deliveries: VecDeque<Delivery>,
    /// The earliest of all that is due: nothing is looked through before.
    next_due: Option<Duration>,
    last_req: i64,
    patience: Option<Duration>,
    /// The server's log.
    log: Arc<str>,
}

impl Asks {
    pub(crate) fn new(patience: Option<Duration>, log: &str) -> Self {
        Self {
            reads: Reads::default(),
            rooms: BTreeMap::new(),
            watches: Watches::default(),
            unanswered: HashMap::new(),
            control: VecDeque::new(),
            deliveries: VecDeque::new(),
            next_due: None,
            last_req: 0,
            patience,
            log: log.into(),
        }
    }

    /// The server's log, at the latest connection.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// Whether one more read may be asked.
    pub(crate) fn has_space(&self) -> bool {
        self.reads.len() < MOST_READS
    }

    /// Whether every read has its answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.reads.len() == 0
    }

    /// Reads once; with a log, only from that one.
    pub(crate) fn read(
        &mut self,
        update: ClientUpdate,
        log: Option<String>,
        tag: ReadTag,
        now: Duration,
    ) {
        if log.as_ref().is_some_and(|log| *log != *self.log) {
            // A caller that went away wants no answer.
            let _ = tag.send(Err(ClientError::NewLog));
            return;
        }
        let req = self.mark();
        self.reads.push(req, update, log, tag, now);
        self.wake_at(now);
    }

    /// Ends a following or a watcher: nobody takes its items any more.
    pub(crate) fn forget(&mut self, number: u64) {
        self.watches.remove(number);
        let of = |(room, it): (&RoomName, &Following)| (it.number == number).then(|| room.clone());
        if let Some(room) = self.rooms.iter().find_map(of) {
            self.unfollow(room);
        }
    }

    /// Ends all followings and watchers.
    pub(crate) fn forget_all(&mut self) {
        self.rooms.clear();
        self.watches = Watches::default();
        self.deliveries.clear();
    }

    pub(crate) fn watch(&mut self, number: u64, now: Duration) {
        self.watches.add(number, now);
        self.wake_at(now);
    }

    /// A new connection: all that has no answer is asked anew, if it is not about a log that is gone.
    pub(crate) fn connected(&mut self, log: &str, now: Duration) {
        let new_log = *log != *self.log;
        self.log = log.into();
        self.unanswered.clear();
        self.control.clear();
        self.reads.connected(log, now);
        self.watches.begin_anew(now);
        let mut reset = Vec::new();
        for (room, following) in &mut self.rooms {
            following.lost(now);
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
            let idle = self.rooms.values().filter(|following| following.asked.is_none());
            let rooms = idle.filter_map(|following| following.due);
            self.next_due = rooms.chain(self.reads.due()).chain(self.watches.due()).min();
        }
        frame
    }

    /// When to look for a next frame again, although nothing came in.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.next_due
    }

    /// When the oldest unanswered frame was sent.
    pub(crate) fn oldest_unanswered(&self) -> Option<Duration> {
        self.unanswered.values().map(|(_, sent)| *sent).min()
    }

    pub(crate) fn reply(&mut self, reply: ServerReply, now: Duration, unit: f64) {
        let Some(req) = reply.req else { return };
        let reply = reply.reply;
        match self.unanswered.remove(&req) {
            Some((Asked::Read, _)) => self.reads.answer(req, Ok(reply)),
            Some((Asked::Join(room), _)) => {
                let Some(following) = self.asked_by(&room, req) else { return };
                following.joined = true;
                following.is_served = true;
                following.served();
                following.due.get_or_insert(now + stretched(CHECK, unit));
                let step = following.timeline.joined(reply);
                self.stepped(&room, step, now);
            }
            Some((Asked::Page(room), _)) => {
                let Some(following) = self.asked_by(&room, req) else { return };
                following.served();
                following.due.get_or_insert(now + stretched(CHECK, unit));
                let step = following.timeline.page(reply);
                self.stepped(&room, step, now);
            }
            Some((Asked::Watch, _)) | None => {}
        }
    }

    pub(crate) fn heads(&mut self, heads: Heads, now: Duration) {
        if let Some(req) = heads.req {
            let is_last = heads.more != Some(true);
            if let Some((_, sent)) = self.unanswered.get_mut(&req) {
                *sent = now; // A long list is an answer in many frames.
            }
            if is_last {
                self.unanswered.remove(&req);
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
    pub(crate) fn refused(&mut self, error: ErrorFrame, now: Duration, unit: f64) -> Verdict {
        let Some(req) = error.req else { return Verdict::GoOn };
        let Some((asked, _)) = self.unanswered.remove(&req) else { return Verdict::GoOn };
        if matches!(error.code, ErrorCode::LoginRequired | ErrorCode::Unauthorized) {
            return Verdict::Reconnect(format!("{}: {}", error.code, error.message));
        }
        let again = now + wait_of(&error, unit);
        match asked {
            Asked::Read if error.code.is_transient() && !names_damage(&error) => {
                self.reads.postpone(req, error, (now, again), self.patience);
            }
            Asked::Read => self.reads.answer(req, Err(ClientError::Refused(Box::new(error)))),
            Asked::Watch => self.watch_refused(req, error, now, again),
            Asked::Join(room) | Asked::Page(room) => {
                self.room_refused(room, req, error, now, unit);
            }
        }
        self.wake_at(again);
        Verdict::GoOn
    }

    pub(crate) fn fail_all(&mut self, error: &ClientError) {
        self.reads.fail_all(error);
    }

    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// Takes an `error` without `req`: the server ended a following or the watch, or it is about the whole
    /// connection.
    pub(crate) fn cut_off(&mut self, error: ErrorFrame, now: Duration, unit: f64) -> Verdict {
        let is_transient = error.code.is_transient();
        match error.room.clone() {
            Some(room) if is_transient && self.rooms.contains_key(&room) => {
                if let Some(following) = self.rooms.get_mut(&room) {
                    following.joined = false;
                }
                self.postpone(room, &error, now, unit);
                Verdict::GoOn
            }
            None if is_transient && !self.watches.is_empty() => {
                let again = now + wait_of(&error, unit);
                self.unanswered.retain(|_, (asked, _)| !matches!(asked, Asked::Watch));
                self.watches.begin_anew(again);
                self.wake_at(again);
                Verdict::GoOn
            }
            _ => Verdict::Reconnect(format!("{}: {}", error.code, error.message)),
        }
    }

    fn watch_refused(&mut self, req: i64, error: ErrorFrame, now: Duration, again: Duration) {
        self.watches.refused(req, now, again);
        let since = self.watches.refused_since.unwrap_or(now);
        let is_patient = self.patience.is_none_or(|patience| now.saturating_sub(since) < patience);
        if error.code.is_transient() && is_patient {
            return;
        }
        for number in self.watches.give_up() {
            self.deliver(number, Item::End(ClientError::Refused(Box::new(error.clone()))));
        }
    }

    fn next_watch(&mut self, now: Duration) -> Option<String> {
        self.watches.due().filter(|due| *due <= now)?;
        let req = self.mark();
        self.watches.ask(req);
        self.unanswered.insert(req, (Asked::Watch, now));
        Some(written(&ClientFrame::Watch { req: Some(req) }))
    }

    fn next_read(&mut self, now: Duration) -> Option<String> {
        let update = self.reads.next(now)?;
        if let Some(req) = update.req {
            self.unanswered.insert(req, (Asked::Read, now));
        }
        Some(written(&ClientFrame::Update(update)))
    }

    fn mark(&mut self) -> i64 {
        self.last_req -= 1;
        self.last_req
    }

    fn wake_at(&mut self, at: Duration) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }
}

/// Whether the server says that what it keeps is damaged: asked again it says the same.
fn names_damage(error: &ErrorFrame) -> bool {
    error.code == ErrorCode::Unavailable && error.message.contains("damaged")
}

/// The text of a frame that has no member a serializer could refuse.
pub(crate) fn written(frame: &ClientFrame) -> String {
    match serde_json::to_string(frame) {
        Ok(text) => text,
        Err(why) => unreachable!("a frame of names and numbers is always JSON: {why}"),
    }
}
