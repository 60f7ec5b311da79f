//! The counts of an import, and its summary.
//!
//! Every item is counted once as an entry, skipped or unreadable; every sent entry once as new,
//! already there or rejected.

use std::{collections::BTreeMap, fmt, time::Duration};

use roomlog_client::Committed;
use roomlog_protocol::Kind;

use super::{
    files::Source,
    item::{Item, Line},
};

/// The least number of entries for which a rate and percentiles are meaningful.
const ENOUGH_FOR_RATES: u64 = 100;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    formats: BTreeMap<&'static str, usize>,
    entries: BTreeMap<String, u64>,
    duplicates: u64,
    skipped: u64,
    not_utf8: u64,
    unfinished: u64,
    unreadable: u64,
    edited: u64,
    /// Replies sent without a reference to the missing message.
    pub(crate) without_reply: u64,
    new: u64,
    pub(crate) already_there: u64,
    pub(crate) rejected: u64,
    /// How long each batch was unanswered.
    waits: Vec<Duration>,
    pub(crate) took: Option<Duration>,
}

impl Tally {
    pub(crate) fn new(sources: &[Source]) -> Self {
        let mut formats = BTreeMap::new();
        for source in sources {
            *formats.entry(source.content.name()).or_default() += 1;
        }
        Self { formats, ..Self::default() }
    }

    pub(crate) fn item(&mut self, item: &Item) {
        self.not_utf8 += u64::from(item.mended);
        match &item.line {
            Line::Entry(entry) => {
                *self.entries.entry(entry.kind.to_string()).or_default() += 1;
                self.duplicates += u64::from(entry.duplicate);
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
        // The entries of a batch waited equally long.
        if self.waits.last() != Some(&committed.waited) {
            self.waits.push(committed.waited);
        }
    }

    /// An entry that is stored with an older text: an edit is sent instead.
    pub(crate) fn edited(&mut self, kind: &Kind) {
        self.edited += 1;
        if let Some(count) = self.entries.get_mut(kind.as_str()) {
            *count -= 1;
        }
        *self.entries.entry("edit".into()).or_default() += 1;
    }

    /// Lines that should be in the log and are not.
    pub(crate) fn missing(&self) -> u64 {
        self.unreadable + self.rejected
    }

    pub(crate) fn stored(&self) -> u64 {
        self.new + self.already_there
    }

    fn rates(&self, f: &mut fmt::Formatter<'_>, took: Duration) -> fmt::Result {
        #[allow(clippy::cast_precision_loss)] // Not exact anyway.
        let rate = self.stored() as f64 / took.as_secs_f64().max(1e-9);
        write!(f, "\nentries/s        {rate:.0}")?;
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1);
            waits.get(rank - 1).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
        };
        write!(
            f,
            "\nbatch p50 / p99  {:.2} ms / {:.2} ms (until a batch was answered)",
            percentile(50),
            percentile(99)
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.entries.values().sum();
        let kinds: Vec<_> = self.entries.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        let files: usize = self.formats.values().sum();
        let formats: Vec<_> = self.formats.iter().map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(f, "files            {files} ({})", formats.join(", "))?;
        writeln!(f, "entries          {all} ({})", kinds.join(", "))?;
        writeln!(f, "duplicates       {} (equal lines of one minute or second)", self.duplicates)?;
        writeln!(f, "skipped          {} (joins, parts and other notices)", self.skipped)?;
        writeln!(f, "not UTF-8        {} (kept with replacement characters)", self.not_utf8)?;
        for (label, count, what) in [
            ("unfinished", self.unfinished, "last lines without a newline"),
            ("not as replies", self.without_reply, "the message they reply to is missing"),
        ] {
            if count > 0 {
                writeln!(f, "{label:<16} {count} ({what})")?;
            }
        }
        write!(f, "unreadable       {}", self.unreadable)?;
        let Some(took) = self.took else { return Ok(()) };
        let before = "imported before, or sent again after a connection was lost";
        write!(f, "\nnew              {}", self.new)?;
        write!(f, "\nalready there    {} ({before})", self.already_there)?;
        if self.edited > 0 {
            write!(f, "\nedited since     {} (as `edit` of the existing entry)", self.edited)?;
        }
        write!(f, "\nrejected         {}", self.rejected)?;
        write!(f, "\nseconds          {:.1}", took.as_secs_f64())?;
        if self.stored() < ENOUGH_FOR_RATES { Ok(()) } else { self.rates(f, took) }
    }
}
