//! What became of the lines of an import, in numbers.
//!
//! Enters: items and outcomes. Leaves: the end summary. Invariant: every item is counted once as an
//! entry, skipped or unreadable; every entry once as new, already there or refused, when it was sent.

use std::{collections::BTreeMap, fmt, time::Duration};

use roomlog_client::Committed;

use super::{Item, Line, histogram::Histogram};

/// From how many entries on a rate and percentiles say something.
const ENOUGH_FOR_RATES: u64 = 100;

/// The counts of an import.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    files: usize,
    entries: BTreeMap<String, u64>,
    said_again: u64,
    skipped: u64,
    not_utf8: u64,
    unreadable: u64,
    new: u64,
    already_there: u64,
    refused: u64,
    waits: Histogram,
    /// How long it took; none when nothing was sent.
    pub(crate) took: Option<Duration>,
}

impl Tally {
    pub(crate) fn of(files: usize) -> Self {
        Self { files, ..Self::default() }
    }

    pub(crate) fn item(&mut self, item: &Item) {
        self.not_utf8 += u64::from(item.mended);
        match &item.line {
            Line::Entry(told) => {
                *self.entries.entry(told.kind.to_string()).or_default() += 1;
                self.said_again += u64::from(told.said_again);
            }
            Line::Skipped => self.skipped += 1,
            Line::Unreadable(_) => self.unreadable += 1,
        }
    }

    pub(crate) fn committed(&mut self, committed: &Committed) {
        let repeat = committed.appended.repeat == Some(true);
        *(if repeat { &mut self.already_there } else { &mut self.new }) += 1;
        self.waits.record(committed.waited);
    }

    pub(crate) fn refused(&mut self) {
        self.refused += 1;
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
        writeln!(f, "files            {}", self.files)?;
        writeln!(f, "entries          {all} ({})", kinds.join(", "))?;
        writeln!(f, "said again       {} (equal lines of one minute or second)", self.said_again)?;
        writeln!(f, "skipped          {} (joins, parts and other notices)", self.skipped)?;
        writeln!(f, "not UTF-8        {} (kept with replacement characters)", self.not_utf8)?;
        write!(f, "unreadable       {}", self.unreadable)?;
        let Some(took) = self.took else { return Ok(()) };
        writeln!(f, "\nnew              {}", self.new)?;
        writeln!(
            f,
            "already there    {} (before, or sent again after a loss)",
            self.already_there
        )?;
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
