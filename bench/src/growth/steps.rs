//! How many entries are appended how, so that a size means what it says.
//!
//! ```text
//!            load            warm-up   paced, as much before the size as after it
//!  ├──────────────────────────┼───┼──────────┼──────────┤ pages, a lone author, starts
//!  size before                             size
//! ```
//!
//! Enters: sizes, a rate, seconds. Leaves: a [`Step`] for each size. Invariants: the mean size over the
//! paced appends is the size; they are at most half of it, so it changes by a quarter either way; where
//! that makes them short, they are measured in rounds, on a log of its own each.

use std::io;

/// The smallest size.
pub(super) const LEAST_SIZE: u64 = 10_000;

/// A size is at least so many times the one before.
const APART: u64 = 2;

/// Seconds of paced appends at a size, all rounds together, at least, where `--paced` asks for them.
const LEAST_SECONDS: u64 = 5;

/// Rounds at a size, at most.
const MOST_ROUNDS: u64 = 20;

/// What is appended to get to a size and to measure there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The size, in entries.
    pub(super) size: u64,
    /// The log is brought to so many entries, as fast as answers come.
    pub(super) loaded: u64,
    /// Then so many come at the rate that do not count: they tell how large blocks are.
    pub(super) warm_up: u64,
    /// Then so many that count.
    pub(super) paced: u64,
    /// On so many logs, one after the other; the last one grows on.
    pub(super) rounds: u32,
}

/// The steps to sizes.
///
/// # Errors
/// When a size is too small, or less than twice the one before.
pub(super) fn steps(sizes: &[u64], rate: u32, seconds: u64) -> io::Result<Vec<Step>> {
    let apart = sizes.windows(2).all(|pair| pair[1] / APART >= pair[0]);
    if !apart || sizes.iter().any(|size| *size < LEAST_SIZE) {
        let why =
            format!("--at wants sizes from {LEAST_SIZE}, each at least {APART} times the last");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(sizes.iter().map(|size| step(*size, u64::from(rate), seconds)).collect())
}

fn step(size: u64, rate: u64, seconds: u64) -> Step {
    let paced = (rate * seconds).min(size / 2);
    let warm_up = paced / 10;
    let wanted = rate * seconds.min(LEAST_SECONDS);
    let rounds = wanted.div_ceil(paced).clamp(1, MOST_ROUNDS) as u32;
    Step { size, loaded: size - paced / 2 - warm_up, warm_up, paced, rounds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paced_appends_lie_around_their_size() {
        let steps = steps(&[100_000, 1_000_000, 10_000_000], 50_000, 20).expect("steps");
        let step =
            |size, loaded, warm_up, paced, rounds| Step { size, loaded, warm_up, paced, rounds };
        assert_eq!(
            steps,
            [
                step(100_000, 70_000, 5_000, 50_000, 5),
                step(1_000_000, 700_000, 50_000, 500_000, 1),
                step(10_000_000, 9_400_000, 100_000, 1_000_000, 1),
            ]
        );
        for step in steps {
            assert_eq!(step.loaded + step.warm_up + step.paced / 2, step.size);
        }
    }

    #[test]
    fn a_size_does_not_reach_into_the_next() {
        // 1,000 is what a lone author appends after the paced ones.
        let pair = steps(&[10_000, 20_000], 1_000_000, 600).expect("twice is enough");
        assert!(pair[0].size + pair[0].paced / 2 + 1_000 <= pair[1].loaded, "{pair:?}");
        assert_eq!(pair[0].rounds, 20, "rounds are bounded");
        steps(&[10_000, 19_999], 1_000, 1).expect_err("less than twice");
        steps(&[9_999], 1_000, 1).expect_err("too small");
    }
}
