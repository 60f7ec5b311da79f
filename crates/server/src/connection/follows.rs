//! Following: a [`Follower`] per room, fed from the tail, or from the archive if the tail has left it
//! behind. WebSocket and Server-Sent Events follow through this.
//!
//! Enters: keys of rooms that moved, pages. Leaves: `ack` frames or events, jobs. Invariants: a follower
//! is a cursor; each entry above it is sent once, in order; at most one batch waits for the socket,
//! however far behind the cursor is, and it is charged before; rooms take turns.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use roomlog_core::{
    budget::Charge,
    follower::{Follower, Next, Piece},
    proposal::Stored,
    reader::{Page, ReadError},
};
use roomlog_protocol::{ErrorCode, Refusal, RoomName, ServerFrame, Slot};

use super::{
    direct::DirectFollow,
    held::FOLLOW_BYTES,
    socket::BATCH_BYTES,
    turn::{Job, Question, Turn},
};
use crate::wire;

/// How entries are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As `ack` frames of a WebSocket.
    #[default]
    Acks,
    /// As Server-Sent Events.
    Events,
}

struct Follow {
    /// The `join` that began it.
    question: Question,
    follower: Follower,
    /// A page for it is being read, or is among the jobs.
    is_catching_up: bool,
    /// It is among those that may have something to send.
    is_in_line: bool,
    /// What sends its entries directly; `None` for events.
    direct: Option<Arc<DirectFollow>>,
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.send_directly(false);
    }
}

/// The rooms that a connection follows.
#[derive(Default)]
pub(crate) struct Follows {
    format: Format,
    /// Boxed: a node of the map has room for eleven, and most connections follow one.
    rooms: BTreeMap<u32, Box<Follow>>,
    /// Keys of rooms that may have something to send.
    line: VecDeque<u32>,
}

impl Follows {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    pub(crate) fn has(&self, key: u32) -> bool {
        self.rooms.contains_key(&key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// How much memory the followings take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.rooms.len() * FOLLOW_BYTES
    }

    /// Whether something may be sent at once.
    pub(super) fn is_pending(&self) -> bool {
        !self.line.is_empty()
    }

    /// Follows a room from slot `next` on.
    pub(crate) fn begin(&mut self, turn: &mut Turn, key: u32, question: Question, next: Slot) {
        let Some(tail) = turn.rooms.tail(key) else { return };
        let follower = turn.gateway.node.follow(tail.clone(), next);
        let direct = (self.format == Format::Acks).then(|| {
            let (sink, gateway) = (turn.sink.clone(), turn.gateway.clone());
            Arc::new(DirectFollow::new(sink, gateway, follower.cursor().clone()))
        });
        match direct.clone() {
            Some(direct) => turn.rooms.subscribe_sink(key, direct),
            None => turn.rooms.subscribe(key),
        }
        let (is_catching_up, is_in_line) = (false, false);
        let follow = Follow { question, follower, is_catching_up, is_in_line, direct };
        self.rooms.insert(key, Box::new(follow));
        self.moved(key);
    }

    pub(super) fn end(&mut self, key: u32) {
        self.rooms.remove(&key);
    }

    /// Whether the following that this question began goes on.
    pub(super) fn is_open(&self, key: u32, question: Question) -> bool {
        self.rooms.get(&key).is_some_and(|follow| follow.question == question)
    }

    /// A room has moved.
    pub(crate) fn moved(&mut self, key: u32) {
        let Some(follow) = self.rooms.get_mut(&key) else { return };
        if !std::mem::replace(&mut follow.is_in_line, true) {
            self.line.push_back(key);
        }
    }

    /// Fills what waits for the socket up to one batch, as far as that may be held. `may_read` says
    /// whether a page may be asked for.
    pub(crate) fn fill(&mut self, turn: &mut Turn, may_read: bool) {
        while turn.out.bytes() < BATCH_BYTES && turn.held.retry().is_none() {
            let Some(key) = self.line.pop_front() else { return };
            if !self.send_next(turn, key, may_read) {
                // It is next again, when the socket has taken what waits or others hold less.
                self.line.push_front(key);
                return;
            }
        }
    }

