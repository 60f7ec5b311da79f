//! The segments of an archive that count, and the look-ups in all of them.

use std::sync::Arc;

use parking_lot::RwLock;
use roomlog_core::archive::{ArchiveError, IdKey};
use roomlog_protocol::{Author, EntryId, RoomName};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use super::{filter, segment::Segment};
use crate::archive::state::SegmentForm;

/// The first 8 bytes of an id's SHA-256: nobody can craft many ids with one hash.
pub(in crate::archive) fn hash(room: &RoomName, author: &Author, id: &EntryId) -> u64 {
    let mut sha = Sha256::new();
    for name in [room.as_str(), author.as_str(), id.as_str()] {
        sha.update([u8::try_from(name.len()).unwrap_or(u8::MAX)]);
        sha.update(name.as_bytes());
    }
    let mut hash = [0; 8];
    hash.copy_from_slice(&sha.finalize()[..8]);
    u64::from_be_bytes(hash)
}

/// The segments that count.
#[derive(Default)]
pub(in crate::archive) struct Ids(RwLock<Arc<Vec<Arc<Segment>>>>);

impl Ids {
    /// The segments that count now. Their rows are kept as long as the result is held.
    pub(in crate::archive) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.0.read().clone()
    }

    /// Replaces them, after a fold or a merge has committed.
    pub(in crate::archive) fn replace(&self, segments: Vec<Arc<Segment>>) {
        *self.0.write() = Arc::new(without_excess_filters(segments));
    }
}

/// The keys that no filter excludes: their indices and hashes.
pub(in crate::archive) fn suspects(segments: &[Arc<Segment>], keys: &[IdKey]) -> Vec<(usize, u64)> {
    let hashes = keys.iter().map(|IdKey { room, author, id }| hash(room, author, id));
    let may_be = |hash: &u64| segments.iter().any(|segment| segment.may_hold(*hash));
    hashes.enumerate().filter(|(_, hash)| may_be(hash)).collect()
}

/// The keys of the entries whose ids have a hash.
pub(in crate::archive) fn entries_of(
    connection: &Connection,
    segments: &[Arc<Segment>],
    hash: u64,
) -> Result<Vec<i64>, ArchiveError> {
    let mut keys = Vec::new();
    // The newest first: a repeated append mostly repeats a recent one.
    for segment in segments.iter().rev().filter(|segment| segment.may_hold(hash)) {
        keys.extend(segment.entries_of(connection, hash)?);
    }
    Ok(keys)
}

/// Opens segments, with as many filters as fit in memory.
pub(in crate::archive) fn open(
    connection: &Connection,
    forms: &[SegmentForm],
) -> Result<Vec<Arc<Segment>>, ArchiveError> {
    let sizes: Vec<u64> = forms.iter().map(|form| form.ids).collect();
    let forms = forms.iter().zip(filtered(&sizes));
    forms.map(|(form, filtered)| Segment::open(connection, *form, filtered)).collect()
}

/// The segments without the filters that do not fit in memory.
fn without_excess_filters(mut segments: Vec<Arc<Segment>>) -> Vec<Arc<Segment>> {
    let sizes: Vec<u64> = segments.iter().map(|segment| segment.form.ids).collect();
    for (segment, filtered) in segments.iter_mut().zip(filtered(&sizes)) {
        if !filtered {
            *segment = segment.without_filter();
        }
    }
    segments
}

/// Which segments, by their numbers of ids, have filters in memory: the smallest, up to the limit.
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
