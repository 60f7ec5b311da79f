//! Who watches, and which list is for whom.
//!
//! Enters: watchers, `heads`, refusals, losses of the connection. Leaves: when to send `watch`, and which
//! heads each watcher gets. Invariant: at most one list is under way, and another `watch` waits for its
//! end, because the server begins anew with each; every watcher gets one whole list, then all moves.

use std::{collections::BTreeMap, time::Duration};

use roomlog_protocol::Heads;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Needs a list of its own.
    Waiting,
    /// The list that is under way is for this one.
    Listing,
    /// Has the whole list.
    Live,
}

#[derive(Default)]
pub(crate) struct Watches {
    watchers: BTreeMap<u64, Stage>,
    /// The mark of the `watch` whose list is under way.
    asked: Option<i64>,
    /// When to send `watch`.
    due: Option<Duration>,
    /// Since when the server refuses the list.
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

    /// When to ask next; not while a list is under way.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| self.asked.is_none() && !self.is_empty())
    }

    /// A `watch` with this mark is sent: its list is for all that wait.
    pub(crate) fn ask(&mut self, req: i64) {
        (self.asked, self.due) = (Some(req), None);
        self.step(Stage::Waiting, Stage::Listing);
    }

    /// All lists begin anew, at this time: the connection is another one, or the server ended the watch.
    pub(crate) fn begin_anew(&mut self, at: Duration) {
        (self.asked, self.due) = (None, Some(at));
        self.watchers.values_mut().for_each(|stage| *stage = Stage::Waiting);
    }

    /// The server refused the list that was asked for under this mark; ask again then.
    pub(crate) fn refused(&mut self, req: i64, now: Duration, again: Duration) {
        if self.asked == Some(req) {
            (self.asked, self.due) = (None, Some(again));
            self.refused_since.get_or_insert(now);
            self.step(Stage::Listing, Stage::Waiting);
        }
    }

    /// Takes out those whose list cannot be had.
    pub(crate) fn give_up(&mut self) -> Vec<u64> {
        let waits = |stage: &Stage| *stage != Stage::Live;
        let out = self.watchers.extract_if(.., |_, stage| waits(stage));
        out.map(|(number, _)| number).collect()
    }

    /// What each watcher gets of these heads.
    pub(crate) fn take(&mut self, mut heads: Heads, now: Duration) -> Vec<(u64, Heads)> {
        let req = heads.req.take();
        if req.is_some() && req != self.asked {
            return Vec::new();
        }
        let is_list = req.is_some();
        let is_last = is_list && heads.more != Some(true);
        let of = |(number, stage): (&u64, &Stage)| {
            let more = match stage {
                Stage::Waiting => return None,
                // A move while the list is under way is not its end.
                Stage::Listing => Some(true).filter(|_| !is_last),
                // What moved before the server began anew is in the list, and only there.
                Stage::Live => None,
            };
            Some((*number, Heads { rooms: heads.rooms.clone(), more, req: None }))
        };
        let taken = self.watchers.iter().filter_map(of).collect();
        if is_last {
            (self.asked, self.refused_since) = (None, None);
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
