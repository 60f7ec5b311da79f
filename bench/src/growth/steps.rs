//! How many entries are appended how, so that a size means what it says.
//!
//! ```text
//!      load           probe   run-in  counted   probe   run-in  counted
//!  ├─────────────────┼─────┼────────┼────────┼─────┼────────┼────────┤ …  pages, a lone author, starts
//!  size before       as many before the size as after it: one round, or a few
//! ```
//!
//! Enters: sizes, a rate, seconds. Leaves: a [`Step`] for each size. Invariants: the mean size over what
//! is counted is the size; a run-in is so long that the archive folds in all that is counted; no step
//! begins before the one before has ended; a size too small for all its rounds has a log for each.

use std::io;

use super::rest::LONE;

/// The smallest size.
const LEAST_SIZE: u64 = 10_000;

/// The run-in, at most: a window of the archive's and a little more, so that behind it there is always
/// one that is being folded.
const RUN_IN: u64 = 70_000;

/// Rounds at a size that all go into one log.
const ROUNDS: u64 = 8;

/// What is counted in one of them, at least.
const LEAST_COUNTED: u64 = 10_000;

/// What is counted at a size with a log for each round, all together, at least, where `--paced` asks for
/// as much.
const LEAST_SECONDS: u64 = 5;

/// Rounds at such a size, at most.
const MOST_ROUNDS: u64 = 20;

/// What is appended to get to a size and to measure there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The size, in entries.
    pub(super) size: u64,
    /// The log is brought to so many entries, as fast as answers come.
    pub(super) loaded: u64,
    /// In each round so many come at the rate, which tell how large blocks are.
    pub(super) probe: u64,
    /// Then so many, after which the archive folds where there can be enough of them.
    pub(super) run_in: u64,
    /// And without a pause so many that count.
    pub(super) counted: u64,
    pub(super) rounds: u32,
    /// Each round has a log of its own, brought to `loaded`; the last one grows on.
    pub(super) apart: bool,
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
    let (probe, run_in) = (rate / 5, RUN_IN);
    let counted = (size / ROUNDS).saturating_sub(probe + run_in).min(rate * seconds / ROUNDS);
    if counted < LEAST_COUNTED {
        return apart(size, rate, seconds);
    }
    let loaded = size - (probe + run_in + counted) * ROUNDS / 2;
    Step { size, loaded, probe, run_in, counted, rounds: ROUNDS as u32, apart: false }
}

/// A step with a log for each round: a fifth of the size counts, the run-in has what it can have.
fn apart(size: u64, rate: u64, seconds: u64) -> Step {
    let counted = (rate * seconds).min(size / 5);
    let before = size - counted / 2;
    let run_in = RUN_IN.min(before / 5 * 4);
    let probe = (rate / 5).min(before / 10);
    let wanted = rate * seconds.min(LEAST_SECONDS);
    let rounds = wanted.div_ceil(counted).clamp(1, MOST_ROUNDS) as u32;
    Step { size, loaded: before - run_in - probe, probe, run_in, counted, rounds, apart: true }
}

impl Step {
    /// Entries before and after those that count, and what lies between them.
    pub(super) fn span(&self) -> (u64, u64) {
        let from = self.loaded + self.probe + self.run_in;
        let on_one_log = if self.apart { 1 } else { u64::from(self.rounds) };
        (from, self.loaded + (self.probe + self.run_in + self.counted) * on_one_log)
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
    fn what_counts_lies_around_its_size_behind_a_window_of_the_archive() {
        let steps = steps(&[100_000, 1_000_000, 10_000_000], 50_000, 20).expect("steps");
        let spans: Vec<_> = steps.iter().map(Step::span).collect();
        assert_eq!(spans, [(90_000, 110_000), (580_000, 1_500_000), (9_260_000, 10_820_000)]);
        let others: Vec<_> = steps.iter().map(|it| (it.loaded, it.probe, it.run_in)).collect();
        let long = |loaded| (loaded, 10_000, 70_000);
        assert_eq!(others, [(11_000, 9_000, 70_000), long(500_000), long(9_180_000)]);
        let rounds: Vec<_> = steps.iter().map(|it| (it.rounds, it.counted, it.apart)).collect();
        assert_eq!(rounds, [(13, 20_000, true), (8, 45_000, false), (8, 125_000, false)]);
    }

    #[test]
    fn sizes_that_would_reach_into_each_other_are_refused() {
        // The first one ends at 111,000; where the second one begins hangs on its size.
        let begins = |second| steps(&[100_000, second], 50_000, 20).map(|it| it[1].loaded);
        assert_eq!(begins(720_000).expect("far enough"), 360_000);
        assert_eq!(begins(212_300).expect("just far enough"), 111_070);
        begins(212_000).expect_err("too near");
        begins(100_000).expect_err("not growing");
    }

    #[test]
    fn sizes_and_rounds_have_bounds() {
        assert_eq!(steps(&[10_000], 1_000_000, 600).expect("the least")[0].rounds, 20);
        steps(&[9_999], 1_000, 1).expect_err("too small");
    }
}
