//! How many entries are appended in which way, so that a size means what it says.
//!
//! ```text
//!      load           probe   run-in  counted   probe   run-in  counted
//!  ├─────────────────┼─────┼────────┼────────┼─────┼────────┼────────┤ …  pages, starts
//!  previous size     as many before the size as after it: one round, or a few
//! ```
//!
//! Enters: sizes, a rate, seconds. Leaves: a [`Step`] for each size. Invariants: the mean size of
//! what is counted is the size; the archive folds during all that is counted; no step begins before
//! the previous one ends; a size too small for all its rounds uses a log for each.

use std::io;

/// Appends of the single writer.
pub(super) const LONE: u64 = 1_000;

const MIN_SIZE: u64 = 10_000;

/// The maximum run-in: slightly more than a window of the archive, so one is always being folded.
const RUN_IN: u64 = 70_000;

/// Rounds of a size, if all use one log.
const ROUNDS: u64 = 8;

/// The minimum counted in each of them.
const MIN_COUNTED: u64 = 10_000;

/// The minimum counted at a size with a log per round, in seconds of all rounds together, unless
/// `--paced` is less.
const MIN_SECONDS: u64 = 5;

/// The maximum number of rounds at such a size.
const MAX_ROUNDS: u64 = 20;

/// What is appended to reach a size and to measure there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The size, in entries.
    pub(super) size: u64,
    /// The log is grown to this, as fast as possible.
    pub(super) loaded: u64,
    /// In each round, appends at the rate that show how large blocks are.
    pub(super) probe: u64,
    /// Then appends after which the archive folds, if the size allows enough of them.
    pub(super) run_in: u64,
    /// Then, without a pause, those that count.
    pub(super) counted: u64,
    pub(super) rounds: u32,
    /// Each round uses a log of its own, grown to `loaded`; the last one grows on.
    pub(super) apart: bool,
}

/// The steps to sizes.
///
/// # Errors
/// If a size is too small, or too close to the previous one.
pub(super) fn steps(sizes: &[u64], rate: u32, seconds: u64) -> io::Result<Vec<Step>> {
    let reject = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let (mut steps, mut end) = (Vec::new(), 0);
    for &size in sizes {
        if size < MIN_SIZE {
            return reject(format!("--at {size}: the minimum is {MIN_SIZE}"));
        }
        let step = step(size, u64::from(rate), seconds);
        if step.loaded < end {
            let begins = step.loaded;
            return reject(format!(
                "--at {size} is too close to the previous size: it begins at {begins} entries, the \
                 previous one ends at {end}"
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
    if counted < MIN_COUNTED {
        return step_apart(size, rate, seconds);
    }
    let loaded = size - (probe + run_in + counted) * ROUNDS / 2;
    Step { size, loaded, probe, run_in, counted, rounds: ROUNDS as u32, apart: false }
}

/// A step with a log per round: a fifth of the size counts, the run-in gets what is left.
fn step_apart(size: u64, rate: u64, seconds: u64) -> Step {
    let counted = (rate * seconds).min(size / 5);
    let before = size - counted / 2;
    let run_in = RUN_IN.min(before / 5 * 4);
    let probe = (rate / 5).min(before / 10);
    let wanted = rate * seconds.min(MIN_SECONDS);
    let rounds = wanted.div_ceil(counted).clamp(1, MAX_ROUNDS) as u32;
    Step { size, loaded: before - run_in - probe, probe, run_in, counted, rounds, apart: true }
}

impl Step {
    /// The sizes between which entries count.
    pub(super) fn span(&self) -> (u64, u64) {
        let from = self.loaded + self.probe + self.run_in;
        let on_one_log = if self.apart { 1 } else { u64::from(self.rounds) };
        (from, self.loaded + (self.probe + self.run_in + self.counted) * on_one_log)
    }

    /// Entries when everything is measured.
    fn end(&self) -> u64 {
        self.span().1 + LONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_surrounds_its_size_and_follows_a_window_of_the_archive() {
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
    fn sizes_that_would_overlap_are_rejected() {
        // The first one ends at 111,000; where the second one begins depends on its size.
        let begins = |second| steps(&[100_000, second], 50_000, 20).map(|it| it[1].loaded);
        assert_eq!(begins(720_000).expect("far enough"), 360_000);
        assert_eq!(begins(212_300).expect("just far enough"), 111_070);
        begins(212_000).expect_err("too close");
        begins(100_000).expect_err("not growing");
    }

    #[test]
    fn sizes_and_rounds_are_bounded() {
        assert_eq!(steps(&[10_000], 1_000_000, 600).expect("the minimum")[0].rounds, 20);
        steps(&[9_999], 1_000, 1).expect_err("too small");
    }
}
