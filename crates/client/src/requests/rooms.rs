//! The followed rooms.
//!
//! Enters: follows, replies, acks, refusals. Leaves: `join`, `update` and `leave`, and what each
//! follower gets. Invariant: a room has one follow, and nothing of an earlier one reaches it; a
//! follower that receives nothing got the reason, once; a room without follower is left.

use std::time::Duration;

use roomlog_protocol::{
    ClientFrame, ClientUpdate, ErrorCode, ErrorFrame, Join, RoomName, ServerAck,
};

use super::{Item, Requests, Unanswered, written};
use crate::{
    ClientError,
    backoff::{Backoff, wait_of},
    timeline::{Followed, Reset, Start, Step, Timeline},
};

/// How many refusals in a row go unreported while the server is only busy.
const UNREPORTED: u32 = 3;

pub(super) struct Following {
    /// Distinguishes this follow from others of the same room.
    pub(super) number: u64,
    pub(super) timeline: Timeline,
    pub(super) joined: bool,
    /// Whether the server may be sending entries, for this follow or one that it replaced.
    pub(super) is_served: bool,
    /// The `req` of the unanswered `join` or `update`.
    pub(super) req: Option<i64>,
    pub(super) due: Option<Duration>,
    /// Refusals since the last answer.
    refusals: Backoff,
    /// Whether the follower knows that it has to wait.
    reported: bool,
    /// Whether the wait is over and the follower does not know it.
    pub(super) recovered: bool,
}

impl Following {
    pub(super) fn new(number: u64, timeline: Timeline, now: Duration) -> Self {
        Self {
            number,
            timeline,
            joined: false,
            is_served: false,
            req: None,
            due: Some(now),
            refusals: Backoff::default(),
            reported: false,
            recovered: false,
        }
    }

    /// Whether the server sends entries, now or once it has read the latest request.
    pub(super) fn may_be_served(&self) -> bool {
        self.is_served || self.req.is_some()
    }

    pub(super) fn disconnected(&mut self, now: Duration) {
        (self.joined, self.is_served, self.req, self.due) = (false, false, None, Some(now));
    }

    /// The server answered: the next refusal is the first again.
    pub(super) fn answered(&mut self) {
        self.refusals.reset();
        self.recovered |= std::mem::take(&mut self.reported);
    }

    /// Schedules a retry after a refusal. Returns the report to the follower, unless it knows.
    pub(super) fn retry_later(
        &mut self,
        error: &ErrorFrame,
        now: Duration,
        jitter: f64,
    ) -> Option<Followed> {
        self.due = Some(now + wait_of(error, jitter).max(self.refusals.next(jitter)));
        let is_reported = !matches!(error.code, ErrorCode::Busy | ErrorCode::RateLimited)
            || self.refusals.tries() > UNREPORTED;
        let is_news = is_reported && !std::mem::replace(&mut self.reported, true);
        is_news.then(|| Followed::Waiting(format!("{}: {}", error.code, error.message)))
    }
}

impl Requests {
    /// Follows a room from a slot of this log. Returns the number of the follow that it replaces.
    pub(crate) fn follow(
        &mut self,
        number: u64,
        room: RoomName,
        (start, log): (Start, &str),
        now: Duration,
    ) -> Option<u64> {
        let timeline = Timeline::new(room.clone(), start);
        let is_other = *log != *self.log && timeline.has_place();
        let mut following = Following::new(number, timeline, now);
        let before = self.rooms.remove(&room);
        following.is_served = before.as_ref().is_some_and(Following::may_be_served);
        self.rooms.insert(room.clone(), following);
        if is_other {
            self.reset(&room);
        }
        self.wake_at(now);
        before.map(|before| before.number)
    }

    pub(super) fn unfollow(&mut self, room: RoomName) {
        if self.rooms.remove(&room).is_some_and(|following| following.may_be_served()) {
            self.control.push_back(written(&ClientFrame::Leave { room, req: None }));
        }
    }

    /// What the follower has, or where it wanted to start, is of another log.
    pub(super) fn reset(&mut self, room: &RoomName) {
        if let Some(following) = self.rooms.get_mut(room) {
            following.timeline.reset();
            let number = following.number;
            self.deliver(number, Item::Followed(Followed::Reset(Reset::NewLog)));
        }
    }

    pub(crate) fn ack(&mut self, ack: ServerAck, now: Duration) {
        let Some(following) = self.rooms.get_mut(&ack.room) else { return };
        if following.joined {
            let step = following.timeline.ack(ack.entries);
            self.stepped(&ack.room, step, now);
        }
    }

    pub(super) fn retry_later(
        &mut self,
        room: RoomName,
        error: &ErrorFrame,
        now: Duration,
        jitter: f64,
    ) {
        let Some(following) = self.rooms.get_mut(&room) else { return };
        let waiting = following.retry_later(error, now, jitter);
        let number = following.number;
        if let Some(due) = following.due {
            self.wake_at(due);
        }
        if let Some(waiting) = waiting {
            self.deliver(number, Item::Followed(waiting));
        }
    }

    pub(super) fn room_refused(
        &mut self,
        room: RoomName,
        req: i64,
        error: ErrorFrame,
        now: Duration,
        jitter: f64,
    ) {
        let Some(following) = self.answered_by(&room, req) else { return };
        // A follow in progress may be on a node that has not caught up; a new one named a bad slot.
        let behind = error.code == ErrorCode::Ahead && following.timeline.has_begun();
        if error.code == ErrorCode::Diverged {
            self.stepped(&room, Step::Diverged, now);
        } else if error.code.is_transient() || behind {
            self.retry_later(room, &error, now, jitter);
        } else {
            let number = following.number;
            self.unfollow(room);
            self.deliver(number, Item::End(ClientError::Refused(Box::new(error))));
        }
    }

    pub(super) fn stepped(&mut self, room: &RoomName, step: Step, now: Duration) {
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
        let (number, due) = (following.number, following.due.filter(|_| following.req.is_none()));
        let recovered = std::mem::take(&mut following.recovered);
        if followed != Followed::Entries(Vec::new()) || recovered {
            self.deliver(number, Item::Followed(followed));
        }
        if let Some(due) = due {
            self.wake_at(due);
        }
    }

    pub(super) fn answered_by(&mut self, room: &RoomName, req: i64) -> Option<&mut Following> {
        let following = self.rooms.get_mut(room).filter(|following| following.req == Some(req))?;
        following.req = None;
        Some(following)
    }

    pub(super) fn next_of_room(&mut self, now: Duration) -> Option<String> {
        let req = self.last_req - 1;
        let (room, following) = self.rooms.iter_mut().find(|(_, following)| {
            following.req.is_none() && following.due.is_some_and(|due| due <= now)
        })?;
        (following.req, following.due) = (Some(req), None);
        let page = following.timeline.update().filter(|_| following.joined);
        let (request, frame) = match page {
            Some(update) => {
                let update = ClientUpdate { req: Some(req), ..update };
                (Unanswered::Page(room.clone()), ClientFrame::Update(update))
            }
            None => {
                let join = ClientUpdate { req: Some(req), ..following.timeline.join() };
                (Unanswered::Join(room.clone()), ClientFrame::Join(Join(join)))
            }
        };
        self.last_req = req;
        self.unanswered.insert(req, (request, now));
        Some(written(&frame))
    }
}
