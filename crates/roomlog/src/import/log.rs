//! Turns the lines of an IRC log into entries with stable ids.
//!
//! Input: lines, and the parser of one format ([`super::irc`], [`super::irssi`],
//! [`super::weechat`]). Output: entries. The same file always gives the same ids: they do not
//! depend on lines that are appended to it, on `--joins`, or on the time zone.
//!
//! The parsers share the functions at the end: words, nicks, dates, and notices about a nick.

use std::{borrow::Cow, collections::HashMap};

use jiff::civil::Date;
use roomlog_protocol::{Author, Kind};
use sha2::{Digest, Sha256};

use super::{
    clock::{Clock, TimeOfDay},
    item::{Imported, Line, hex},
    lines::LineFormat,
};

/// The prefix of the hashed data; it changes with the way ids are made.
const ID_DOMAIN: &[u8] = b"roomlog/import-irc/v1";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// The date, if each line has one.
    pub(super) date: Option<Date>,
    pub(super) time: TimeOfDay,
    /// The time as it is written.
    pub(super) time_text: &'a str,
    pub(super) nick: &'a str,
    pub(super) kind: &'static str,
    pub(super) text: Cow<'a, str>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    Event(Event<'a>),
    /// A notice of the program, which has no author.
    Notice,
    /// The following lines are of this date.
    Date(Date),
}

/// The form of a line, or why the format has none for it.
pub(super) type Parse = for<'a> fn(&'a str) -> Result<Form<'a>, &'static str>;

pub(super) struct LogReader {
    parse: Parse,
    date: Option<Date>,
    joins: bool,
    clock: Clock,
    /// How often each line of the date occurred.
    seen: HashMap<[u8; 16], u64>,
}

impl LogReader {
    /// `date` is that of the lines before one that has a date.
    pub(super) fn new(parse: Parse, date: Option<Date>, joins: bool, clock: Clock) -> Self {
        Self { parse, date, joins, clock, seen: HashMap::new() }
    }

    /// If a date comes again after another one, its lines are taken for the earlier ones: then
    /// overlapping parts of a log give each line once.
    fn turn(&mut self, date: Date) {
        if self.date != Some(date) {
            self.date = Some(date);
            self.seen.clear();
            self.clock.reset();
        }
    }

    fn entry(&mut self, date: Date, event: &Event<'_>) -> Result<Imported, String> {
        let author = Author::new(event.nick).map_err(|why| format!("{:?}: {why}", event.nick))?;
        let sent_at = self.clock.instant(date, event.time)?;
        let (id, duplicate) = self.id(date, event);
        let body = event.text.clone().into_owned();
        let entry = Imported::new(author, &id, event.kind, body, Some(sent_at))?;
        Ok(Imported { duplicate, ..entry })
    }

    /// A hash of the line and of how many equal ones preceded it; whether any did.
    fn id(&mut self, date: Date, event: &Event<'_>) -> (String, bool) {
        let date = date.to_string();
        let mut sha = Sha256::new_with_prefix(ID_DOMAIN);
        for part in [&date, event.time_text, event.kind, event.nick, &event.text] {
            sha.update((part.len() as u64).to_be_bytes());
            sha.update(part);
        }
        let before = self.seen.entry(truncated(sha.clone())).or_default();
        sha.update(before.to_be_bytes());
        *before += 1;
        (hex(&truncated(sha)), *before > 1)
    }
}

impl LineFormat for LogReader {
    fn line(&mut self, line: &str) -> Line {
        let event = match (self.parse)(line) {
            Ok(Form::Event(event)) => event,
            Ok(Form::Notice) => return Line::Skipped,
            Ok(Form::Date(date)) => {
                self.turn(date);
                return Line::Skipped;
            }
            Err(why) => return Line::Unreadable(why.into()),
        };
        if let Some(date) = event.date {
            self.turn(date);
        }
        let Some(date) = self.date else {
            return Line::Unreadable("no line before it has a date".into());
        };
        if !matches!(event.kind, Kind::TEXT | "action") && !self.joins {
            return Line::Skipped;
        }
        self.entry(date, &event).map_or_else(Line::Unreadable, |entry| Line::Entry(Box::new(entry)))
    }
}

fn truncated(sha: Sha256) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&sha.finalize()[..16]);
    hash
}

const RANKS: &[char] = &['@', '+', '%', '&', '~', '!'];

pub(super) fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

pub(super) fn without_rank(nick: &str) -> &str {
    nick.trim_start_matches(RANKS)
}

/// Whether it can be a nick, or the name of a server in the place of one.
pub(super) fn is_nick(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "-_[]\\`^{}|.".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

/// A date with the English name of a month.
pub(super) fn date(day: &str, month: &str, year: &str) -> Option<Date> {
    Date::strptime("%d %b %Y", format!("{day} {month} {year}")).ok()
}

/// The kind of a notice by how it begins.
pub(super) fn kind_of(text: &str, kinds: &[(&'static str, &'static str)]) -> Option<&'static str> {
    kinds.iter().find(|(begin, _)| text.starts_with(begin)).map(|(_, kind)| *kind)
}

/// The kind of a notice that may begin with a host in brackets. Joins and parts always have a host.
pub(super) fn kind_after_host(
    text: &str,
    (open, close): (char, &str),
    kinds: &[(&'static str, &'static str)],
) -> Option<&'static str> {
    let hosted = text.strip_prefix(open).and_then(|rest| rest.split_once(close));
    let kind = kind_of(hosted.map_or(text, |(_, what)| what), kinds)?;
    (hosted.is_some() || !matches!(kind, "join" | "part")).then_some(kind)
}
