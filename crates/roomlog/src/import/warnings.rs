//! Warnings about single lines while an import runs, printed next to a progress bar.
//!
//! The first few lines of each topic are named; the others are only counted.

use std::collections::BTreeMap;

use indicatif::ProgressBar;

use super::item::Place;
use crate::stderr::message;

const NAMED: u64 = 10;

/// The longest warning, in characters: it may quote any text.
const LONGEST: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Link,
    Note,
    NotUtf8,
    Unfinished,
    NotImported,
    Rejected,
}

impl Topic {
    /// How many lines are named; the advice for `NotUtf8` applies to all.
    fn named(self) -> u64 {
        if self == Self::NotUtf8 { 1 } else { NAMED }
    }

    /// What the remaining lines are; `None` if they are not mentioned.
    fn plural(self) -> Option<&'static str> {
        match self {
            Self::NotUtf8 => None,
            Self::Link => Some("links that were not followed"),
            Self::Note => Some("notes of this kind"),
            Self::Unfinished => Some("last lines without a newline"),
            Self::NotImported => Some("lines that were not imported"),
            Self::Rejected => Some("entries that were rejected"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Warnings {
    bar: ProgressBar,
    counts: BTreeMap<Topic, u64>,
}

impl Warnings {
    pub(crate) fn new(bar: ProgressBar) -> Self {
        Self { bar, counts: BTreeMap::new() }
    }

    /// Names a line, unless enough lines of the topic were named.
    pub(crate) fn warn(&mut self, topic: Topic, place: Option<&Place>, what: &str) {
        let count = self.counts.entry(topic).or_default();
        *count += 1;
        if *count <= topic.named() {
            let what = what.chars().take(LONGEST).collect::<String>();
            let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
            self.bar.suspend(|| message!("{place}{what}"));
        }
    }

    pub(crate) fn finish(&self) {
        for (topic, count) in &self.counts {
            if let (rest @ 1.., Some(of)) = (count.saturating_sub(topic.named()), topic.plural()) {
                self.bar.suspend(|| message!("and {rest} more {of}"));
            }
        }
    }
}
