//! What a connection is charged for, besides what every connection is
//! ([`crate::gateway::SocketPermit`]).
//!
//! Enters: how much it holds now, counted by those who hold it. Leaves: whether it may hold more.
//! Invariants: what is held is charged before, in steps, so that most frames cost no atomic; what
//! [`FREE_BYTES`] covers is never refused, so a connection that holds nothing else always gets on.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
    time::{Duration, Instant},
};

use roomlog_core::budget::{Account, Charge};

/// How much of what every connection is charged for is for frames, rooms and answers.
pub(super) const FREE_BYTES: usize = 12 << 10;

/// Charges grow by this many bytes, if they can.
const STEP: usize = 16 << 10;

/// When a refused charge is tried again, if nothing happens before: others give back silently.
const RETRY: Duration = Duration::from_secs(1);

/// A frame until it is answered, and its answer: names, a message, what waits for it.
pub(super) const UNANSWERED_BYTES: usize = 1 << 10;

/// A room that is open, with its tail and its names in maps.
pub(super) const ROOM_BYTES: usize = 1 << 10;

/// A following: cursor, subscription, the job that catches up.
pub(super) const FOLLOW_BYTES: usize = 1 << 10;

/// The lane and the queue of a room, here and at the sequencer.
pub(super) const LANE_BYTES: usize = 1 << 10;

/// A room that is opened, and then followed or appended to.
pub(super) const NEW_ROOM_BYTES: usize =
    ROOM_BYTES + if FOLLOW_BYTES > LANE_BYTES { FOLLOW_BYTES } else { LANE_BYTES };

/// An outcome that a numbered lane keeps.
pub(super) const OUTCOME_BYTES: usize = 384;

/// What has to be free before a frame is read.
pub(super) const FRAME_BYTES: usize = UNANSWERED_BYTES + OUTCOME_BYTES;

/// How many items a map of a connection has room for at least.
const MAP_KEPT: usize = 16;

/// Frees what a map of rooms does not need, once most of it is empty: what is charged are its items.
pub(super) fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    let needed = MAP_KEPT.max(2 * map.len());
    if map.capacity() > 2 * needed {
        map.shrink_to(needed);
    }
}

/// The charge of one connection.
pub(crate) struct Held {
    charge: Charge,
    /// Set when a charge was refused for what nobody is answered. Until then no page is read for a
    /// follower.
    retry: Option<Instant>,
}

impl Held {
    pub(super) fn new(account: &Account) -> Self {
        Self { charge: account.open(), retry: None }
    }

    /// Whether the connection may hold `needed` bytes in all. If so, they are charged.
    pub(super) fn may_hold(&mut self, needed: usize) -> bool {
        self.charge.cover(needed, FREE_BYTES, STEP)
    }

    /// Notes that what was refused is to be tried again.
    pub(super) fn retry_soon(&mut self, now: Instant) {
        self.retry.get_or_insert(now + RETRY);
    }

    /// Gives back what is charged and not `needed` any more, in steps.
    pub(super) fn settle(&mut self, needed: usize) {
        let enough = needed.saturating_sub(FREE_BYTES).next_multiple_of(STEP);
        let surplus = self.charge.bytes().saturating_sub(enough);
        if surplus > STEP || (enough == 0 && surplus > 0) {
            self.charge.shrink(surplus);
        }
    }

    /// Takes over what a page was charged with; its answer is held from now on.
    pub(super) fn absorb(&mut self, charge: Charge) {
        self.charge.absorb(charge);
    }

    /// Passes on the charge of a piece that is held elsewhere from now on.
    pub(crate) fn split(&mut self, bytes: usize) -> Charge {
        self.charge.split(bytes)
    }

    /// When a refused charge is to be tried again.
    pub(crate) fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// The socket has taken all that waited: what was refused may be held now.
    pub(super) fn note_drained(&mut self) {
        self.retry = None;
    }

    /// What was refused is tried again, if it is time.
    pub(crate) fn note_retry(&mut self, now: Instant) {
        self.retry = self.retry.filter(|at| *at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_a_thousand_rooms_gives_back_its_memory_when_they_go() {
        let mut map: HashMap<u32, [u8; 32]> = (0..1_000).map(|key| (key, [0; 32])).collect();
        for key in 0..998 {
            map.remove(&key);
            shrink(&mut map);
            // A table has room for up to twice as many as it is asked for.
            assert!(map.capacity() <= 4 * MAP_KEPT.max(2 * map.len()), "{}", map.len());
        }
        assert_eq!(map.len(), 2);
    }
}
