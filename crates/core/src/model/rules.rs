//! Versions of the rules that decide how a block takes effect.
//!
//! Every block names its version, so it has the same effect on every node and in every replay.
//! [`crate::peers::rules`] decides which version the next block names.

/// Computes the time of a room's next entry from the time of its last entry, if any, and the
/// journal's time; all in ms since the epoch.
type TimeRule = fn(Option<u64>, u64) -> u64;

/// A version of the rules; equal if the numbers are.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    number: u16,
    time: TimeRule,
}

impl Rules {
    /// Version 1: the time of a room never goes back.
    pub const FIRST: Self =
        Self { number: 1, time: |last, journal| last.map_or(journal, |last| journal.max(last)) };

    /// The newest version in this build, which also knows all released ones before it.
    pub const NEWEST: Self = Self::FIRST;

    /// An unreleased version, for tests.
    #[must_use]
    pub const fn unreleased(number: u16, time: TimeRule) -> Self {
        Self { number, time }
    }

    /// The version for the first block of a node that knows `self`: the version that `made_by`, the
    /// archive, was built with (0 if unknown), or `self` if the node is alone. `None` if `made_by`
    /// is unknown to it.
    #[must_use]
    pub(crate) fn at_start(self, made_by: u16, is_alone: bool) -> Option<Self> {
        let made_by = self.known(made_by.max(Self::FIRST.number))?;
        Some(if is_alone { self } else { made_by })
    }

    /// Its number in blocks and reports.
    #[must_use]
    pub fn number(self) -> u16 {
        self.number
    }

    /// The version with this number, if a node that knows `self` knows it.
    #[must_use]
    pub fn known(self, number: u16) -> Option<Self> {
        let released = Self::FIRST.number..=Self::NEWEST.number.min(self.number);
        if released.contains(&number) {
            return Some(Self { number, ..Self::FIRST });
        }
        (number == self.number).then_some(self)
    }

    #[must_use]
    pub(crate) fn time(self, last: Option<u64>, journal_time: u64) -> u64 {
        (self.time)(last, journal_time)
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Rules {}
