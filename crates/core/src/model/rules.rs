//! Versions of the rules by which a block takes effect.
//!
//! Every block names its version, so it does the same on every node and in every replay. Which
//! version the next block names is decided in [`crate::peers::rules`].

/// How the time of a room's next entry follows from that of its last entry, if any, and from the
/// journal's time; all in ms since the epoch.
type TimeRule = fn(Option<u64>, u64) -> u64;

/// A version of the rules. Two are equal if their numbers are.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    number: u16,
    time: TimeRule,
}

impl Rules {
    /// The first version: the time of a room never goes back.
    pub const FIRST: Self =
        Self { number: 1, time: |last, journal| last.map_or(journal, |last| journal.max(last)) };

    /// The newest version that this build knows. It knows all released versions up to it.
    pub const NEWEST: Self = Self::FIRST;

    /// A version that is not released, for a node that tries it out.
    #[must_use]
    pub const fn unreleased(number: u16, time: TimeRule) -> Self {
        Self { number, time }
    }

    /// The version that a node which knows `self` names first. `made_by` is the version that made
    /// its archive, 0 if unknown. A node that `is_alone` names all it knows at once. `None` if
    /// `made_by` is not known.
    #[must_use]
    pub(crate) fn at_start(self, made_by: u16, is_alone: bool) -> Option<Self> {
        let made_by = self.known(made_by.max(Self::FIRST.number))?;
        Some(if is_alone { self } else { made_by })
    }

    /// The number that blocks and nodes name it by.
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

    /// The time of a room's next entry.
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
