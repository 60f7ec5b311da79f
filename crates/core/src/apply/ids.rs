//! The ids of entries that the archive may not have yet.
//!
//! Enters: what an append is known by, and what became of it, in the order of the log. Leaves: what is
//! known of it; the oldest go first, when the archive has them. Invariant: an id is found from when it was
//! added until as many were forgotten as were added up to it.
//!
//! What is stored of an id is a hash of 128 bits under keys of this process, and no text: to forget an id
//! is then one place in a table, and none of its texts is read, which no cache holds any more. Two ids with
//! one hash would make a repeat of what was never said; with 10^6 ids held, that is one chance in 10^32 for
//! each append, and nobody can look for one without the keys.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
};

use roomlog_protocol::{Author, EntryId, RoomName};

use crate::model::head::Known;

/// A table that grows moves all it holds, and appends wait meanwhile: one of these is moved at a time.
const SHARDS: usize = 256;

/// What an append is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdHash(u128);

impl Hash for IdHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The upper half: the lower one has chosen the shard.
        state.write_u64((self.0 >> 64) as u64);
    }
}

/// Takes a hash for what it is, and does not hash it again.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }
}

type Shard = HashMap<IdHash, Known, BuildHasherDefault<Hashed>>;

impl IdHash {
    fn shard(self) -> usize {
        (self.0 % SHARDS as u128) as usize
    }
}

/// The ids.
pub(crate) struct RecentIds {
    keys: [RandomState; 2],
    shards: Vec<Shard>,
    /// Oldest first.
    order: VecDeque<IdHash>,
}

impl RecentIds {
    pub(crate) fn new() -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { keys, shards: vec![Shard::default(); SHARDS], order: VecDeque::new() }
    }

    pub(crate) fn hash(&self, room: &RoomName, author: &Author, id: &EntryId) -> IdHash {
        let [high, low] = &self.keys;
        let whole = (room, author, id);
        IdHash(u128::from(high.hash_one(whole)) << 64 | u128::from(low.hash_one(whole)))
    }

    pub(crate) fn get(&self, id: IdHash) -> Option<&Known> {
        self.shards[id.shard()].get(&id)
    }

    /// Adds an id, which is not there.
    pub(crate) fn add(&mut self, id: IdHash, known: Known) {
        self.shards[id.shard()].insert(id, known);
        self.order.push_back(id);
    }

    /// Forgets so many, the oldest first.
    pub(crate) fn forget(&mut self, ids: usize) {
        for id in self.order.drain(..ids.min(self.order.len())) {
            self.shards[id.shard()].remove(&id);
        }
    }
}
