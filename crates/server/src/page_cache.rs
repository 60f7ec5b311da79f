//! A cache of encoded pages: the newest of each room, which everyone who enters it reads.
//!
//! Enters: a page's text, with the requested count and the end of the log. Leaves: the same text,
//! for the same count while the log has not grown. Invariants: a text is never served for another
//! end; the cache takes at most [`CACHE_BYTES`], or less if it is given less.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use roomlog_protocol::{RoomName, Slot};

/// The most memory of the cache, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// What an item takes besides its text: an estimate for the name and the map.
const OVERHEAD: usize = 256;

/// The newest pages of rooms.
pub(crate) struct PageCache(Mutex<Generations>);

/// Two generations: a page that was not read while the young one filled is evicted with the old
/// one.
#[derive(Default)]
struct Generations {
    /// The most that each takes.
    most: usize,
    young: HashMap<RoomName, CachedPage>,
    old: HashMap<RoomName, CachedPage>,
    /// The size of the young one.
    bytes: usize,
}

#[derive(Clone)]
struct CachedPage {
    count: u64,
    end: Slot,
    text: Bytes,
}

impl PageCache {
    /// An empty cache of at most `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let most = bytes.min(CACHE_BYTES) / 2;
        Self(Mutex::new(Generations { most, ..Generations::default() }))
    }

    /// The page of `count` entries of a log that ends at `end`.
    pub(crate) fn get(&self, room: &RoomName, count: u64, end: Slot) -> Option<Bytes> {
        let mut generations = self.0.lock();
        let matches = |page: &&CachedPage| (page.count, page.end) == (count, end);
        if let Some(page) = generations.young.get(room).filter(matches) {
            return Some(page.text.clone());
        }
        let page = generations.old.get(room).filter(matches)?.clone();
        generations.put(room, page.clone());
        Some(page.text)
    }

    pub(crate) fn put(&self, room: &RoomName, count: u64, end: Slot, text: Bytes) {
        self.0.lock().put(room, CachedPage { count, end, text });
    }
}

impl Generations {
    fn put(&mut self, room: &RoomName, page: CachedPage) {
        let size_of = |page: &CachedPage| page.text.len() + OVERHEAD;
        let size = size_of(&page);
        if size > self.most {
            return;
        }
        if self.bytes + size > self.most {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += size;
        if let Some(previous) = self.young.insert(room.clone(), page) {
            self.bytes -= size_of(&previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: usize) -> RoomName {
        RoomName::new(&format!("room-{n}")).expect("a name")
    }

    #[test]
    fn a_page_is_served_for_the_same_count_and_end_only() {
        let (cache, room, other) = (PageCache::new(usize::MAX), room(1), room(2));
        cache.put(&room, 50, 7, "seven".into());
        assert_eq!(cache.get(&room, 50, 7), Some("seven".into()));
        assert_eq!(cache.get(&room, 50, 8), None);
        assert_eq!(cache.get(&room, 49, 7), None);
        assert_eq!(cache.get(&other, 50, 7), None);
        cache.put(&room, 50, 8, "eight".into());
        assert_eq!(cache.get(&room, 50, 8), Some("eight".into()));
        assert_eq!(cache.get(&room, 50, 7), None);
    }

    #[test]
    fn a_page_that_is_read_stays_and_the_cache_is_bounded() {
        let cache = PageCache::new(usize::MAX);
        let text = Bytes::from(vec![0; 100_000 - OVERHEAD]);
        for n in 0..1_000 {
            cache.put(&room(n), 50, 1, text.clone());
            assert!(cache.get(&room(0), 50, 1).is_some(), "read each time: {n}");
            let generations = cache.0.lock();
            let held = generations.young.len() + generations.old.len();
            assert!(held * 100_000 <= CACHE_BYTES, "{held} texts");
            let young: usize = generations.young.values().map(|it| it.text.len() + OVERHEAD).sum();
            assert_eq!(young, generations.bytes);
        }
        assert!(cache.get(&room(1), 50, 1).is_none());
        assert!(cache.get(&room(999), 50, 1).is_some());
        cache.put(&room(1), 50, 1, Bytes::from(vec![0; CACHE_BYTES / 2]));
        assert!(cache.get(&room(1), 50, 1).is_none(), "larger than a generation");
    }
}
