//! `watch`: the heads of all rooms, now and when they move.
//!
//! Enters: a `watch`, lists of rooms, time. Leaves: `heads` frames. Invariants: first all rooms, 1,000
//! a frame, `more` on all but the last; then those that moved, each at most once a second, with only
//! its newest slot; how long the watcher does not read costs nothing.

use std::time::{Duration, Instant};

use roomlog_core::{
    head::Head,
    heads::{Moved, Watcher},
};
use roomlog_protocol::{Heads, RoomName, ServerFrame, latest_of, limits::HEADS_PER_FRAME};

use super::{
    Connection,
    reads::{Job, Question},
};

/// How often a room's head is told.
const EVERY: Duration = Duration::from_secs(1);

/// A connection that watches.
pub(super) struct Watch {
    question: Question,
    watcher: Watcher,
    /// The list that is being told: `true` for the first, which carries `more` and `req`.
    listing: Option<bool>,
    req: Option<i64>,
    next: Instant,
}

impl Connection {
    /// Takes a `watch`; a second one begins anew.
    pub(super) fn watch(&mut self, req: Option<i64>) {
        let question = self.new_question();
        let watcher = self.gateway.node.watch();
        let next = Instant::now() + EVERY;
        self.watch = Some(Watch { question, watcher, listing: Some(true), req, next });
        self.jobs.retain(|job| !matches!(job, Job::List(..)));
        self.jobs.push_back(Job::List(question, None));
    }

    /// Whether this is the `watch` that is being answered.
    pub(super) fn watches(&self, question: Question) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.question == question)
    }

    /// Takes the next names of the list.
    pub(super) fn listed(&mut self, heads: Vec<(RoomName, Head)>) {
        let Some(watch) = &mut self.watch else { return };
        let question = watch.question;
        let Some(first) = watch.listing else { return };
        let last = heads.last().map(|(room, _)| room.clone());
        let more = heads.len() == HEADS_PER_FRAME;
        let rooms = heads.into_iter().map(|(room, head)| (room, latest_of(head.end))).collect();
        let mut frame = Heads { rooms, ..Heads::default() };
        if first {
            frame.more = more.then_some(true);
            frame.req = watch.req;
        }
        if !more {
            watch.listing = None;
            watch.next = Instant::now() + EVERY;
        }
        if first || !frame.rooms.is_empty() {
            self.say(&ServerFrame::Heads(frame));
        }
        if more {
            self.jobs.push_back(Job::List(question, last));
        }
    }

    /// When the next heads are due.
    pub(super) fn watch_deadline(&self) -> Option<Instant> {
        self.watch.as_ref().filter(|watch| watch.listing.is_none()).map(|watch| watch.next)
    }

    /// Tells what moved, when it is time and the socket has taken what it was told.
    pub(super) fn tell_heads(&mut self, now: Instant) {
        let full = self.out.bytes() >= super::OUT_BYTES;
        let Some(watch) = &mut self.watch else { return };
        if watch.listing.is_some() || now < watch.next {
            return;
        }
        watch.next = now + EVERY;
        if full {
            return;
        }
        let rooms = match watch.watcher.moved(HEADS_PER_FRAME) {
            Moved::Rooms(rooms) => rooms,
            Moved::All => {
                watch.listing = Some(false);
                return self.jobs.push_back(Job::List(watch.question, None));
            }
        };
        if rooms.is_empty() {
            return;
        }
        if rooms.len() == HEADS_PER_FRAME {
            // More moved than a frame holds; the rest are other rooms, so they need not wait.
            watch.next = now;
        }
        let latest = |room: RoomName| {
            let tail = self.gateway.node.tail(&room).ok()?;
            Some((room, latest_of(tail.head().end)))
        };
        let rooms = rooms.into_iter().filter_map(latest).collect();
        self.say(&ServerFrame::Heads(Heads { rooms, ..Heads::default() }));
    }
}