    /// Sends the next batch of a room; `false` if that may not be held now.
    fn send_next(&mut self, turn: &mut Turn, key: u32, may_read: bool) -> bool {
        let Some(follow) = self.rooms.get_mut(&key) else { return true };
        follow.is_in_line = false;
        if follow.is_catching_up {
            // The page that is being read comes first.
            return true;
        }
        // Until all is sent that is there now.
        follow.send_directly(false);
        let next = follow.follower.next(BATCH_BYTES);
        match next {
            Next::Nothing => follow.send_directly(true),
            Next::Archived => follow.catch_up(turn, key, may_read),
            Next::Tail { pieces, more } => {
                let Some(tail) = turn.rooms.tail(key).cloned() else { return true };
                let frames = frames_of(self.format, turn, tail.room(), &pieces);
                if turn.send_all(frames) {
                    turn.placement.note_others(pieces.len());
                    follow.send_directly(!more);
                    if more {
                        self.moved(key);
                    }
                    return true;
                }
                let first = pieces.iter().flat_map(Piece::entries).next();
                let Some(first) = first.map(|stored| stored.entry.slot) else { return true };
                follow.follower.cursor().move_to(first);
                if !turn.out.is_empty() {
                    follow.is_in_line = true;
                    return false;
                }
                // A part of the commit may be little enough.
                follow.catch_up(turn, key, may_read);
            }
        }
        true
    }

    /// Takes the next page for a follower. If it cannot be read, the following ends, and says so: nobody
    /// may wait for ever in silence.
    pub(crate) fn page(
        &mut self,
        turn: &mut Turn,
        question: Question,
        key: u32,
        page: Result<Page, ReadError>,
        charge: Charge,
    ) {
        turn.held.absorb(charge);
        let Some(tail) = turn.rooms.tail(key) else { return };
        let room = tail.room().clone();
        let Some(follow) = self.rooms.get_mut(&key).filter(|it| it.question == question) else {
            return;
        };
        follow.is_catching_up = false;
        match page {
            Ok(page) => {
                let frames = frames_of_entries(self.format, turn, &room, &page.entries);
                if turn.send_all(frames) {
                    follow.follower.advance(&page.entries);
                }
                self.moved(key);
            }
            Err(_) => {
                self.end(key);
                turn.out.push(end_of_follow(self.format, room));
            }
        }
    }
}

impl Follow {
    fn send_directly(&self, is_open: bool) {
        self.direct.iter().for_each(|direct| direct.set_open(is_open));
    }

    /// Asks for the next page, if that may be.
    fn catch_up(&mut self, turn: &mut Turn, key: u32, may_read: bool) {
        let Some(tail) = turn.rooms.tail(key).filter(|_| may_read) else { return };
        self.is_catching_up = true;
        self.send_directly(false);
        let (question, span) = (self.question, self.follower.span());
        turn.jobs.push_back(Job::CatchUp(question, key, tail.room().clone(), span));
    }
}

fn frames_of(format: Format, turn: &Turn, room: &RoomName, pieces: &[Piece]) -> Vec<Bytes> {
    if format == Format::Events {
        return vec![wire::events(pieces.iter().flat_map(Piece::entries))];
    }
    let limits = &turn.gateway.config.limits;
    let mut frames = Vec::new();
    for piece in pieces {
        match piece.as_commit() {
            Some(commit) => frames.extend_from_slice(wire::commit_frames(commit, limits)),
            None => frames.extend(wire::acks(room, piece.entries(), limits)),
        }
    }
    frames
}

fn frames_of_entries(
    format: Format,
    turn: &Turn,
    room: &RoomName,
    entries: &[Stored],
) -> Vec<Bytes> {
    match format {
        Format::Acks => wire::acks(room, entries, &turn.gateway.config.limits),
        Format::Events => vec![wire::events(entries.iter())],
    }
}

fn end_of_follow(format: Format, room: RoomName) -> Bytes {
    match format {
        Format::Acks => {
            let message = "the next entries cannot be read; join again with `after` later";
            let refusal = Refusal::new(ErrorCode::Unavailable, message);
            let refusal = Refusal { room: Some(room), ..refusal };
            wire::server_frame(&ServerFrame::Error(refusal.into()))
        }
        Format::Events => {
            Bytes::from_static(b": the next entries cannot be read; come back later\n\n")
        }
    }
}
