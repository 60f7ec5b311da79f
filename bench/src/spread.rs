//! Which room an entry goes to.
//!
//! Enters: randomness. Leaves: the number of a room, from 0. Invariant: with `zipf`, room k is
//! drawn 1 / (k + 1) times as often as room 0.

use rand::{Rng, RngExt};

/// How entries are spread over rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Spread {
    /// Zipf's law with exponent 1: of 1,000 rooms the first receives an eighth of all entries.
    Zipf,
    /// All rooms equally often.
    Uniform,
}

impl Spread {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zipf => "zipf",
            Self::Uniform => "uniform",
        }
    }
}

/// Draws rooms.
pub(crate) struct Rooms {
    /// Cumulative weights.
    sums: Vec<f64>,
}

impl Rooms {
    /// This many rooms, at least one.
    pub(crate) fn new(spread: Spread, rooms: u32) -> Self {
        let weight = |room: u32| match spread {
            Spread::Zipf => 1.0 / (f64::from(room) + 1.0),
            Spread::Uniform => 1.0,
        };
        let sums = (0..rooms.max(1)).scan(0.0, |sum, room| {
            *sum += weight(room);
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    pub(crate) fn draw(&self, rng: &mut impl Rng) -> usize {
        let total = self.sums[self.sums.len() - 1];
        let at = rng.random::<f64>() * total;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;

    /// How often each of two rooms is drawn.
    fn drawn(spread: Spread) -> [u32; 2] {
        let (rooms, mut counts) = (Rooms::new(spread, 2), [0; 2]);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        (0..30_000).for_each(|_| counts[rooms.draw(&mut rng)] += 1);
        counts
    }

    #[test]
    fn rooms_are_drawn_as_often_as_their_spread_says() {
        let [first, second] = drawn(Spread::Zipf);
        assert!(first.abs_diff(2 * second) < 1_000, "{first} {second}");
        let [first, second] = drawn(Spread::Uniform);
        assert!(first.abs_diff(second) < 1_000, "{first} {second}");
    }
}
