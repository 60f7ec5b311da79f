//! The ids: which entry has the id of an append, for ever.
//!
//! ```text
//!  a fold's ids ──sorted by hash──► a segment: 2^bits buckets, and a filter over all of it
//!  find ──► filter of each segment: "not here", almost always ──► its bucket ──► the entry
//!  small segments ──merged, a few thousand ids at each fold──► a large one
//! ```
//!
//! Enters: (hash of room, author and id; key of the entry). Leaves: the keys of a hash, which the
//! caller verifies against the entries. Invariants: a segment never changes; those that count are in
//! the archive's state; a bucket that was changed is not read, and one that is not there is damage.

mod bucket;
mod filter;
mod merge;
mod segment;

use std::sync::Arc;

use parking_lot::RwLock;
use roomlog_core::archive::{ArchiveError, IdKey};
use roomlog_protocol::{Author, EntryId, RoomName};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

pub(super) use self::{
    bucket::IdAt,
    merge::Upkeep,
    segment::{Build, Segment},
};
use super::state::SegmentForm;

/// How many bits of a part's key are the part: the others are the segment's number.
const PART_BITS: u32 = 32;

/// The key of a segment's bucket or part of a filter.
pub(super) fn part_key(segment: i64, part: i64) -> i64 {
    segment << PART_BITS | part
}

/// The segment that a part's key is of.
fn segment_of(key: i64) -> i64 {
    key >> PART_BITS
}

/// The hash of an append's name: the first 8 bytes of SHA-256, so that nobody can make many that are
/// alike.
pub(super) fn hash(room: &RoomName, author: &Author, id: &EntryId) -> u64 {
    let mut sha = Sha256::new();
    for name in [room.as_str(), author.as_str(), id.as_str()] {
        sha.update([u8::try_from(name.len()).unwrap_or(u8::MAX)]);
        sha.update(name.as_bytes());
    }
    let mut hash = [0; 8];
    hash.copy_from_slice(&sha.finalize()[..8]);
    u64::from_be_bytes(hash)
}

/// The segments that count, as those who look up see them.
#[derive(Default)]
pub(super) struct Ids(RwLock<Arc<Vec<Arc<Segment>>>>);

impl Ids {
    /// The segments that count now. Their buckets stay as long as this is held.
    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.0.read().clone()
    }

    /// Others count from now on: what a fold or a merge has committed.
    pub(super) fn replace(&self, segments: Vec<Arc<Segment>>) {
        *self.0.write() = Arc::new(within_bounds(segments));
    }
}

/// Those of the keys whose filter does not say "not here": their places, their hashes.
pub(super) fn suspects(segments: &[Arc<Segment>], keys: &[IdKey]) -> Vec<(usize, u64)> {
    let hashes = keys.iter().map(|IdKey { room, author, id }| hash(room, author, id));
    let may_be = |hash: &u64| segments.iter().any(|segment| segment.may_hold(*hash));
    hashes.enumerate().filter(|(_, hash)| may_be(hash)).collect()
}

/// The keys of the entries that have a hash, as far as these segments know.
pub(super) fn entries_of(
    connection: &Connection,
    segments: &[Arc<Segment>],
    hash: u64,
) -> Result<Vec<i64>, ArchiveError> {
    let mut keys = Vec::new();
    // The newest first: what is sent again was sent not long ago.
    for segment in segments.iter().rev().filter(|segment| segment.may_hold(hash)) {
        keys.extend(segment.entries_of(connection, hash)?);
    }
    Ok(keys)
}

/// Opens the segments that the state names, with as many filters as may be in memory.
pub(super) fn open(
    connection: &Connection,
    forms: &[SegmentForm],
) -> Result<Vec<Arc<Segment>>, ArchiveError> {
    let sizes: Vec<u64> = forms.iter().map(|form| form.ids).collect();
    let open = |(form, filtered): (&SegmentForm, bool)| {
        let segment = Segment::open(*form);
        let segment = if filtered { segment.with_filter(connection)? } else { segment };
        Ok(Arc::new(segment))
    };
    forms.iter().zip(filtered(&sizes)).map(open).collect()
}

/// The same segments, without the filters that are beyond their share of memory.
fn within_bounds(mut segments: Vec<Arc<Segment>>) -> Vec<Arc<Segment>> {
    let sizes: Vec<u64> = segments.iter().map(|segment| segment.ids()).collect();
    for (segment, filtered) in segments.iter_mut().zip(filtered(&sizes)) {
        if !filtered {
            *segment = segment.without_filter();
        }
    }
    segments
}

/// Which of segments of so many ids have their filters in memory: the smallest, up to the bound.
fn filtered(sizes: &[u64]) -> Vec<bool> {
    let mut by_size: Vec<usize> = (0..sizes.len()).collect();
    by_size.sort_by_key(|at| sizes[*at]);
    let (mut filtered, mut sum) = (vec![false; sizes.len()], 0);
    for at in by_size {
        sum += filter::size(sizes[at]);
        filtered[at] = sum <= filter::FILTER_BYTES;
    }
    filtered
}

#[cfg(test)]
mod tests {
    use super::filtered;

    #[test]
    fn the_largest_segments_are_the_ones_without_a_filter() {
        let million = |ids: &[u64]| filtered(&ids.iter().map(|it| it << 20).collect::<Vec<_>>());
        assert_eq!(million(&[]), [] as [bool; 0]);
        assert_eq!(million(&[50, 10, 1]), [true, true, true]);
        assert_eq!(million(&[60, 10, 1]), [false, true, true]);
        assert_eq!(million(&[10, 60, 1, 30]), [true, false, true, true]);
        assert_eq!(million(&[70]), [false]);
    }
}
