//! A bucket: the ids of a segment whose hashes begin with the same bits, as the bytes of one row.
//!
//! ```text
//!  (hash u64, key of the entry i64) … sorted │ crc32 over segment, bucket and these
//! ```
//!
//! Invariant: a bucket that was changed, or is in another's place, is detected.

use bytes::{Buf, BufMut};

/// The hash of an id, and the key of its entry.
pub(in crate::archive) type IdAt = (u64, i64);

const ID_BYTES: usize = 16;

/// The fewest ids per bucket of a large segment, on average: with 128 to 256, a row is 2 to 4 KiB.
const LEAST: u64 = 128;

/// How many bits name the buckets of a segment of `ids` ids.
pub(super) fn bits(ids: u64) -> u32 {
    (ids / LEAST).checked_ilog2().unwrap_or(0)
}

pub(super) fn of(hash: u64, bits: u32) -> i64 {
    // With 0 bits the shift is by all 64, which checked_shr refuses.
    hash.checked_shr(u64::BITS - bits).unwrap_or(0).cast_signed()
}

pub(super) fn encode(segment: i64, bucket: i64, ids: &[IdAt]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ids.len() * ID_BYTES + 4);
    for (hash, key) in ids {
        bytes.put_u64(*hash);
        bytes.put_i64(*key);
    }
    bytes.put_u32(crc(segment, bucket, &bytes));
    bytes
}

/// The ids in a row; `None` if it was changed.
pub(super) fn decode(segment: i64, bucket: i64, row: &[u8]) -> Option<Vec<IdAt>> {
    let mut bytes = checked(segment, bucket, row)?;
    let mut ids = Vec::with_capacity(bytes.len() / ID_BYTES);
    while bytes.has_remaining() {
        ids.push((bytes.get_u64(), bytes.get_i64()));
    }
    Some(ids)
}

/// The keys of the entries whose ids have a hash; `None` if the row was changed.
pub(super) fn entries_of(segment: i64, bucket: i64, row: &[u8], hash: u64) -> Option<Vec<i64>> {
    let ids = checked(segment, bucket, row)?;
    let begins = hash.to_be_bytes();
    let same = ids.chunks_exact(ID_BYTES).filter(|id| id[..8] == begins);
    Some(same.map(|id| (&id[8..]).get_i64()).collect())
}

fn checked(segment: i64, bucket: i64, row: &[u8]) -> Option<&[u8]> {
    let (ids, stored) = row.split_last_chunk::<4>()?;
    let is_intact =
        ids.len() % ID_BYTES == 0 && crc(segment, bucket, ids) == u32::from_be_bytes(*stored);
    is_intact.then_some(ids)
}

fn crc(segment: i64, bucket: i64, ids: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&segment.to_be_bytes());
    crc.update(&bucket.to_be_bytes());
    crc.update(ids);
    crc.finalize()
}
