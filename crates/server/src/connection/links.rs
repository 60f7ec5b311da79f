//! The rooms that a connection has to do with.
//!
//! Enters: room names. Leaves: a [`Link`] per room, found by name or by its key. Invariants: a key is
//! not used for two rooms at once; links at rest are let go when there are more than the limit, but
//! one whose appends are numbered is kept as long as the connection.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use roomlog_core::{
    follower::Follower,
    lane::{Lane, LaneLimits},
    mailbox::Mailbox,
    queue::{Draft, Queue},
    tail::{Hearing, Tail},
};
use roomlog_protocol::{RoomName, latest_of};

use super::reads::{Question, Read};

/// A connection that follows a room, from the reply to a `join` on.
pub(super) struct Following {
    /// The `join` that began it.
    pub(super) question: Question,
    pub(super) follower: Follower,
    /// Whether a page for it is being read, or stands among the jobs.
    pub(super) catching_up: bool,
}

/// What a connection has to do with one room.
pub(super) struct Link {
    pub(super) tail: Arc<Tail>,
    /// The queue of this connection's appends in the room.
    pub(super) queue: Queue,
    pub(super) lane: Lane<Box<Draft>>,
    /// How many of them are with the sequencer.
    pub(super) submitted: usize,
    /// Reads in the order asked, the first one next or under way.
    pub(super) reads: VecDeque<Read>,
    /// Where it stands, when the connection follows the room.
    pub(super) follow: Option<Following>,
    /// Whether it stands in the line of rooms that have something to send.
    pub(super) in_line: bool,
    hearing: Option<Hearing>,
}

impl Link {
    /// Hears of the room from now on, if it does not yet.
    pub(super) fn hear(&mut self, mailbox: &Arc<Mailbox>, key: u32) {
        if self.hearing.is_none() {
            self.hearing = Some(self.tail.hear(mailbox, key));
        }
    }

    /// Notes that it was told, so that it is told again; stops hearing when nothing needs it.
    pub(super) fn heard(&mut self) {
        let needed = self.follow.is_some() || !self.reads.is_empty() || self.lane.waits_for_room();
        if !needed {
            self.hearing = None;
        } else if let Some(hearing) = &self.hearing {
            hearing.take();
        }
    }

    /// Whether it counts towards `rooms_per_connection`.
    pub(super) fn counts(&self) -> bool {
        self.follow.is_some() || self.lane.is_numbered() || self.reads.iter().any(Read::is_join)
    }

    /// The first of its reads, when it is this one.
    pub(super) fn first_read(&self, question: Question) -> Option<&Read> {
        self.reads.front().filter(|read| read.is(question))
    }

    /// The following that this `join` began, when it has not ended.
    pub(super) fn following(&mut self, question: Question) -> Option<&mut Following> {
        self.follow.as_mut().filter(|following| following.question == question)
    }

    /// The latest slot of the room.
    pub(super) fn latest(&mut self) -> i64 {
        latest_of(self.tail.head().end)
    }

    fn is_at_rest(&self) -> bool {
        !self.counts()
            && self.reads.is_empty()
            && self.submitted == 0
            && !self.lane.waits_for_room()
    }

    /// When something in it has waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let reads = self.reads.front().and_then(|read| read.deadline);
        [self.lane.deadline(), reads].into_iter().flatten().min()
    }
}

/// The rooms that a connection has to do with.
#[derive(Default)]
pub(super) struct Links {
    keys: HashMap<RoomName, u32>,
    /// Few as a rule, and looked up for each commit: an ordered map of boxes is small and quick.
    links: BTreeMap<u32, Box<Link>>,
    next_key: u32,
}

impl Links {
    pub(super) fn key(&self, room: &RoomName) -> Option<u32> {
        self.keys.get(room).copied()
    }

    pub(super) fn get(&mut self, key: u32) -> Option<&mut Link> {
        self.links.get_mut(&key).map(Box::as_mut)
    }

    /// Whether `most` of them count towards `rooms_per_connection`.
    pub(super) fn is_full(&self, most: usize) -> bool {
        // Most connections have fewer rooms: then none is looked at, for each one that is new.
        self.links.len() >= most && self.links.values().filter(|link| link.counts()).count() >= most
    }

    /// Makes the link to a room.
    pub(super) fn add(
        &mut self,
        tail: Arc<Tail>,
        queue: Queue,
        limits: LaneLimits,
        most: usize,
    ) -> u32 {
        if self.links.len() >= most {
            self.let_go_of_those_at_rest();
        }
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        self.keys.insert(tail.room().clone(), key);
        let link = Link {
            tail,
            queue,
            lane: Lane::new(limits),
            submitted: 0,
            reads: VecDeque::new(),
            follow: None,
            in_line: false,
            hearing: None,
        };
        self.links.insert(key, Box::new(link));
        key
    }

    fn let_go_of_those_at_rest(&mut self) {
        let keys = &mut self.keys;
        self.links.retain(|_, link| {
            let keep = !link.is_at_rest();
            if !keep {
                keys.remove(link.tail.room());
            }
            keep
        });
    }

    pub(super) fn keys(&self) -> Vec<u32> {
        self.links.keys().copied().collect()
    }

    /// When something has waited too long, of those that wait.
    pub(super) fn deadline(&self, waiting: &[u32]) -> Option<Instant> {
        waiting.iter().filter_map(|key| self.links.get(key)?.deadline()).min()
    }
}
