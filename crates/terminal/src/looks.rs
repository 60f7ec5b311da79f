//! Who wrote what came into rooms that are not open: one's own lines are not unread.
//!
//! Enters: rooms that moved, what was read of them. Leaves: asks for their newest entries. Invariant: one room
//! is looked at at a time, and what was read in another log than the server's is not used.

use roomlog_client::{
    ClientError,
    protocol::{Reply, RoomName, Span},
};

use crate::{app::App, link::Ask};

impl App {
    /// Looks who wrote what came into a room that is not open.
    pub(crate) fn look(&mut self) {
        if self.is_looking {
            return;
        }
        if let Some((room, count, upto)) = self.rooms.next_look() {
            self.is_looking = true;
            let span = Span::UpTo { count, upto: Some(upto) };
            self.asks.push(Ask::Look(self.rooms.log().to_owned(), room, span));
        }
    }

    pub(crate) fn looked(&mut self, log: &str, room: &RoomName, page: Result<Reply, ClientError>) {
        self.is_looking = false;
        if log == self.rooms.log() {
            self.rooms.looked(room, page.as_ref().ok(), &self.me);
        }
        self.look();
    }
}
