//! One entry as rows of the timeline.
//!
//! Leaves: rows `SLOT TIME AUTHOR body`, the quote of a reply above, reactions below. Invariant:
//! everything that an author wrote went through [`text`](crate::text).

use std::collections::BTreeSet;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};
use roomlog_client::protocol::{Author, Entry};

use crate::{
    limits::MAX_ROWS,
    shown::{Annotations, Shown, is_line},
    style::DIM,
    text,
    view::Rows,
    window::Window,
};

/// Entries of one author within this time share a name. In ms.
const GROUP_MS: u64 = 5 * 60 * 1_000;
/// The longest quote above a reply, in columns.
const QUOTE: usize = 60;
/// Colours that are legible on dark and light backgrounds.
const COLOURS: [Color; 6] =
    [Color::Cyan, Color::Green, Color::Magenta, Color::Blue, Color::Yellow, Color::Red];

pub(crate) struct Timeline<'a> {
    pub(crate) window: &'a Window,
    pub(crate) annotations: &'a Annotations,
    pub(crate) zone: &'a TimeZone,
    pub(crate) columns: Columns,
    /// The first slot that was unread when the room was opened.
    pub(crate) new: Option<u64>,
    /// The user, whose own entries are never new.
    pub(crate) me: &'a Author,
    pub(crate) selected: Option<u64>,
    pub(crate) expanded: &'a BTreeSet<u64>,
}

/// The widths of the columns, in cells; 0: hidden.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    slot: usize,
    time: usize,
    author: usize,
    body: usize,
}

impl Columns {
    /// What fits a width, by priority: body, author, slot, time.
    pub(crate) fn new(width: usize, latest: i64) -> Self {
        let digits = latest.max(0).to_string().len().max(3);
        let slot = if width >= 44 { digits + 1 } else { 0 };
        let time = if width >= 56 { 6 } else { 0 };
        let author = (width / 6).clamp(6, 16);
        // The last column stays free for characters that the terminal draws wider than computed.
        let body = width.saturating_sub(slot + time + author + 3).max(4);
        Self { slot, time, author, body }
    }

    fn gutter(self) -> usize {
        self.slot + self.time + self.author + 2
    }

    fn indent(self) -> String {
        " ".repeat(self.gutter())
    }
}

impl Rows for Timeline<'_> {
    fn rows(&self, slot: u64) -> Vec<Line<'static>> {
        match self.window.get(slot) {
            Some(entry) if is_line(entry) => self.rows_of(entry),
            _ => Vec::new(),
        }
    }

    fn ends(&self) -> Option<(u64, u64)> {
        Some((self.window.first()?, self.window.last()?))
    }

    fn is_live(&self) -> bool {
        self.window.is_live()
    }
}

