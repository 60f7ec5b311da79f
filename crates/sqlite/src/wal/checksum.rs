//! The checksum of SQLite's WAL, and whether one flipped bit explains a wrong one.
//!
//! The checksum only adds 32-bit words, so the effect of one flipped bit on it is known without
//! computing the sum once per bit.

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checksum(u32, u32);

/// The byte order of the words that are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn word(self, bytes: &[u8]) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(bytes);
        match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        }
    }

    fn pair(self, bytes: &[u8]) -> (u32, u32) {
        (self.word(&bytes[..4]), self.word(&bytes[4..]))
    }
}

impl Checksum {
    /// A stored sum, eight bytes.
    pub(super) fn stored(bytes: &[u8]) -> Self {
        let (first, second) = ByteOrder::Big.pair(bytes);
        Self(first, second)
    }

    /// The sum after `bytes`, whose length is a multiple of eight.
    pub(super) fn after(self, order: ByteOrder, bytes: &[u8]) -> Self {
        bytes.chunks_exact(8).fold(self, |Self(first, second), pair| {
            let words = order.pair(pair);
            let first = first.wrapping_add(words.0).wrapping_add(second);
            Self(first, second.wrapping_add(words.1).wrapping_add(first))
        })
    }
}

/// Whether one flipped bit, of `parts` or of `stored`, explains that the sum of `parts` is
/// `computed` and not `stored`.
pub(super) fn is_one_bit_off(
    order: ByteOrder,
    parts: [&[u8]; 2],
    computed: Checksum,
    stored: Checksum,
) -> bool {
    if (computed.0 ^ stored.0).count_ones() + (computed.1 ^ stored.1).count_ones() == 1 {
        return true;
    }
    let missing = (stored.0.wrapping_sub(computed.0), stored.1.wrapping_sub(computed.1));
    // What 1 more in the first word of a pair, and in the second, adds to the sum at the end.
    let (mut first, mut second) = ((1, 1), (0, 1));
    for pair in parts.iter().rev().flat_map(|part| part.chunks_exact(8).rev()) {
        let words = order.pair(pair);
        if explains(words.0, first, missing) || explains(words.1, second, missing) {
            return true;
        }
        (first, second) = (one_pair_later(first), one_pair_later(second));
    }
    false
}

/// Whether flipping one bit of `word` adds what is missing.
fn explains(word: u32, effect: (u32, u32), missing: (u32, u32)) -> bool {
    (0..u32::BITS).any(|bit| {
        let value = 1_u32 << bit;
        let change = if word & value == 0 { value } else { value.wrapping_neg() };
        (effect.0.wrapping_mul(change), effect.1.wrapping_mul(change)) == missing
    })
}

fn one_pair_later((first, second): (u32, u32)) -> (u32, u32) {
    let first = first.wrapping_add(second);
    (first, second.wrapping_add(first))
}
