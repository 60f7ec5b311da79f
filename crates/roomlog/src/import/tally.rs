//! What became of the lines of an import, in numbers.
//!
//! Enters: items and outcomes. Leaves: the end summary. Invariant: every item is counted once as an
//! entry, skipped or unreadable; every entry once as new, already there or refused, when it was sent.

use std::{collections::BTreeMap, fmt, time::Duration};

use roomlog_client::Committed;
use roomlog_protocol::Kind;

use super::{Item, Line, files::Source, histogram::Histogram};

/// From how many entries on a rate and percentiles say something.
const ENOUGH_FOR_RATES: u64 = 100;

/// The counts of an import.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How many files have which format.
    formats: BTreeMap<&'static str, usize>,
    entries: BTreeMap<String, u64>,
    said_again: u64,
    skipped: u64,
    not_utf8: u64,
    unfinished: u64,
    unreadable: u64,
    edited: u64,
    without_reply: u64,
    new: u64,
    already_there: u64,
    refused: u64,
    waits: Histogram,
    /// How long it took; none when nothing was sent.
    pub(crate) took: Option<Duration>,
}

impl Tally {
    pub(crate) fn of(sources: &[Source]) -> Self {
        let mut formats = BTreeMap::new();
        for source in sources {
            *formats.entry(source.content.name()).or_default() += 1;
        }
        Self { formats, ..Self::default() }
    }

    pub(crate) fn item(&mut self, item: &Item) {
        self.not_utf8 += u64::from(item.mended);
        match &item.line {
            Line::Entry(told) => {
                *self.entries.entry(told.kind.to_string()).or_default() += 1;
                self.said_again += u64::from(told.said_again);
            }
            Line::Skipped => self.skipped += 1,
            Line::Unfinished => self.unfinished += 1,
            Line::Note(_) => {}
            Line::Unreadable(_) => self.unreadable += 1,
        }
    }

    pub(crate) fn committed(&mut self, committed: &Committed) {
        let repeat = committed.appended.repeat == Some(true);
        *(if repeat { &mut self.already_there } else { &mut self.new }) += 1;
        self.waits.record(committed.waited);
    }

    /// An entry that the room has with more than this history tells of it.
    pub(crate) fn already_there(&mut self) {
        self.already_there += 1;
    }

    pub(crate) fn refused(&mut self) {
        self.refused += 1;
    }

    /// An entry that is there with an older text: its edit follows.
    pub(crate) fn edited(&mut self, kind: &Kind) {
        self.edited += 1;
        // The edit stands for it from here on.
        if let Some(count) = self.entries.get_mut(kind.as_str()) {
            *count -= 1;
        }
        *self.entries.entry("edit".into()).or_default() += 1;
    }

    /// A reply that is kept without what it answers.
    pub(crate) fn without_reply(&mut self) {
        self.without_reply += 1;
    }

    /// Lines that should be in the log and are not.
    pub(crate) fn missing(&self) -> u64 {
        self.unreadable + self.refused
    }

    /// Entries that are in the log.
    pub(crate) fn there(&self) -> u64 {
        self.new + self.already_there
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.entries.values().sum();
        let kinds: Vec<_> = self.entries.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        let files: usize = self.formats.values().sum();
        let formats = self.formats.iter().map(|(name, n)| format!("{name} {n}"));
        writeln!(f, "files            {files} ({})", formats.collect::<Vec<_>>().join(", "))?;
        writeln!(f, "entries          {all} ({})", kinds.join(", "))?;
        writeln!(f, "said again       {} (equal lines of one minute or second)", self.said_again)?;
        writeln!(f, "skipped          {} (joins, parts and other notices)", self.skipped)?;
        writeln!(f, "not UTF-8        {} (kept with replacement characters)", self.not_utf8)?;
        if self.unfinished > 0 {
            writeln!(f, "unfinished       {} (last lines without an end)", self.unfinished)?;
        }
        if self.without_reply > 0 {
            writeln!(
                f,
                "not as replies   {} (the message they answer is not there)",
                self.without_reply
            )?;
        }
        write!(f, "unreadable       {}", self.unreadable)?;
        let Some(took) = self.took else { return Ok(()) };
        writeln!(f, "\nnew              {}", self.new)?;
        writeln!(
            f,
            "already there    {} (before, or sent again after a loss)",
            self.already_there
        )?;
        if self.edited > 0 {
            writeln!(
                f,
                "edited since     {} (as `edit`, beside the text that is there)",
                self.edited
            )?;
        }
        writeln!(f, "refused          {}", self.refused)?;
        write!(f, "seconds          {:.1}", took.as_secs_f64())?;
        if self.there() < ENOUGH_FOR_RATES {
            return Ok(());
        }
        #[allow(clippy::cast_precision_loss)] // A rate for a person.
        let rate = self.there() as f64 / took.as_secs_f64().max(1e-9);
        write!(f, "\nentries/s        {rate:.0}")?;
        let percentile = |share| self.waits.percentile(share);
        if let (Some(half), Some(most)) = (percentile(0.5), percentile(0.99)) {
            let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
            write!(
                f,
                "\nbatch p50 / p99  {:.2} ms / {:.2} ms (until a batch was answered)",
                ms(half),
                ms(most)
            )?;
        }
        Ok(())
    }
}
