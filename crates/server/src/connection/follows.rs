//! Following: a [`Follower`] per room, fed from the tail, or from the archive if the tail has left it
//! behind. WebSocket and Server-Sent Events follow through this.
//!
//! Enters: keys of rooms that moved, pages. Leaves: `ack` frames or events, jobs. Invariants: a follower
//! is a cursor; each entry above it is sent once, in order; at most one batch waits for the socket,
//! however far behind the cursor is; rooms take turns.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use roomlog_core::{
    follower::{Follower, Next, Piece},
    proposal::Stored,
    reader::{Page, ReadError},
};
use roomlog_protocol::{ErrorCode, Refusal, RoomName, ServerFrame, Slot};

use super::{
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

    /// Whether something may be sent at once.
    pub(super) fn is_pending(&self) -> bool {
        !self.line.is_empty()
    }

    /// Follows a room from slot `next` on.
    pub(crate) fn begin(&mut self, turn: &mut Turn, key: u32, question: Question, next: Slot) {
        let Some(tail) = turn.rooms.tail(key) else { return };
        let follower = turn.gateway.node.follow(tail.clone(), next);
        let follow = Follow { question, follower, is_catching_up: false, is_in_line: false };
        self.rooms.insert(key, Box::new(follow));
        turn.rooms.subscribe(key);
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

    /// Fills what waits for the socket up to one batch. `may_read` says whether a page may be asked for.
    pub(crate) fn fill(&mut self, turn: &mut Turn, may_read: bool) {
        while turn.out.bytes() < BATCH_BYTES {
            let Some(key) = self.line.pop_front() else { return };
            self.send_next(turn, key, may_read);
        }
    }

    fn send_next(&mut self, turn: &mut Turn, key: u32, may_read: bool) {
        let Some(follow) = self.rooms.get_mut(&key) else { return };
        follow.is_in_line = false;
        if follow.is_catching_up {
            // The page that is being read comes first.
            return;
        }
        match follow.follower.next(BATCH_BYTES) {
            Next::Nothing => {}
            Next::Archived if !may_read => {}
            Next::Archived => {
                let Some(tail) = turn.rooms.tail(key) else { return };
                follow.is_catching_up = true;
                let (question, span) = (follow.question, follow.follower.span());
                turn.jobs.push_back(Job::CatchUp(question, key, tail.room().clone(), span));
            }
            Next::Tail { pieces, more } => {
                send_pieces(self.format, turn, key, &pieces);
                if more {
                    self.moved(key);
                }
            }
        }
    }

    /// Takes the next page for a follower. If it cannot be read, the following ends, and says so: nobody
    /// may wait for ever in silence.
    pub(crate) fn page(
        &mut self,
        turn: &mut Turn,
        question: Question,
        key: u32,
        page: Result<Page, ReadError>,
    ) {
        let Some(tail) = turn.rooms.tail(key) else { return };
        let room = tail.room().clone();
        let Some(follow) = self.rooms.get_mut(&key).filter(|it| it.question == question) else {
            return;
        };
        follow.is_catching_up = false;
        match page {
            Ok(page) => {
                follow.follower.advance(&page.entries);
                send_entries(self.format, turn, &room, &page.entries);
                self.moved(key);
            }
            Err(_) => {
                self.end(key);
                turn.out.push(end_of_follow(self.format, room));
            }
        }
    }
}

fn send_pieces(format: Format, turn: &mut Turn, key: u32, pieces: &[Piece]) {
    if format == Format::Events {
        return turn.out.push(wire::events(pieces.iter().flat_map(Piece::entries)));
    }
    let limits = &turn.gateway.config.limits;
    for piece in pieces {
        match piece.as_commit() {
            Some(commit) => turn.out.extend(wire::commit_frames(commit, limits)),
            None => {
                let Some(tail) = turn.rooms.tail(key) else { return };
                turn.out.extend(&wire::acks(tail.room(), piece.entries(), limits));
            }
        }
    }
}

fn send_entries(format: Format, turn: &mut Turn, room: &RoomName, entries: &[Stored]) {
    match format {
        Format::Acks => turn.out.extend(&wire::acks(room, entries, &turn.gateway.config.limits)),
        Format::Events => turn.out.push(wire::events(entries.iter())),
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
