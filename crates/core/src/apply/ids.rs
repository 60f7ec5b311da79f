//! The ids of entries that the archive may not have yet.
//!
//! Enters: ids with the slot, time and content of their entries, in log order. Leaves: lookups; the
//! oldest ids are evicted once the archive has them. Invariant: an id is found from when it is
//! added until as many were evicted as were added up to it.
//!
//! Only a 128-bit hash of an id is kept, under keys of this process, so that an eviction touches
//! one table slot and none of the texts, which are no longer in any cache. Two ids with equal
//! hashes would make a false repeat; with 10^6 ids held, the probability is 10^-32 per append, and
//! nobody can search for one without the keys.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
};

use siphasher::sip128::{Hasher128, SipHasher13};

use roomlog_protocol::{Author, EntryId, RoomName};

use crate::model::head::Known;

/// A growing table moves all its items while appends wait: sharding limits that to one shard at a
/// time.
const SHARDS: usize = 256;

/// The hash of (room, author, id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdHash(u128);

impl Hash for IdHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The upper half: the lower half chose the shard.
        state.write_u64((self.0 >> 64) as u64);
    }
}

/// A hasher for keys that are already hashes.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }
}

type Shard = HashMap<IdHash, Known, BuildHasherDefault<IdentityHasher>>;

impl IdHash {
    fn shard(self) -> usize {
        (self.0 % SHARDS as u128) as usize
    }
}

pub(crate) struct RecentIds {
    hasher: SipHasher13,
    shards: Vec<Shard>,
    /// Oldest first.
    order: VecDeque<IdHash>,
}

impl RecentIds {
    pub(crate) fn new() -> Self {
        let [high, low] = [RandomState::new(), RandomState::new()].map(|state| state.hash_one(0));
        let hasher = SipHasher13::new_with_keys(high, low);
        Self { hasher, shards: vec![Shard::default(); SHARDS], order: VecDeque::new() }
    }

    pub(crate) fn hash(&self, room: &RoomName, author: &Author, id: &EntryId) -> IdHash {
        let mut hasher = self.hasher;
        (room, author, id).hash(&mut hasher);
        IdHash(hasher.finish128().as_u128())
    }

    pub(crate) fn get(&self, id: IdHash) -> Option<&Known> {
        self.shards[id.shard()].get(&id)
    }

    /// Adds an id, which must be new.
    pub(crate) fn add(&mut self, id: IdHash, known: Known) {
        self.shards[id.shard()].insert(id, known);
        self.order.push_back(id);
    }

    /// Notes that the entry of an id is redacted, if it is there.
    pub(crate) fn redact(&mut self, id: IdHash) {
        if let Some(known) = self.shards[id.shard()].get_mut(&id) {
            known.original = known.original.redacted();
        }
    }

    /// Evicts the oldest `ids`.
    pub(crate) fn evict(&mut self, ids: usize) {
        for id in self.order.drain(..ids.min(self.order.len())) {
            self.shards[id.shard()].remove(&id);
        }
    }
}
