//! Following: a [`Follower`](roomlog_core::follower::Follower) per room, fed from the tail, or from the
//! archive when the tail has left it behind.
//!
//! Enters: keys of rooms that moved. Leaves: `ack` frames. Invariants: a follower is its cursor; each
//! entry above it is sent once, in order; at most one batch waits for the socket, however far behind
//! the cursor is; rooms take turns.

use roomlog_core::follower::Next;

use super::{BATCH_BYTES, Connection, reads::Job};
use crate::wire;

impl Connection {
    /// A room has moved.
    pub(super) fn moved(&mut self, key: u32) {
        let Some(link) = self.links.get(key) else { return };
        link.heard();
        let (follows, appends) = (link.follow.is_some(), link.lane.waits_for_room());
        let reads = !link.reads.is_empty();
        if follows {
            self.stand_in_line(key);
        }
        if appends {
            self.pump(key);
        }
        if reads {
            self.go_on_reading(key);
        }
    }

    /// Lets appends go that waited for the log.
    fn pump(&mut self, key: u32) {
        let Some(link) = self.links.get(key) else { return };
        let end = link.tail.head().end;
        let mut steps = Vec::new();
        link.lane.pump(end, &mut steps);
        self.take_steps(key, steps);
    }

    /// Puts a room into the line of those that have something to send.
    pub(super) fn stand_in_line(&mut self, key: u32) {
        let Some(link) = self.links.get(key) else { return };
        if !std::mem::replace(&mut link.in_line, true) {
            self.line.push_back(key);
        }
    }

    /// Fills what waits for the socket up to one batch.
    pub(super) fn fill(&mut self) {
        while self.out.bytes() < BATCH_BYTES {
            let Some(key) = self.line.pop_front() else { return };
            self.send_next(key);
        }
    }

    /// Sends a follower what comes after its cursor.
    fn send_next(&mut self, key: u32) {
        let limits = &self.gateway.config.limits;
        let Some(link) = self.links.get(key) else { return };
        link.in_line = false;
        let Some(following) = &mut link.follow else { return };
        if following.catching_up {
            // The page that is being read comes first.
            return;
        }
        match following.follower.next(BATCH_BYTES) {
            Next::Nothing => {}
            Next::Archived if self.draining.is_some() => {}
            Next::Archived => {
                following.catching_up = true;
                self.jobs.push_back(Job::CatchUp(following.question, key));
            }
            Next::Tail { pieces, more } => {
                for piece in &pieces {
                    match piece.whole() {
                        Some(commit) => self.out.extend(wire::commit_frames(commit, limits)),
                        None => {
                            let room = link.tail.room();
                            self.out.extend(&wire::acks(room, piece.entries(), limits));
                        }
                    }
                }
                if more {
                    self.stand_in_line(key);
                }
            }
        }
    }
}