impl Timeline<'_> {
    fn rows_of(&self, entry: &Entry) -> Vec<Line<'static>> {
        let shown = self.annotations.shown(entry);
        let before = self.line_before(entry.slot);
        let time = self.time_of(entry);
        let mut rows = Vec::new();
        if let Some(time) = &time
            && before.map_or(entry.slot == 0, |before| {
                self.time_of(before).is_none_or(|before| before.date() != time.date())
            })
        {
            rows.push(self.rule(&time.strftime("%A %-d %B %Y").to_string(), DIM));
        }
        if self.is_first_new(entry) {
            rows.push(self.rule("new", Style::new().fg(Color::Red)));
        }
        if let Some(slot) = entry.reference {
            rows.push(self.quote(slot));
        }
        let named = !rows.is_empty() || before.is_none_or(|before| !is_grouped(before, entry));
        let gutter = self.gutter(entry, time.as_ref(), named);
        rows.extend(self.body(entry, &shown, gutter));
        if !shown.reactions.is_empty() {
            rows.push(self.reactions(&shown));
        }
        rows
    }

    /// Whether this is the first unread line of another author.
    fn is_first_new(&self, entry: &Entry) -> bool {
        let is_held = |new: &u64| *new <= entry.slot && self.window.get(*new).is_some();
        let Some(new) = self.new.filter(is_held) else { return false };
        let mut before = (new..entry.slot).filter_map(|slot| self.window.get(slot));
        entry.author != *self.me && before.all(|it| !is_line(it) || it.author == *self.me)
    }

    /// The line before this slot, if it is in memory.
    fn line_before(&self, slot: u64) -> Option<&Entry> {
        (self.window.first()?..slot)
            .rev()
            .map_while(|slot| self.window.get(slot))
            .find(|it| is_line(it))
    }

    fn time_of(&self, entry: &Entry) -> Option<Zoned> {
        let ms = i64::try_from(entry.written_at()).ok()?;
        Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone()))
    }

    fn rule(&self, title: &str, style: Style) -> Line<'static> {
        Line::styled(format!("{}── {title} ──", self.columns.indent()), style)
    }

    fn gutter(&self, entry: &Entry, at: Option<&Zoned>, named: bool) -> Vec<Span<'static>> {
        let Columns { slot, time, author, .. } = self.columns;
        let mut spans = Vec::new();
        if slot > 0 {
            let style = match self.selected == Some(entry.slot) {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => DIM,
            };
            spans.push(Span::styled(format!("{:>1$}", entry.slot, slot - 1), style));
            spans.push(Span::raw(" "));
        }
        if time > 0 {
            let clock = at.map_or_else(|| "--:--".into(), |it| it.strftime("%H:%M").to_string());
            spans.push(Span::styled(clock + " ", DIM));
        }
        let name = match (entry.kind.as_str(), named) {
            ("action", _) => "*".to_owned(),
            (_, true) => text::name(entry.author.as_str(), author),
            (_, false) => String::new(),
        };
        let free = " ".repeat(author.saturating_sub(text::width(&name)));
        spans.extend([Span::raw(free), Span::styled(name, of_author(entry)), Span::raw("  ")]);
        spans
    }

    fn body(
        &self,
        entry: &Entry,
        shown: &Shown<'_>,
        gutter: Vec<Span<'static>>,
    ) -> Vec<Line<'static>> {
        let (text, style) = words(entry, shown);
        let mut rows = text::wrap(&text, self.columns.body);
        let hidden = rows.len().saturating_sub(MAX_ROWS);
        if hidden > 1 && !self.expanded.contains(&entry.slot) {
            rows.truncate(MAX_ROWS);
            rows.push(format!("… {hidden} more rows: /show {}", entry.slot));
        }
        let indent = || vec![Span::raw(self.columns.indent())];
        let mut before = Some(gutter);
        let line = |row| {
            let mut spans = before.take().unwrap_or_else(indent);
            spans.push(Span::styled(row, style));
            Line::from(spans)
        };
        let mut lines: Vec<_> = rows.into_iter().map(line).collect();
        if shown.is_edited && !shown.is_redacted {
            let edited = Span::styled(" (edited)", DIM);
            let width = (self.columns.gutter() + self.columns.body).saturating_sub(edited.width());
            if lines.last().is_none_or(|line| line.width() > width) {
                lines.push(Line::from(indent()));
            }
            if let Some(line) = lines.last_mut() {
                line.push_span(edited);
            }
        }
        lines
    }

    fn quote(&self, slot: u64) -> Line<'static> {
        let quoted = self.window.get(slot).map(|entry| {
            let shown = self.annotations.shown(entry);
            let body = if shown.is_redacted { "removed" } else { shown.body };
            format!("{}: {body}", text::name(entry.author.as_str(), QUOTE))
        });
        let quoted = quoted.unwrap_or_else(|| format!("slot {slot}"));
        let quoted = text::one_line(&quoted, self.columns.body.saturating_sub(2).min(QUOTE));
        Line::styled(format!("{}↳ {quoted}", self.columns.indent()), DIM)
    }

    fn reactions(&self, shown: &Shown<'_>) -> Line<'static> {
        let each = |(emoji, count): &(&str, usize)| format!("{} {count}", text::one_line(emoji, 8));
        let all = shown.reactions.iter().map(each).collect::<Vec<_>>().join("   ");
        let all = text::one_line(&all, self.columns.body);
        Line::from(vec![Span::raw(self.columns.indent()), Span::styled(all, DIM)])
    }
}

fn words(entry: &Entry, shown: &Shown<'_>) -> (String, Style) {
    if shown.is_redacted {
        return ("removed".into(), DIM.add_modifier(Modifier::ITALIC));
    }
    let body = text::safe(shown.body);
    match entry.kind.as_str() {
        "text" => (body, Style::new()),
        "action" => {
            let author = text::name(entry.author.as_str(), usize::MAX);
            (format!("{author} {body}"), Style::new().add_modifier(Modifier::ITALIC))
        }
        kind => (format!("{kind}: {body}"), DIM),
    }
}

fn is_grouped(before: &Entry, entry: &Entry) -> bool {
    before.author == entry.author
        && before.kind.as_str() == "text"
        && entry.written_at().saturating_sub(before.written_at()) < GROUP_MS
}

/// An author's colour, the same everywhere.
fn of_author(entry: &Entry) -> Style {
    let add = |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte));
    let sum = entry.author.bytes().fold(0, add);
    Style::new().fg(COLOURS[sum % COLOURS.len()])
}
