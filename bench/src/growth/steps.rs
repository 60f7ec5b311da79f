//! How many entries are appended how, so that a size means what it says.
//!
//! ```text
//!      load           probe   run-in     counted, as many before the size as after it
//!  ├─────────────────┼─────┼──────────┼────────────┼────────────┤ pages, a lone author, starts
//!  size before                                    size
//! ```
//!
//! Enters: sizes, a rate, seconds. Leaves: a [`Step`] for each size. Invariants: the mean size over the
//! counted appends is the size; no step begins before the one before has ended; where what is counted
//! is short, it is counted in rounds, on a log of its own each.

use std::io;

use super::rest::LONE;

/// The smallest size.
const LEAST_SIZE: u64 = 10_000;

/// What is counted is half the size at most, but so many seconds of it where the size has as many.
const SHORT_SECONDS: u64 = 2;

/// The run-in, at most: the archive begins to fold a second after the first append.
const RUN_IN_SECONDS: u64 = 2;

/// What is counted at a size, all rounds together, at least, where `--paced` asks for as much.
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
    /// Then so many come at the rate, which tell how large blocks are.
    pub(super) probe: u64,
    /// Then so many, after which the archive folds where there can be enough of them.
    pub(super) run_in: u64,
    /// And without a pause so many that count.
    pub(super) counted: u64,
    /// On so many logs, one after the other; the last one grows on.
    pub(super) rounds: u32,
}

/// The steps to sizes.
///
/// # Errors
/// When a size is too small, or too near to the one before.
pub(super) fn steps(sizes: &[u64], rate: u32, seconds: u64) -> io::Result<Vec<Step>> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let (mut steps, mut end) = (Vec::new(), 0);
    for &size in sizes {
        if size < LEAST_SIZE {
            return refuse(format!("--at {size}: sizes begin at {LEAST_SIZE}"));
        }
        let step = step(size, u64::from(rate), seconds);
        if step.loaded < end {
            let begins = step.loaded;
            return refuse(format!(
                "--at {size} is too near to the size before: it begins at {begins} entries, and that \
                 ends at {end}"
            ));
        }
        end = step.end();
        steps.push(step);
    }
    Ok(steps)
}

fn step(size: u64, rate: u64, seconds: u64) -> Step {
    let counted = (rate * seconds).min((size / 2).max(size.min(rate * SHORT_SECONDS)));
    let before = size - counted / 2;
    let run_in = (rate * RUN_IN_SECONDS).min(before / 2);
    let probe = (rate / 5).min(before / 10);
    let wanted = rate * seconds.min(LEAST_SECONDS);
    let rounds = wanted.div_ceil(counted).clamp(1, MOST_ROUNDS) as u32;
    Step { size, loaded: before - run_in - probe, probe, run_in, counted, rounds }
}

impl Step {
    /// Entries before and after those that count.
    pub(super) fn span(&self) -> (u64, u64) {
        let from = self.loaded + self.probe + self.run_in;
        (from, from + self.counted)
    }

    /// Entries when all is measured.
    fn end(&self) -> u64 {
        self.span().1 + LONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_lies_around_its_size() {
        let steps = steps(&[100_000, 1_000_000, 10_000_000], 50_000, 20).expect("steps");
        let spans: Vec<_> = steps.iter().map(Step::span).collect();
        assert_eq!(spans, [(50_000, 150_000), (750_000, 1_250_000), (9_500_000, 10_500_000)]);
        let others: Vec<_> = steps.iter().map(|it| (it.loaded, it.probe, it.run_in)).collect();
        let long = |loaded| (loaded, 10_000, 100_000);
        assert_eq!(others, [(20_000, 5_000, 25_000), long(640_000), long(9_390_000)]);
        let rounds: Vec<_> = steps.iter().map(|it| it.rounds).collect();
        assert_eq!(rounds, [3, 1, 1], "5 s at least");
    }

    #[test]
    fn sizes_that_would_reach_into_each_other_are_refused() {
        // The first one ends at 151,000; where the second one begins hangs on its size.
        let begins = |second| steps(&[100_000, second], 50_000, 20).map(|it| it[1].loaded);
        assert_eq!(begins(348_000).expect("just far enough"), 151_000);
        begins(347_998).expect_err("too near");
        begins(100_000).expect_err("not growing");
    }

    #[test]
    fn sizes_and_rounds_have_bounds() {
        assert_eq!(steps(&[10_000], 1_000_000, 600).expect("the least")[0].rounds, 20);
        steps(&[9_999], 1_000, 1).expect_err("too small");
    }
}
