//! The watchers, and which list of rooms is for whom.
//!
//! Invariant: at most one list is being received, and another `watch` waits for its end, because
//! the server starts over with each; every watcher gets one complete list, then all moves.

use std::{collections::BTreeMap, time::Duration};

use roomlog_protocol::Heads;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Needs a list.
    Waiting,
    /// Gets the list that is being received.
    Listing,
    /// Has the complete list.
    Live,
}

#[derive(Default)]
pub(crate) struct Watches {
    watchers: BTreeMap<u64, Stage>,
    /// The `req` of the `watch` whose list is being received.
    listing: Option<i64>,
    due: Option<Duration>,
    pub(crate) refused_since: Option<Duration>,
}

impl Watches {
    pub(crate) fn add(&mut self, number: u64, now: Duration) {
        self.watchers.insert(number, Stage::Waiting);
        self.due.get_or_insert(now);
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.watchers.remove(&number);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// When to send `watch`; `None` while a list is being received.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| self.listing.is_none() && !self.is_empty())
    }

    /// A `watch` with this `req` is sent: its list is for all that are waiting.
    pub(crate) fn sent(&mut self, req: i64) {
        (self.listing, self.due) = (Some(req), None);
        self.step(Stage::Waiting, Stage::Listing);
    }

    /// Starts all lists over at this time: after a reconnect, or when the server ended the watch.
    pub(crate) fn restart(&mut self, at: Duration) {
        (self.listing, self.due) = (None, Some(at));
        self.watchers.values_mut().for_each(|stage| *stage = Stage::Waiting);
    }

    /// The server refused the list of this `req`: retries at `again`.
    pub(crate) fn refused(&mut self, req: i64, now: Duration, again: Duration) {
        if self.listing == Some(req) {
            (self.listing, self.due) = (None, Some(again));
            self.refused_since.get_or_insert(now);
            self.step(Stage::Listing, Stage::Waiting);
        }
    }

    /// Removes and returns the watchers that have no list yet.
    pub(crate) fn give_up(&mut self) -> Vec<u64> {
        let out = self.watchers.extract_if(.., |_, stage| *stage != Stage::Live);
        out.map(|(number, _)| number).collect()
    }

    pub(crate) fn take(&mut self, mut heads: Heads, now: Duration) -> Vec<(u64, Heads)> {
        let req = heads.req.take();
        if req.is_some() && req != self.listing {
            return Vec::new();
        }
        let is_last = req.is_some() && heads.more != Some(true);
        let of = |(number, stage): (&u64, &Stage)| {
            let more = match stage {
                Stage::Waiting => return None,
                // A move during the list does not end it.
                Stage::Listing => Some(true).filter(|_| !is_last),
                // A move from before the server started over is only in the list.
                Stage::Live => None,
            };
            Some((*number, Heads { rooms: heads.rooms.clone(), more, req: None }))
        };
        let taken = self.watchers.iter().filter_map(of).collect();
        if is_last {
            (self.listing, self.refused_since) = (None, None);
            self.step(Stage::Listing, Stage::Live);
            if self.watchers.values().any(|stage| *stage == Stage::Waiting) {
                self.due.get_or_insert(now);
            }
        }
        taken
    }

    fn step(&mut self, from: Stage, to: Stage) {
        self.watchers.values_mut().filter(|stage| **stage == from).for_each(|stage| *stage = to);
    }
}
