//! What the parts of a session work with while they handle one event: a [`Turn`], with the rooms of the
//! connection and its jobs.
//!
//! Enters: tails, and what takes a while. Leaves: rooms by key, and notice when one moves: its key comes
//! to the mailbox; jobs, done one at a time ([`Done`]). Invariants: a key is never used for two rooms at
//! once; a result whose question is no longer open is dropped, because meanwhile the client may ask
//! something else of the same room, or leave it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::HashMap as NumberMap;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_auth::{Access, TokenError};
use roomlog_core::{
    archive::ArchiveError,
    budget::{Account, Charge},
    head::Head,
    interests::CommitSink,
    mailbox::Mailbox,
    reader::{Page, PageLimits, ReadError},
    tail::{Subscription, Tail},
};
use roomlog_protocol::{
    Author, ClientUpdate, Latest, Refusal, RoomName, ServerFrame, Slot, Span,
    limits::HEADS_PER_FRAME,
};

use super::{
    direct::Sink,
    held::{Held, ROOM_BYTES, shrink},
    placement::Placement,
    socket::{BATCH_BYTES, Out, bytes_of},
};
use crate::{
    admission::pause_after,
    gateway::{Gateway, PageGrant},
    principals::Client,
};

/// What the parts of a session share while they handle an event.
pub(crate) struct Turn {
    /// The time of the event.
    pub(crate) now: Instant,
    pub(crate) gateway: Arc<Gateway>,
    /// Whose connection it is.
    pub(crate) client: Client,
    /// What it may do.
    pub(crate) access: Arc<Access>,
    pub(crate) rooms: OpenRooms,
    pub(crate) out: Out,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) held: Held,
    /// The socket, for those who deliver entries.
    pub(super) sink: Arc<Sink>,
    /// What appends, reads and followings hold, in bytes.
    pub(super) held_else: usize,
    pub(super) placement: Placement,
    /// The client sent more than it may, or was `busy`: until then the socket is not read.
    pub(super) paused_until: Option<Instant>,
}

impl Turn {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        (client, access): (Client, Arc<Access>),
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let (rooms, out, jobs) = (OpenRooms::new(mailbox), Out::default(), VecDeque::new());
        let (now, held) = (Instant::now(), Held::new(&client.memory));
        let (sink, placement) = (Arc::default(), Placement::default());
        let (held_else, paused_until) = (0, None);
        Self {
            now,
            gateway,
            client,
            access,
            rooms,
            out,
            jobs,
            held,
            sink,
            held_else,
            placement,
            paused_until,
        }
    }

    /// Charges all that the connection holds to this client from now on.
    pub(super) fn charge_to(&mut self, client: Client) {
        self.held = Held::new(&client.memory);
        self.client = client;
    }

    fn held_bytes(&self) -> usize {
        self.held_else + self.rooms.len() * ROOM_BYTES + self.out.bytes()
    }

    /// Whether the connection may hold `more` bytes besides what it holds. If so, they are charged.
    pub(crate) fn may_hold(&mut self, more: usize) -> bool {
        let needed = self.held_bytes() + more;
        self.held.may_hold(needed)
    }

    /// The same for what is not answered but tried again: soon, if it may not be held now.
    pub(super) fn may_hold_or_retry(&mut self, more: usize) -> bool {
        let may = self.may_hold(more);
        if !may {
            self.held.retry_soon(self.now);
        }
        may
    }

    /// Reads nothing from the socket for a while.
    pub(super) fn pause(&mut self, pause: Duration) {
        self.paused_until = self.paused_until.max(Some(self.now + pause));
    }

    /// Gives back what is charged and not held any more.
    pub(crate) fn settle(&mut self) {
        let needed = self.held_bytes();
        self.held.settle(needed);
    }

    /// Puts a frame behind the others: whether it may be held.
    pub(super) fn send(&mut self, frame: Bytes) -> bool {
        let may = self.may_hold(bytes_of(std::slice::from_ref(&frame)));
        if may {
            self.out.push(frame);
        }
        may
    }

    /// Puts frames for a follower behind the others, all of them or none: whether they may be held. If
    /// not, they are tried again soon.
    pub(super) fn send_all(&mut self, frames: Vec<Bytes>) -> bool {
        let may = self.may_hold_or_retry(bytes_of(&frames));
        if may {
            frames.into_iter().for_each(|frame| self.out.push(frame));
        }
        may
    }

    pub(super) fn say(&mut self, frame: &ServerFrame) {
        self.out.say(frame);
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.say(&ServerFrame::Error(refusal.into()));
    }

    /// Refuses an append, and counts that. The client may have to wait.
    pub(super) fn refuse_append(&mut self, refusal: Refusal) {
        if let Some(pause) = pause_after(&refusal) {
            self.pause(pause);
        }
        self.gateway.config.metrics.refused(refusal.code);
        self.refuse(refusal);
    }
}

struct OpenRoom {
    tail: Arc<Tail>,
    subscription: Option<Subscription>,
    /// It is known to have entries.
    is_written: bool,
    /// This connection may make the first entry.
    is_begun: bool,
}

/// The rooms that a connection deals with.
pub(crate) struct OpenRooms {
    mailbox: Arc<Mailbox>,
    keys: HashMap<RoomName, u32>,
    rooms: NumberMap<u32, OpenRoom>,
    next_key: u32,
}

