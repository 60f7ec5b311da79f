//! What the parts of a session work with while they handle one event: a [`Turn`], with the rooms of the
//! connection and its jobs.
//!
//! Enters: tails, and what takes a while. Leaves: rooms by key, and notice when one moves: its key comes
//! to the mailbox; jobs, done one at a time ([`Done`]). Invariants: a key is never used for two rooms at
//! once; a result whose question is no longer open is dropped, because meanwhile the client may ask
//! something else of the same room, or leave it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    archive::ArchiveError,
    head::Head,
    mailbox::Mailbox,
    reader::{Page, PageLimits, ReadError},
    tail::{Subscription, Tail},
};
use roomlog_protocol::{
    ClientUpdate, Latest, Refusal, RoomName, ServerFrame, Slot, Span, limits::HEADS_PER_FRAME,
};

use super::socket::{BATCH_BYTES, Out};
use crate::{gateway::Gateway, principals::Client, wire};

/// What the parts of a session share while they handle an event.
pub(crate) struct Turn {
    /// The time of the event.
    pub(crate) now: Instant,
    pub(crate) gateway: Arc<Gateway>,
    /// Whose connection it is.
    pub(crate) client: Client,
    pub(crate) rooms: OpenRooms,
    pub(crate) out: Out,
    pub(crate) jobs: VecDeque<Job>,
}

impl Turn {
    pub(crate) fn new(gateway: Arc<Gateway>, client: Client, mailbox: Arc<Mailbox>) -> Self {
        let (rooms, out, jobs) = (OpenRooms::new(mailbox), Out::default(), VecDeque::new());
        Self { now: Instant::now(), gateway, client, rooms, out, jobs }
    }

    pub(super) fn say(&mut self, frame: &ServerFrame) {
        self.out.push(wire::server_frame(frame));
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.say(&ServerFrame::Error(refusal.into()));
    }

    /// Refuses an append, and counts that.
    pub(super) fn refuse_append(&mut self, refusal: Refusal) {
        self.gateway.config.metrics.refused(refusal.code);
        self.refuse(refusal);
    }
}

struct OpenRoom {
    tail: Arc<Tail>,
    subscription: Option<Subscription>,
}

/// The rooms that a connection deals with.
pub(crate) struct OpenRooms {
    mailbox: Arc<Mailbox>,
    keys: HashMap<RoomName, u32>,
    /// Usually few, and looked up for each commit: an ordered map is small and fast.
    rooms: BTreeMap<u32, Box<OpenRoom>>,
    next_key: u32,
}

impl OpenRooms {
    /// No rooms. Keys of rooms that move come to this mailbox.
    fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, keys: HashMap::new(), rooms: BTreeMap::new(), next_key: 0 }
    }

    pub(crate) fn key(&self, room: &RoomName) -> Option<u32> {
        self.keys.get(room).copied()
    }

    pub(crate) fn keys(&self) -> Vec<u32> {
        self.rooms.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn tail(&self, key: u32) -> Option<&Arc<Tail>> {
        self.rooms.get(&key).map(|room| &room.tail)
    }

    /// The slot behind the last entry of a room; 0 if the key is not in use.
    pub(crate) fn end(&self, key: u32) -> Slot {
        self.tail(key).map_or(0, |tail| tail.head().end)
    }

    /// The latest slot of a room; −1 if it is empty.
    pub(crate) fn latest(&self, key: u32) -> Latest {
        Latest::before(self.end(key))
    }

    pub(crate) fn add(&mut self, tail: Arc<Tail>) -> u32 {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        self.keys.insert(tail.room().clone(), key);
        self.rooms.insert(key, Box::new(OpenRoom { tail, subscription: None }));
        key
    }

    pub(super) fn remove(&mut self, key: u32) {
        if let Some(room) = self.rooms.remove(&key) {
            self.keys.remove(room.tail.room());
        }
    }

    /// Removes the rooms whose keys are not to be kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let keys = &mut self.keys;
        self.rooms.retain(|key, room| {
            let kept = keep(*key);
            if !kept {
                keys.remove(room.tail.room());
            }
            kept
        });
    }

    /// Asks for notice when the room moves. It may have moved before: look at its end afterwards.
    pub(crate) fn subscribe(&mut self, key: u32) {
        if let Some(room) = self.rooms.get_mut(&key)
            && room.subscription.is_none()
        {
            room.subscription = Some(room.tail.subscribe(&self.mailbox, key));
        }
    }

    /// Notes that notice came. If it is still needed, the next one can come; else there is none.
    pub(crate) fn moved(&mut self, key: u32, needed: bool) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        if !needed {
            room.subscription = None;
        } else if let Some(subscription) = &room.subscription {
            subscription.take();
        }
    }
}

/// What a client asked. Each question of a connection has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question(pub(crate) u64);

/// A job.
pub(crate) enum Job {
    /// The page of a read.
    Read(Question, u32, Box<ClientUpdate>),
    /// The next page for a follower that the tail has left behind.
    CatchUp(Question, u32, RoomName, Span),
    /// The next names for `watch`.
    List(Question, Option<RoomName>),
}

/// The result of a job.
pub(crate) enum Done {
    Read(Question, u32, Result<Page, ReadError>),
    CatchUp(Question, u32, Result<Page, ReadError>),
    List(Question, Result<Vec<(RoomName, Head)>, ArchiveError>),
}

impl Job {
    pub(crate) fn start(self, gateway: Arc<Gateway>) -> BoxFuture<'static, Done> {
        let limits = gateway.page_limits();
        match self {
            Self::Read(question, key, update) => async move {
                let ClientUpdate { room, span, digest, .. } = *update;
                Done::Read(question, key, gateway.page(&room, span, digest, limits).await)
            }
            .boxed(),
            Self::CatchUp(question, key, room, span) => async move {
                let limits = PageLimits { bytes: BATCH_BYTES, ..limits };
                Done::CatchUp(question, key, gateway.page(&room, span, None, limits).await)
            }
            .boxed(),
            Self::List(question, after) => async move {
                Done::List(question, gateway.room_heads(after, HEADS_PER_FRAME).await)
            }
            .boxed(),
        }
    }
}
