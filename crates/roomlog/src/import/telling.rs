//! What is said of single lines while an import runs.
//!
//! Enters: lines to name, by topic. Leaves: standard error beside a progress bar. Invariant: however many lines there are to
//! name, the first few of a topic are, and the others are counted.

use std::collections::BTreeMap;

use indicatif::ProgressBar;

use super::Place;
use crate::say;

/// How many lines of a topic are named.
const NAMED: u64 = 10;

/// The longest that is said of a line, in characters.
const LONGEST: usize = 500;

/// Why a line is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Link,
    Note,
    NotUtf8,
    Unfinished,
    NotTaken,
    Refused,
}

impl Topic {
    /// How many are named. One is enough where it has the advice, and the summary has the count.
    fn named(self) -> u64 {
        if self == Self::NotUtf8 { 1 } else { NAMED }
    }

    /// What there are more of; none where the advice that was given is for all.
    fn many(self) -> Option<&'static str> {
        match self {
            Self::NotUtf8 => None,
            Self::Link => Some("links that were not followed"),
            Self::Note => Some("notes of this kind"),
            Self::Unfinished => Some("last lines without a newline"),
            Self::NotTaken => Some("lines that were not taken"),
            Self::Refused => Some("entries that were refused"),
        }
    }
}

/// Counts what it says.
#[derive(Debug)]
pub(crate) struct Telling {
    bar: ProgressBar,
    said: BTreeMap<Topic, u64>,
}

impl Telling {
    pub(crate) fn new(bar: ProgressBar) -> Self {
        Self { bar, said: BTreeMap::new() }
    }

    /// Names a line, unless enough of its topic were named.
    pub(crate) fn tell(&mut self, topic: Topic, place: Option<&Place>, what: &str) {
        let said = self.said.entry(topic).or_default();
        *said += 1;
        if *said <= topic.named() {
            // What is wrong may quote what is there, at any length.
            let what = what.chars().take(LONGEST).collect::<String>();
            let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
            self.bar.suspend(|| say!("{place}{what}"));
        }
    }

    /// Says how many were not named.
    pub(crate) fn rest(&self) {
        for (topic, said) in &self.said {
            if let (rest @ 1.., Some(of)) = (said.saturating_sub(topic.named()), topic.many()) {
                self.bar.suspend(|| say!("and {rest} more {of}"));
            }
        }
    }
}