impl OpenRooms {
    /// No rooms. Keys of rooms that move come to this mailbox.
    fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, keys: HashMap::new(), rooms: NumberMap::default(), next_key: 0 }
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

    /// Whether a room has entries. Its tail, which others use too, is asked until it has.
    pub(super) fn is_written(&mut self, key: u32) -> bool {
        let Some(room) = self.rooms.get_mut(&key) else { return false };
        room.is_written = room.is_written || room.tail.head().end > 0;
        room.is_written
    }

    /// Whether the connection may make the first entry of a room: it was asked whether it may.
    pub(super) fn is_begun(&self, key: u32) -> bool {
        self.rooms.get(&key).is_some_and(|room| room.is_begun)
    }

    /// See [`Self::is_begun`].
    pub(super) fn begin(&mut self, key: u32) {
        if let Some(room) = self.rooms.get_mut(&key) {
            room.is_begun = true;
        }
    }

    /// The latest slot of a room; −1 if it is empty.
    pub(crate) fn latest(&self, key: u32) -> Latest {
        Latest::before(self.end(key))
    }

    pub(crate) fn add(&mut self, tail: Arc<Tail>) -> u32 {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        self.keys.insert(tail.room().clone(), key);
        self.rooms
            .insert(key, OpenRoom { tail, subscription: None, is_written: false, is_begun: false });
        key
    }

    pub(super) fn remove(&mut self, key: u32) {
        if let Some(room) = self.rooms.remove(&key) {
            self.keys.remove(room.tail.room());
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        shrink(&mut self.keys);
        shrink(&mut self.rooms);
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
        self.shrink();
    }

    /// Asks for notice when the room moves. It may have moved before: look at its end afterwards.
    pub(crate) fn subscribe(&mut self, key: u32) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let subscribe = || room.tail.subscribe(&self.mailbox, key, None);
        room.subscription.get_or_insert_with(subscribe).ask_for_notice();
    }

    /// Asks that what is new in the room goes to `sink` from now on, or else for notice.
    pub(super) fn subscribe_sink(&mut self, key: u32, sink: Arc<dyn CommitSink>) {
        if let Some(room) = self.rooms.get_mut(&key) {
            let subscription = room.tail.subscribe(&self.mailbox, key, Some(sink));
            if room.subscription.is_some() {
                // Something may wait for the room.
                subscription.ask_for_notice();
            }
            room.subscription = Some(subscription);
        }
    }

    /// Notes that notice came. If it is still needed, the next one can come, and does if something `waits`
    /// for it; else there is none.
    pub(crate) fn moved(&mut self, key: u32, needed: bool, waits: bool) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        if !needed {
            room.subscription = None;
        } else if let Some(subscription) = &room.subscription {
            subscription.take();
            if waits {
                subscription.ask_for_notice();
            }
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
    /// Checks the token of a `login` with keys that are read again.
    Login(Option<i64>, String),
}

/// The result of a job, and what is charged for it.
pub(crate) enum Done {
    Read(Question, u32, Result<Page, ReadError>, Charge),
    CatchUp(Question, u32, Result<Page, ReadError>, Charge),
    /// With the most names that it could have.
    List(Question, Result<Vec<(RoomName, Head)>, ArchiveError>, usize, Charge),
    Login(Option<i64>, Result<(Author, Arc<Access>), TokenError>),
}

impl Job {
    /// The largest page that may be held.
    fn grant(&self, gateway: &Gateway, account: &Account) -> PageGrant {
        let most = match self {
            Self::Read(_, _, update) => match update.span {
                Span::UpTo { count, .. } => usize::try_from(count).unwrap_or(usize::MAX),
                Span::After(_) => usize::MAX,
            },
            Self::CatchUp(..) => usize::MAX,
            Self::List(..) => return PageGrant::new(account, HEADS_PER_FRAME, 0),
            Self::Login(..) => return PageGrant::new(account, 0, 0),
        };
        gateway.grant_page(account, most)
    }

    /// Begins, with the largest page that may be held.
    pub(crate) fn start(self, turn: &Turn) -> BoxFuture<'static, Done> {
        let (gateway, access) = (turn.gateway.clone(), turn.access.clone());
        let PageGrant { limits, charge, .. } = self.grant(&gateway, &turn.client.memory);
        let turns = turn.client.principal.reads.clone();
        match self {
            Self::Read(question, key, update) => async move {
                let ClientUpdate { room, span, digest, .. } = *update;
                let page = gateway.page(&turns, &room, span, digest, limits).await;
                Done::Read(question, key, page, charge)
            }
            .boxed(),
            Self::CatchUp(question, key, room, span) => async move {
                let limits = PageLimits { bytes: limits.bytes.min(BATCH_BYTES), ..limits };
                let page = gateway.page(&turns, &room, span, None, limits).await;
                Done::CatchUp(question, key, page, charge)
            }
            .boxed(),
            Self::List(question, after) => async move {
                let most = usize::try_from(limits.entries).unwrap_or(usize::MAX);
                let heads = gateway.readable_rooms(&turns, &access, after, most).await;
                Done::List(question, heads, most, charge)
            }
            .boxed(),
            Self::Login(req, token) => async move {
                let checked = match &gateway.config.tokens {
                    Some(tokens) => tokens.admit(&token).await,
                    None => Err(TokenError::UnknownKey),
                };
                Done::Login(req, checked)
            }
            .boxed(),
        }
    }
}
