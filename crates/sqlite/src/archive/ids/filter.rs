//! A filter over the ids of a segment: says "not here" for almost all that are not.
//!
//! Enters: hashes. Leaves: whether one may be there. Invariant: what was put in is never denied; a
//! part that was changed on the disk is not read. A split block Bloom filter: 32 bytes a block, eight
//! bits an id, one of each of its eight words. The rule and its constants are those of Apache Parquet,
//! `BloomFilter.md`.

use std::ops::Range;

/// Bits of a filter for each id: about one look-up in 700 of an id that is not there goes on, and an
/// append looks in all of some ten segments before it is answered.
const BITS_AN_ID: u64 = 16;

const WORDS: usize = 8;

/// The bytes of a block.
const BLOCK: usize = WORDS * 4;

const SALT: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// How much memory filters may take, in bytes: enough for 67 million ids. Segments beyond it, the
/// largest first, are looked up in the file each time. One whose own filter would be larger has none in
/// the file either, so this is part of the format.
pub(super) const FILTER_BYTES: usize = 128 << 20;

/// A filter over the ids of a segment.
pub(in crate::archive) struct Filter(Vec<[u32; WORDS]>);

impl Filter {
    /// An empty filter for so many ids.
    pub(in crate::archive) fn new(ids: u64) -> Self {
        Self(vec![[0; WORDS]; blocks(ids)])
    }

    /// Puts a hash in.
    pub(in crate::archive) fn insert(&mut self, hash: u64) {
        let at = self.at(hash);
        for (word, bit) in self.0[at].iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    /// Whether a hash may have been put in.
    pub(in crate::archive) fn may_hold(&self, hash: u64) -> bool {
        self.0[self.at(hash)].iter().zip(bits(hash)).all(|(word, bit)| word & bit != 0)
    }

    /// Some of its bytes, as they are stored: whole blocks of 32, and as many as there are.
    pub(super) fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        let block = |at: usize| (at / BLOCK).min(self.0.len());
        let blocks = &self.0[block(range.start)..block(range.end)];
        blocks.iter().flatten().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The filter for so many ids that these bytes are; `None` when they are too many or too few.
    pub(in crate::archive) fn read(ids: u64, bytes: &[u8]) -> Option<Self> {
        let mut filter = Self::new(ids);
        if bytes.len() != size(ids) {
            return None;
        }
        for (word, bytes) in filter.0.iter_mut().flatten().zip(bytes.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().ok()?);
        }
        Some(filter)
    }

    fn at(&self, hash: u64) -> usize {
        // The upper half, spread over the blocks; the lower half makes the bits.
        let at = ((hash >> 32) * self.0.len() as u64) >> 32;
        usize::try_from(at).unwrap_or_default()
    }
}

/// Whether a segment of so many ids has a filter.
pub(super) fn fits(ids: u64) -> bool {
    size(ids) <= FILTER_BYTES
}

/// The bytes of a filter for so many ids.
pub(in crate::archive) fn size(ids: u64) -> usize {
    blocks(ids) * BLOCK
}

fn blocks(ids: u64) -> usize {
    let blocks = (ids * BITS_AN_ID).div_ceil(256).max(1);
    usize::try_from(blocks).unwrap_or(usize::MAX)
}

fn bits(hash: u64) -> impl Iterator<Item = u32> {
    let low = hash as u32;
    SALT.into_iter().map(move |salt| 1 << (low.wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as good as those of ids: the steps of a generator (SplitMix64).
    fn hashes(seed: u64) -> impl Iterator<Item = u64> {
        (seed..).map(|n| {
            let mut hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            hash ^ (hash >> 31)
        })
    }

    #[test]
    fn what_was_put_in_is_held_and_little_else() {
        for ids in [1, 100, 60_000] {
            let mut filter = Filter::new(ids);
            hashes(0).take(ids as usize).for_each(|hash| filter.insert(hash));
            let parts = (0..=size(ids) / 96).map(|part| filter.bytes(part * 96..part * 96 + 96));
            let stored = parts.collect::<Vec<_>>().concat();
            let filter = Filter::read(ids, &stored).expect("its bytes");
            assert!(hashes(0).take(ids as usize).all(|hash| filter.may_hold(hash)));
            let others = hashes(1 << 40).take(10_000);
            let held = others.filter(|hash| filter.may_hold(*hash)).count();
            assert!(held < 40, "{held} of 10,000 others with {ids} ids");
        }
    }

    #[test]
    fn a_segment_has_a_filter_up_to_the_bound() {
        let most = (FILTER_BYTES as u64 * 8) / BITS_AN_ID;
        assert_eq!(size(most), FILTER_BYTES);
        assert!(fits(most) && !fits(most + 26));
    }

    #[test]
    fn bytes_of_another_length_are_no_filter() {
        assert!(Filter::read(100, &vec![0; size(100)]).is_some());
        assert!(Filter::read(100, &vec![0; size(100) - 1]).is_none());
        assert!(Filter::read(100, &vec![0; size(100) + 32]).is_none());
    }
}
