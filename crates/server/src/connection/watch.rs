//! `watch`: the heads of all rooms, now and when they move.
//!
//! Enters: a `watch`, lists of rooms, time. Leaves: `heads` frames, jobs. Invariants: first all rooms,
//! 1,000 a frame, `more` on all but the last; then those that moved, each at most once a second, with
//! only its newest slot. Who missed moves gets a list of all rooms once more, at most every
//! [`LIST_EVERY`], and what moves meanwhile between its pages. A watcher is a mark in a list that all
//! share, and one that does not read costs nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use roomlog_auth::Right;
use roomlog_core::{
    archive::ArchiveError,
    head::Head,
    heads::{Moved, Watcher},
};
use roomlog_protocol::{Heads, Latest, RoomName, ServerFrame, limits::HEADS_PER_FRAME};

use super::{
    socket::OUT_BYTES,
    turn::{Job, Question, Turn},
};
use crate::gateway::unreadable;

/// How often the head of a room is sent.
const EVERY: Duration = Duration::from_secs(1);

/// How long after a list of all rooms another one may begin, because moves were missed.
pub(super) const LIST_EVERY: Duration = Duration::from_secs(30);
/// The most that a head takes in a frame: a name of 128 bytes, a slot, and what separates them.
const HEAD_BYTES: usize = 160;

/// How many heads a frame has if more may not be held.
const LEAST_HEADS: usize = 16;

struct Watching {
    question: Question,
    watcher: Watcher,
    /// The list that is being sent: `true` for the first, which carries `more` and `req`.
    listing: Option<bool>,
    req: Option<i64>,
    next: Instant,
    /// Rooms moved that are not known any more.
    missed: bool,
    /// When another list of all rooms may begin.
    next_list: Instant,
}

/// The `watch` of a connection, if it has one.
#[derive(Default)]
pub(super) struct Watch(Option<Watching>);

impl Watch {
    /// Takes a `watch`; a second one begins anew.
    pub(super) fn begin(&mut self, turn: &mut Turn, question: Question, req: Option<i64>) {
        let (watcher, next) = (turn.gateway.node.watch(), turn.now + EVERY);
        let (listing, next_list) = (Some(true), turn.now + LIST_EVERY);
        let missed = false;
        self.0 = Some(Watching { question, watcher, listing, req, next, missed, next_list });
        turn.jobs.retain(|job| !matches!(job, Job::List(..)));
        turn.jobs.push_back(Job::List(question, None));
    }

    /// Sends the heads of all rooms once more, because the client may read others now.
    pub(super) fn list_again(&mut self, turn: &mut Turn) {
        let Some(watching) = self.0.as_mut().filter(|it| it.listing.is_none()) else { return };
        watching.listing = Some(false);
        turn.jobs.push_back(Job::List(watching.question, None));
    }

    /// Whether this is the `watch` that is being answered.
    pub(super) fn is_open(&self, question: Question) -> bool {
        self.0.as_ref().is_some_and(|watching| watching.question == question)
    }

    /// Takes the next names of the list. If it cannot be read, the `watch` ends.
    pub(super) fn listed(
        &mut self,
        turn: &mut Turn,
        question: Question,
        heads: Result<Vec<(RoomName, Head)>, ArchiveError>,
        most: usize,
    ) {
        let Some(watching) = self.0.as_mut().filter(|it| it.question == question) else { return };
        let heads = match heads {
            Ok(heads) => heads,
            Err(problem) => {
                self.0 = None;
                return turn.refuse(unreadable(&problem));
            }
        };
        let Some(first) = watching.listing else { return };
        let last = heads.last().map(|(room, _)| room.clone());
        let more = heads.len() == most;
        let rooms =
            heads.into_iter().map(|(room, head)| (room, Latest::before(head.end))).collect();
        let mut frame = Heads { rooms, ..Heads::default() };
        if first {
            frame.more = more.then_some(true);
            frame.req = watching.req;
        }
        if !more {
            watching.listing = None;
            watching.next = turn.now + EVERY;
            watching.next_list = turn.now + LIST_EVERY;
        }
        if first || !frame.rooms.is_empty() {
            turn.say(&ServerFrame::Heads(frame));
        }
        if more {
            if !first {
                // While no page is being read, which might send an older slot after a newer one.
                watching.send_moved(turn);
            }
            turn.jobs.push_back(Job::List(question, last));
        }
    }

    /// When the next heads are due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().filter(|watching| watching.listing.is_none()).map(|watching| watching.next)
    }

    /// Sends what moved, if it is due and the socket has taken what was sent before.
    pub(super) fn tick(&mut self, turn: &mut Turn) {
        let Some(watching) = self.0.as_mut().filter(|it| it.listing.is_none()) else { return };
        watching.send_moved(turn);
        if watching.missed && turn.now >= watching.next_list {
            watching.missed = false;
            watching.listing = Some(false);
            turn.jobs.push_back(Job::List(watching.question, None));
        }
    }
}

impl Watching {
    fn send_moved(&mut self, turn: &mut Turn) {
        if turn.now < self.next {
            return;
        }
        self.next = turn.now + EVERY;
        let may_hold = |most: &usize| turn.may_hold(most * HEAD_BYTES);
        let most = [HEADS_PER_FRAME, LEAST_HEADS].into_iter().find(may_hold);
        let Some(most) = most.filter(|_| turn.out.bytes() < OUT_BYTES) else { return };
        let Moved { rooms, missed } = self.watcher.moved(most);
        self.missed |= missed;
        if rooms.len() == most {
            // More moved than a frame holds; the rest are other rooms, so they need not wait.
            self.next = turn.now;
        }
        let readable = rooms.into_iter().filter(|(room, _)| turn.access.may(room, Right::Read));
        let rooms: BTreeMap<_, _> =
            readable.map(|(room, end)| (room, Latest::before(end))).collect();
        if rooms.is_empty() {
            return;
        }
        turn.say(&ServerFrame::Heads(Heads { rooms, ..Heads::default() }));
    }
}

#[cfg(test)]
#[path = "tests/watch.rs"]
mod tests;
