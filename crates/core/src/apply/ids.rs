//! The ids of entries that the archive may not have yet.
//!
//! Enters: ids with the slot, time and content of their entries, in log order. Leaves: lookups; the
//! oldest ids are evicted once the archive has them. Invariant: an id is found from when it is
//! added until as many were evicted as were added up to it.
//!
//! Only a 128-bit hash of an id is kept, under keys of this process, so that an eviction touches none of
//! the texts, which are no longer in any cache. Two ids with equal hashes would make a false repeat; with
//! 10^6 ids held, the probability is 10^-32 per append, and nobody can search for one without the keys.
//! The tables hold 8 bytes per id, so that they stay in a cache themselves: an append looks in one, and
//! an eviction in another. What is known of an id is in a queue, which is written and read in order.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hash, RandomState},
};

use hashbrown::HashTable;
use roomlog_protocol::{Author, EntryId, RoomName};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::model::head::Known;

/// A growing table moves all its items while appends wait: sharding limits that to one shard at a
/// time.
const SHARDS: usize = 256;

/// The hash of (room, author, id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdHash(u128);

impl IdHash {
    fn shard(self) -> usize {
        (self.0 % SHARDS as u128) as usize
    }

    /// What a table keeps of it: none of the bits that choose the shard.
    fn part(self) -> u32 {
        (self.0 >> 64) as u32
    }
}

/// An id in a table.
struct Place {
    part: u32,
    /// The number of the id, of which these bits are enough: fewer ids are held.
    number: u32,
}

/// The hash of an item of a table: all that is known of it there, spread over 64 bits.
fn spread(part: u32) -> u64 {
    u64::from(part).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(crate) struct RecentIds {
    hasher: SipHasher13,
    shards: Vec<HashTable<Place>>,
    /// Oldest first.
    known: VecDeque<(IdHash, Known)>,
    /// The number of the oldest: how many were evicted.
    evicted: u32,
}

impl RecentIds {
    pub(crate) fn new() -> Self {
        let [high, low] = [RandomState::new(), RandomState::new()].map(|state| state.hash_one(0));
        let hasher = SipHasher13::new_with_keys(high, low);
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { hasher, shards, known: VecDeque::new(), evicted: 0 }
    }

    pub(crate) fn hash(&self, room: &RoomName, author: &Author, id: &EntryId) -> IdHash {
        let mut hasher = self.hasher;
        (room, author, id).hash(&mut hasher);
        IdHash(hasher.finish128().as_u128())
    }

    /// Where an id is in the queue.
    fn index(&self, id: IdHash) -> Option<usize> {
        let index = |place: &Place| place.number.wrapping_sub(self.evicted) as usize;
        let is_it = |place: &Place| {
            place.part == id.part() && self.known.get(index(place)).is_some_and(|(it, _)| *it == id)
        };
        self.shards[id.shard()].find(spread(id.part()), is_it).map(index)
    }

    pub(crate) fn get(&self, id: IdHash) -> Option<&Known> {
        self.known.get(self.index(id)?).map(|(_, known)| known)
    }

    /// Adds an id, which must be new.
    pub(crate) fn add(&mut self, id: IdHash, known: Known) {
        // The number of ids fits: each takes more than a hundred bytes of a budget.
        let number = self.evicted.wrapping_add(self.known.len() as u32);
        let place = Place { part: id.part(), number };
        self.shards[id.shard()].insert_unique(spread(id.part()), place, |it| spread(it.part));
        self.known.push_back((id, known));
    }

    /// Notes that the entry of an id is redacted, if it is there.
    pub(crate) fn redact(&mut self, id: IdHash) {
        let index = self.index(id);
        if let Some((_, known)) = index.and_then(|index| self.known.get_mut(index)) {
            known.original = known.original.redacted();
        }
    }

    /// Evicts the oldest `ids`.
    pub(crate) fn evict(&mut self, ids: usize) {
        for (id, _) in self.known.drain(..ids.min(self.known.len())) {
            let number = self.evicted;
            let shard = &mut self.shards[id.shard()];
            if let Ok(it) = shard.find_entry(spread(id.part()), |it| it.number == number) {
                it.remove();
            }
            self.evicted = number.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{proposal, room},
        model::proposal::Original,
    };

    #[test]
    fn two_ids_that_a_table_cannot_tell_apart_are_told_apart() {
        let mut ids = RecentIds::new();
        let [one, two] = [1 << 10, 1 << 11].map(IdHash);
        assert_eq!((one.shard(), one.part()), (two.shard(), two.part()));
        let original = Original::of_proposal(&proposal("general", "ada", "a", "b"));
        let known = |slot| Known { slot, committed_at: 0, original };
        ids.add(one, known(1));
        assert!(ids.get(two).is_none());
        ids.add(two, known(2));
        assert_eq!([one, two].map(|id| ids.get(id).map(|known| known.slot)), [Some(1), Some(2)]);
        ids.evict(1);
        assert_eq!([one, two].map(|id| ids.get(id).map(|known| known.slot)), [None, Some(2)]);
    }

    #[test]
    fn an_id_is_known_until_it_is_evicted_however_many_came_before() {
        let (mut ids, room) = (RecentIds::new(), room("general"));
        // The numbers wrap meanwhile.
        ids.evicted = u32::MAX - 10_000;
        let original = Original::of_proposal(&proposal("general", "ada", "a", "b"));
        let hash_of = |ids: &RecentIds, n: u64| {
            let (author, id) = ("ada".parse().expect("an author"), format!("id-{n}"));
            ids.hash(&room, &author, &id.parse().expect("an id"))
        };
        for n in 0..50_000 {
            let id = hash_of(&ids, n);
            assert!(ids.get(id).is_none());
            ids.add(id, Known { slot: n, committed_at: n, original });
            if n >= 1_000 {
                ids.evict(1);
            }
        }
        ids.redact(hash_of(&ids, 49_500));
        for n in (0..50_000).step_by(7) {
            let known = ids.get(hash_of(&ids, n)).map(|known| (known.slot, known.original));
            let original = if n == 49_500 { original.redacted() } else { original };
            assert_eq!(known, (n >= 49_000).then_some((n, original)), "{n}");
        }
        ids.evict(usize::MAX);
        assert!(ids.shards.iter().all(HashTable::is_empty));
    }
}
