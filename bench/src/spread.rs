//! Which room an entry goes to: all alike, or a few with most of them, as rooms of people are.
//!
//! Enters: chance. Leaves: the number of a room, from 0. Invariant: with zipf, room k is taken
//! 1 / (k + 1) times as often as room 0.

use rand::{Rng, RngExt};

/// How entries are spread over rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Spread {
    /// Zipf's law with exponent 1: of 1,000 rooms the first has an eighth of all entries.
    Zipf,
    /// Every room as often as any other.
    Uniform,
}

impl Spread {
    /// For the line above a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zipf => "zipf",
            Self::Uniform => "uniform",
        }
    }
}

/// Draws rooms.
pub(crate) struct Rooms {
    /// The weight of each room and those before it.
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

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// A room.
    pub(crate) fn draw(&self, chance: &mut impl Rng) -> usize {
        let all = self.sums[self.sums.len() - 1];
        let at = chance.random::<f64>() * all;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

    /// How often each of two rooms is drawn.
    fn drawn(spread: Spread) -> [u32; 2] {
        let (rooms, mut counts) = (Rooms::new(spread, 2), [0; 2]);
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(1);
        (0..30_000).for_each(|_| counts[rooms.draw(&mut chance)] += 1);
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
