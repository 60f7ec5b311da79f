//! What is asked of the server besides appends: reads, followings, the watch.
//!
//! Enters: what callers want, answers of the server, losses of the connection. Leaves: frames to
//! send, answers to reads, and [`Delivery`]s to followers. No clock, no socket, no randomness.
//!
//! Invariant: a read is asked until it has one answer; a following is joined anew after each loss, at
//! the slot it had; at most one `join` or `update` of a following is unanswered. Marks (`req`) of
//! these frames are negative; those of appends are positive.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use roomlog_protocol::{
    ClientFrame, ClientUpdate, ErrorCode, ErrorFrame, Heads, Join, Reply, RoomName, ServerAck,
    ServerReply, Span,
};
use tokio::sync::oneshot;

use crate::{
    ClientError,
    backoff::stretched,
    following::{Followed, Following, wait_of},
    outbox::Verdict,
    timeline::{Reset, Start, Step, Timeline},
};

/// How often a follower asks whether it missed something, before jitter.
const CHECK: Duration = Duration::from_secs(24);

/// How many reads may be unanswered.
pub(crate) const MOST_READS: usize = 32;

/// Something for one who follows or watches.
#[derive(Debug)]
pub(crate) enum Delivery {
    Room(RoomName, Result<Followed, ClientError>),
    Heads(Result<Heads, ClientError>),
}

/// Who gets the answer to a read.
pub(crate) type ReadTag = oneshot::Sender<Result<Reply, ClientError>>;

struct Read {
    update: ClientUpdate,
    tag: ReadTag,
    /// When to ask; none while asked.
    due: Option<Duration>,
    refused_since: Option<Duration>,
}

/// What an unanswered frame was.
enum Asked {
    Read,
    Join(RoomName),
    Page(RoomName),
    Watch,
}

#[derive(Default)]
pub(crate) struct Asks {
    reads: BTreeMap<i64, Read>,
    rooms: BTreeMap<RoomName, Following>,
    /// When to ask to watch, for one who watches and was not heard yet.
    watch_due: Option<Duration>,
    watching: bool,
    unanswered: HashMap<i64, (Asked, Duration)>,
    control: VecDeque<String>,
    deliveries: VecDeque<Delivery>,
    /// The earliest of all that is due: nothing is looked through before.
    next_due: Option<Duration>,
    last_req: i64,
    patience: Option<Duration>,
}

