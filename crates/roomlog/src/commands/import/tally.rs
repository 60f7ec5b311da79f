//! What became of the lines and entries of an import: warnings while it runs, and a summary.
//!
//! Every item is counted once as an entry, skipped or unreadable; every sent entry once as new,
//! already there or rejected. Of each topic, the first few warnings are printed next to the progress
//! bar; the others are only counted.

use std::{collections::BTreeMap, fmt::Display, time::Duration};

use indicatif::ProgressBar;
use roomlog_client::Committed;
use roomlog_protocol::Kind;

use crate::{
    commands::printer::Printer,
    failure::Failure,
    import::{Item, Line, Place, files::Source},
    stderr::message,
};

/// The least number of entries for which a rate and percentiles are meaningful.
const ENOUGH_FOR_RATES: u64 = 100;

const NAMED: u64 = 10;

/// The longest warning, in characters: it may quote any text.
const LONGEST_WARNING: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Link,
    Note,
    NotUtf8,
    Unfinished,
    Unreadable,
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
            Self::Unreadable => Some("lines that were not imported"),
            Self::Rejected => Some("entries that were rejected"),
        }
    }
}

pub(super) struct Tally {
    bar: ProgressBar,
    formats: BTreeMap<&'static str, u64>,
    entries: BTreeMap<String, u64>,
    duplicates: u64,
    skipped: u64,
    edited: u64,
    /// Replies sent without a reference to the missing message.
    pub(super) without_reply: u64,
    new: u64,
    pub(super) already_there: u64,
    warnings: BTreeMap<Topic, u64>,
    /// How long each batch was unanswered.
    waits: Vec<Duration>,
    pub(super) took: Option<Duration>,
}

impl Tally {
    pub(super) fn new(sources: &[Source], bar: ProgressBar) -> Self {
        let mut formats = BTreeMap::new();
        for source in sources {
            *formats.entry(source.content.name()).or_default() += 1;
        }
        Self {
            bar,
            formats,
            entries: BTreeMap::new(),
            duplicates: 0,
            skipped: 0,
            edited: 0,
            without_reply: 0,
            new: 0,
            already_there: 0,
            warnings: BTreeMap::new(),
            waits: Vec::new(),
            took: None,
        }
    }

    /// Counts an item and warns of what is wrong with it.
    pub(super) fn item(&mut self, item: &Item) {
        let place = Some(&item.place);
        if item.mended {
            let what = "not UTF-8: imported with replacement characters, as are all such lines; to \
                        read them, name their encoding, such as --encoding cp1252";
            self.warn(Topic::NotUtf8, place, what);
        }
        match &item.line {
            Line::Entry(entry) => {
                *self.entries.entry(entry.kind.to_string()).or_default() += 1;
                self.duplicates += u64::from(entry.duplicate);
            }
            Line::Skipped => self.skipped += 1,
            Line::Unfinished => {
                let what = "left for the next run: it has no newline, so it may be half written";
                self.warn(Topic::Unfinished, place, what);
            }
            Line::Note(what) => self.warn(Topic::Note, place, what),
            Line::Unreadable(why) => {
                self.warn(Topic::Unreadable, place, &format!("not imported: {why}"));
            }
        }
    }

    /// Counts a warning, and prints it unless enough of the topic were printed.
    pub(super) fn warn(&mut self, topic: Topic, place: Option<&Place>, what: &str) {
        let count = self.warnings.entry(topic).or_default();
        *count += 1;
        if *count <= topic.named() {
            let what = what.chars().take(LONGEST_WARNING).collect::<String>();
            let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
            self.bar.suspend(|| message!("{place}{what}"));
        }
    }

    /// Prints how many warnings of each topic were only counted.
    pub(super) fn warn_of_the_rest(&self) {
        for (topic, count) in &self.warnings {
            if let (rest @ 1.., Some(of)) = (count.saturating_sub(topic.named()), topic.plural()) {
                self.bar.suspend(|| message!("and {rest} more {of}"));
            }
        }
    }

    pub(super) fn committed(&mut self, committed: &Committed) {
        let repeat = committed.appended.repeat == Some(true);
        *(if repeat { &mut self.already_there } else { &mut self.new }) += 1;
        // The entries of a batch waited equally long.
        if self.waits.last() != Some(&committed.waited) {
            self.waits.push(committed.waited);
        }
    }

    /// An entry that is stored with an older text: an edit is sent instead.
    pub(super) fn edited(&mut self, kind: &Kind) {
        self.edited += 1;
        if let Some(count) = self.entries.get_mut(kind.as_str()) {
            *count -= 1;
        }
        *self.entries.entry("edit".into()).or_default() += 1;
    }

    /// Lines that should be in the log and are not.
    pub(super) fn missing(&self) -> u64 {
        self.warned(Topic::Unreadable) + self.warned(Topic::Rejected)
    }

    pub(super) fn stored(&self) -> u64 {
        self.new + self.already_there
    }

    fn warned(&self, topic: Topic) -> u64 {
        self.warnings.get(&topic).copied().unwrap_or(0)
    }

    pub(super) fn print(&self, printer: &mut Printer) -> Result<(), Failure> {
        printer.field("files", total(&self.formats))?;
        printer.field("entries", total(&self.entries))?;
        for (name, count, what, only_if_any) in [
            ("duplicates", self.duplicates, "equal lines of one minute or second", false),
            ("skipped", self.skipped, "joins, parts, other notices, redactions", false),
            ("not UTF-8", self.warned(Topic::NotUtf8), "kept with replacement characters", false),
            ("unfinished", self.warned(Topic::Unfinished), "last lines without a newline", true),
            ("not as replies", self.without_reply, "the message they reply to is missing", true),
        ] {
            if count > 0 || !only_if_any {
                printer.field(name, format_args!("{count} ({what})"))?;
            }
        }
        printer.field("unreadable", self.warned(Topic::Unreadable))?;
        self.took.map_or(Ok(()), |took| self.print_sent(printer, took))
    }

    /// What became of the entries that were sent.
    fn print_sent(&self, printer: &mut Printer, took: Duration) -> Result<(), Failure> {
        let before = "imported before, or sent again after a connection was lost";
        printer.field("new", self.new)?;
        printer.field("already there", format_args!("{} ({before})", self.already_there))?;
        if self.edited > 0 {
            let edited = format_args!("{} (as `edit` of the existing entry)", self.edited);
            printer.field("edited since", edited)?;
        }
        printer.field("rejected", self.warned(Topic::Rejected))?;
        printer.field("seconds", format_args!("{:.1}", took.as_secs_f64()))?;
        if self.stored() < ENOUGH_FOR_RATES {
            return Ok(());
        }
        #[allow(clippy::cast_precision_loss)] // Not exact anyway.
        let rate = self.stored() as f64 / took.as_secs_f64().max(1e-9);
        printer.field("entries/s", format_args!("{rate:.0}"))?;
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1);
            waits.get(rank - 1).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
        };
        let (p50, p99) = (percentile(50), percentile(99));
        let waits = format_args!("{p50:.2} ms / {p99:.2} ms (until a batch was answered)");
        printer.field("batch p50 / p99", waits)
    }
}

/// The sum of the counts, then each by its name: `7 (action 2, text 5)`.
fn total(counts: &BTreeMap<impl Display, u64>) -> String {
    let named: Vec<_> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
    format!("{} ({})", counts.values().sum::<u64>(), named.join(", "))
}
