//! A filter over the ids of a segment, which excludes almost all ids that are not in it.
//!
//! A split block Bloom filter: 32 bytes per block; an id sets one bit in each of a block's eight
//! words. The rule and its constants are those of Apache Parquet, `BloomFilter.md`.

use std::ops::Range;

/// Bits of a filter per id: about one look-up in 700 of an absent id is not excluded, and an append
/// looks in all of some ten segments before it is answered.
const BITS_PER_ID: u64 = 16;

const WORDS: usize = 8;

const BLOCK_BYTES: usize = WORDS * 4;

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

/// The bytes of all filters in memory: enough for 67 million ids. The largest segments beyond it
/// are looked up in the file each time. A segment whose own filter would be larger has none in the
/// file either, so this is part of the format.
pub(super) const FILTER_BYTES: usize = 128 << 20;

pub(super) struct Filter(Vec<[u32; WORDS]>);

impl Filter {
    /// An empty filter for a number of ids.
    pub(super) fn new(ids: u64) -> Self {
        Self(vec![[0; WORDS]; blocks(ids)])
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let at = self.at(hash);
        for (word, bit) in self.0[at].iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    /// Whether a hash may have been inserted.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.0[self.at(hash)].iter().zip(bits(hash)).all(|(word, bit)| word & bit != 0)
    }

    /// Some of its stored bytes, in blocks of 32; fewer at its end.
    pub(super) fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        let block = |at: usize| (at / BLOCK_BYTES).min(self.0.len());
        let blocks = &self.0[block(range.start)..block(range.end)];
        blocks.iter().flatten().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The stored filter for a number of ids; `None` if the length of the bytes is wrong.
    pub(super) fn read(ids: u64, bytes: &[u8]) -> Option<Self> {
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
        // The upper half chooses the block, the lower half the bits.
        let at = ((hash >> 32) * self.0.len() as u64) >> 32;
        usize::try_from(at).unwrap_or_default()
    }
}

pub(super) fn fits(ids: u64) -> bool {
    size(ids) <= FILTER_BYTES
}

/// The bytes of a filter for `ids` ids.
pub(super) fn size(ids: u64) -> usize {
    blocks(ids) * BLOCK_BYTES
}

fn blocks(ids: u64) -> usize {
    let blocks = (ids * BITS_PER_ID).div_ceil(256).max(1);
    usize::try_from(blocks).unwrap_or(usize::MAX)
}

fn bits(hash: u64) -> impl Iterator<Item = u32> {
    let low = hash as u32;
    SALT.into_iter().map(move |salt| 1 << (low.wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudorandom hashes (SplitMix64).
    fn hashes(seed: u64) -> impl Iterator<Item = u64> {
        (seed..).map(|n| {
            let mut hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            hash ^ (hash >> 31)
        })
    }

    #[test]
    fn it_holds_every_inserted_hash_and_few_others() {
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
        let most = (FILTER_BYTES as u64 * 8) / BITS_PER_ID;
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
