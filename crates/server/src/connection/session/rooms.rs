//! The rooms of a session: opened when a frame names one, and released when nothing needs it.
//!
//! Enters: names. Leaves: keys, or why a room may not be opened. Invariant: a room is held while it is
//! followed, read or appended to, and only one with entries a while longer, for the next append.

use roomlog_protocol::{Refusal, RoomName};

use super::{
    super::{
        held::NEW_ROOM_BYTES,
        reads::Asked,
        turn::{Question, Turn},
    },
    Session,
};
use crate::gateway::holds_too_much;

impl Session {
    pub(super) fn ask(&mut self, key: u32, asked: Asked) {
        let question = self.new_question();
        self.reads.ask(&mut self.turn, &mut self.follows, key, question, asked);
        self.release(key);
    }

    pub(super) fn new_question(&mut self) -> Question {
        self.questions += 1;
        Question(self.questions)
    }

    /// The key of a room, which is opened if it is not yet.
    pub(super) fn open(&mut self, room: &RoomName) -> Result<u32, Refusal> {
        let Turn { gateway, rooms, .. } = &self.turn;
        if let Some(key) = rooms.key(room) {
            return Ok(key);
        }
        let named = |refusal| Refusal { room: Some(room.clone()), ..refusal };
        let is_full = rooms.len() >= gateway.config.limits.rooms_per_connection;
        if is_full || !self.turn.may_hold(NEW_ROOM_BYTES) {
            self.evict_rooms_at_rest();
        }
        if !self.turn.may_hold(NEW_ROOM_BYTES) {
            return Err(named(holds_too_much()));
        }
        let tail = self.turn.gateway.tail(room).map_err(named)?;
        Ok(self.turn.rooms.add(tail))
    }

    /// Whether a room counts towards `rooms_per_connection`.
    pub(super) fn counts(&self, key: u32) -> bool {
        self.follows.has(key) || self.appends.is_numbered(key) || self.reads.has_join(key)
    }

    /// Whether `rooms_per_connection` is reached.
    pub(super) fn is_full(&self) -> bool {
        let most = self.turn.gateway.config.limits.rooms_per_connection;
        // Most connections have fewer rooms: then none is looked at, for each one that is new.
        self.turn.rooms.len() >= most
            && self.turn.rooms.keys().into_iter().filter(|key| self.counts(*key)).count() >= most
    }

    /// Releases a room that is neither followed nor waited for.
    pub(super) fn release(&mut self, key: u32) {
        let Self { turn, appends, reads, follows, .. } = self;
        if !follows.has(key) && !reads.has(key) && appends.is_at_rest(key) {
            turn.rooms.remove(key);
            appends.remove(key);
        }
    }

    /// Releases such a room after an append, unless it has entries: then the next append is likely to
    /// go there too.
    pub(super) fn release_unless_written(&mut self, key: Option<u32>) {
        if let Some(key) = key.filter(|key| !self.turn.rooms.is_written(*key)) {
            self.release(key);
        }
    }

    pub(super) fn evict_rooms_at_rest(&mut self) {
        let Self { turn, appends, reads, follows, .. } = self;
        turn.rooms.retain(|key| follows.has(key) || reads.has(key) || !appends.is_at_rest(key));
        appends.retain(|key| turn.rooms.tail(key).is_some());
        self.count_held();
    }
}