impl Asks {
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Self { patience, ..Self::default() }
    }

    /// Whether one more read may be asked.
    pub(crate) fn has_space(&self) -> bool {
        self.reads.len() < MOST_READS
    }

    /// Whether every read has its answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.reads.is_empty()
    }

    pub(crate) fn read(&mut self, update: ClientUpdate, tag: ReadTag, now: Duration) {
        let req = self.mark();
        self.reads.insert(req, Read { update, tag, due: Some(now), refused_since: None });
        self.wake_at(now);
    }

    /// Follows a room; a following of the same room that was there is replaced.
    pub(crate) fn follow(&mut self, room: RoomName, start: Start, now: Duration) {
        let timeline = Timeline::new(room.clone(), start);
        self.rooms.insert(room, Following::new(timeline, now));
        self.wake_at(now);
    }

    pub(crate) fn unfollow(&mut self, room: RoomName) {
        if self.rooms.remove(&room).is_some_and(|following| following.joined) {
            self.control.push_back(written(&ClientFrame::Leave { room, req: None }));
        }
    }

    pub(crate) fn watch(&mut self, now: Duration) {
        (self.watching, self.watch_due) = (true, Some(now));
        self.wake_at(now);
    }

    pub(crate) fn unwatch(&mut self) {
        (self.watching, self.watch_due) = (false, None);
    }

    /// A new connection: all that has no answer is asked anew.
    pub(crate) fn connected(&mut self, new_log: bool, now: Duration) {
        self.unanswered.clear();
        self.control.clear();
        if new_log {
            self.give_up_slots();
        }
        self.reads.values_mut().for_each(|read| read.due = Some(now));
        self.watch_due = self.watching.then_some(now);
        for (room, following) in &mut self.rooms {
            (following.joined, following.asked, following.due) = (false, None, Some(now));
            if new_log && following.timeline.has_begun() {
                following.timeline.reset();
                let reset = Ok(Followed::Reset(Reset::NewLog));
                self.deliveries.push_back(Delivery::Room(room.clone(), reset));
            }
        }
        self.wake_at(now);
    }

    /// Reads that name a slot mean one of the log that is gone.
    fn give_up_slots(&mut self) {
        for (_, read) in self.reads.extract_if(.., |_, read| names_a_slot(&read.update)) {
            // A caller that went away wants no answer.
            let _ = read.tag.send(Err(ClientError::NewLog));
        }
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
            let reads = self.reads.values().filter_map(|read| read.due);
            self.next_due = rooms.chain(reads).chain(self.watch_due).min();
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
            Some((Asked::Read, _)) => {
                if let Some(read) = self.reads.remove(&req) {
                    // A caller that went away wants no answer.
                    let _ = read.tag.send(Ok(reply));
                }
            }
            Some((Asked::Join(room), _)) => {
                let Some(following) = self.asked_by(&room, req) else { return };
                following.joined = true;
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

    pub(crate) fn ack(&mut self, ack: ServerAck, now: Duration) {
        let Some(following) = self.rooms.get_mut(&ack.room) else { return };
        if following.joined {
            let step = following.timeline.ack(ack.entries);
            self.stepped(&ack.room, step, now);
        }
    }

    pub(crate) fn heads(&mut self, heads: Heads) {
        if let Some(req) = heads.req {
            self.unanswered.remove(&req);
        }
        self.deliveries.push_back(Delivery::Heads(Ok(heads)));
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
            Asked::Read => self.read_refused(req, error, now, again),
            Asked::Watch if error.code.is_transient() => self.watch_due = Some(again),
            Asked::Watch => {
                let error = ClientError::Refused(Box::new(error));
                self.deliveries.push_back(Delivery::Heads(Err(error)));
            }
            Asked::Join(room) | Asked::Page(room) => {
                self.room_refused(room, req, error, now, unit);
            }
        }
        self.wake_at(again);
        Verdict::GoOn
    }

    pub(crate) fn fail_all(&mut self, error: &ClientError) {
        for read in std::mem::take(&mut self.reads).into_values() {
            let _ = read.tag.send(Err(error.clone()));
        }
    }

    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// Takes an `error` without `req`: a following that the server ended, or the whole connection.
    pub(crate) fn cut_off(&mut self, error: ErrorFrame, now: Duration, unit: f64) -> Verdict {
        let followed = error.room.clone().filter(|room| self.rooms.contains_key(room));
        match followed.filter(|_| error.code.is_transient()) {
            Some(room) => {
                if let Some(following) = self.rooms.get_mut(&room) {
                    following.joined = false;
                }
                self.postpone(room, &error, now, unit);
                Verdict::GoOn
            }
            None => Verdict::Reconnect(format!("{}: {}", error.code, error.message)),
        }
    }

    /// Asks for a room again, later, and tells its follower why nothing comes.
    fn postpone(&mut self, room: RoomName, error: &ErrorFrame, now: Duration, unit: f64) {
        let Some(following) = self.rooms.get_mut(&room) else { return };
        let waiting = following.postponed(error, now, unit);
        if let Some(due) = following.due {
            self.wake_at(due);
        }
        if let Some(waiting) = waiting {
            self.deliveries.push_back(Delivery::Room(room, Ok(waiting)));
        }
    }

    fn read_refused(&mut self, req: i64, error: ErrorFrame, now: Duration, again: Duration) {
        let Some(read) = self.reads.get_mut(&req) else { return };
        let since = *read.refused_since.get_or_insert(now);
        let patient = self.patience.is_none_or(|patience| now.saturating_sub(since) < patience);
        if error.code.is_transient() && patient && !names_damage(&error) {
            read.due = Some(again);
        } else if let Some(read) = self.reads.remove(&req) {
            let _ = read.tag.send(Err(ClientError::Refused(Box::new(error))));
        }
    }

    fn room_refused(
        &mut self,
        room: RoomName,
        req: i64,
        error: ErrorFrame,
        now: Duration,
        unit: f64,
    ) {
        let Some(following) = self.asked_by(&room, req) else { return };
        // One who has begun may be on a node that has not caught up; one who begins asked for a slot
        // that is not there.
        let behind = error.code == ErrorCode::Ahead && following.timeline.has_begun();
        if error.code == ErrorCode::Diverged {
            self.stepped(&room, Step::Diverged, now);
        } else if error.code.is_transient() || behind {
            self.postpone(room, &error, now, unit);
        } else {
            self.unfollow(room.clone());
            let error = ClientError::Refused(Box::new(error));
            self.deliveries.push_back(Delivery::Room(room, Err(error)));
        }
    }

    fn stepped(&mut self, room: &RoomName, step: Step, now: Duration) {
        let Some(following) = self.rooms.get_mut(room) else { return };
        let followed = match step {
            Step::Take(entries) => Followed::Entries(entries),
            Step::Gap(entries) => {
                following.due = Some(now);
                Followed::Entries(entries)
            }
            Step::Diverged => {
                following.timeline.reset();
                (following.joined, following.due) = (false, Some(now));
                Followed::Reset(Reset::Diverged)
            }
        };
        let due = following.due.filter(|_| following.asked.is_none());
        let recovered = std::mem::take(&mut following.recovered);
        if followed != Followed::Entries(Vec::new()) || recovered {
            self.deliveries.push_back(Delivery::Room(room.clone(), Ok(followed)));
        }
        if let Some(due) = due {
            self.wake_at(due);
        }
    }

    fn asked_by(&mut self, room: &RoomName, req: i64) -> Option<&mut Following> {
        let following =
            self.rooms.get_mut(room).filter(|following| following.asked == Some(req))?;
        following.asked = None;
        Some(following)
    }

    fn next_watch(&mut self, now: Duration) -> Option<String> {
        self.watch_due.filter(|due| *due <= now)?;
        self.watch_due = None;
        let req = self.mark();
        self.unanswered.insert(req, (Asked::Watch, now));
        Some(written(&ClientFrame::Watch { req: Some(req) }))
    }

    fn next_of_room(&mut self, now: Duration) -> Option<String> {
        let req = self.last_req - 1;
        let (room, following) = self.rooms.iter_mut().find(|(_, following)| {
            following.asked.is_none() && following.due.is_some_and(|due| due <= now)
        })?;
        (following.asked, following.due) = (Some(req), None);
        let page = following.timeline.update().filter(|_| following.joined);
        let (asked, frame) = match page {
            Some(update) => {
                let update = ClientUpdate { req: Some(req), ..update };
                (Asked::Page(room.clone()), ClientFrame::Update(update))
            }
            None => {
                let join = ClientUpdate { req: Some(req), ..following.timeline.join() };
                (Asked::Join(room.clone()), ClientFrame::Join(Join(join)))
            }
        };
        self.last_req = req;
        self.unanswered.insert(req, (asked, now));
        Some(written(&frame))
    }

    fn next_read(&mut self, now: Duration) -> Option<String> {
        let (req, read) =
            self.reads.iter_mut().rev().find(|(_, read)| read.due.is_some_and(|due| due <= now))?;
        read.due = None;
        self.unanswered.insert(*req, (Asked::Read, now));
        let update = ClientUpdate { req: Some(*req), ..read.update.clone() };
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

fn names_a_slot(update: &ClientUpdate) -> bool {
    let spans = match update.span {
        Span::After(slot) => slot >= 0,
        Span::UpTo { upto, .. } => upto.is_some(),
    };
    spans || update.seen.is_some() || update.digest.is_some()
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
