//! Which runs were found intact: the digests of a run are computed once, as long as its bytes stay the same.
//!
//! Enters: a run, and its bytes as they were read. Leaves: whether all of its entries have their digests.
//! Invariants: the table has a fixed size, and forgets what another run takes the place of; bytes that have
//! changed since are not taken for those that were checked, unless 64 bits of a hash with a random key agree.

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::quality::RandomState;

use super::run::Run;

/// A run is checked as a whole if at least so much of it is read: a quarter.
const PART: usize = 4;

/// How many runs it remembers, in 1 MiB: eight million entries, if the runs are full.
const RUNS: usize = 1 << 17;

pub(super) struct CheckedRuns {
    marks: Box<[AtomicU64]>,
    hash: RandomState,
}

impl CheckedRuns {
    pub(super) fn new() -> Self {
        let marks = std::iter::repeat_with(AtomicU64::default).take(RUNS).collect();
        Self { marks, hash: RandomState::default() }
    }

    /// Whether all entries of a run are known to have the digests that they were given; `wanted` of them are
    /// to be read.
    pub(super) fn is_intact(&self, run: &Run<'_>, bytes: &[u8], wanted: usize) -> bool {
        let mark = self.hash.hash_one(bytes).max(1);
        let place = usize::try_from(mark % RUNS as u64).unwrap_or(0);
        let Some(known) = self.marks.get(place) else { return false };
        if known.load(Ordering::Relaxed) == mark {
            return true;
        }
        let is_intact = wanted >= run.count() / PART
            && (run.first..run.end()).all(|slot| run.entry(slot).is_ok());
        if is_intact {
            known.store(mark, Ordering::Relaxed);
        }
        is_intact
    }
}
