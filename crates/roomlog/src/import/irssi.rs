//! A line of an irssi log.
//!
//! ```text
//!  --- Log opened Sun Mar 08 10:58:59 2020        the day, as `--- Day changed Mon Mar 09 2020` is
//!  10:59 < mona> hello    10:59 <@mona> hello     10:59  * mona waves
//!  10:59 -!- mona [~m@h] has joined #tea          10:59 -ops:#tea- hear
//! ```
//!
//! Enters: a line. Leaves: an entry on the day that the lines before have named. Invariant: a line before any day
//! is refused.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime};
use roomlog_protocol::Kind;

use super::{
    Line, Lines,
    clock::{Clock, TimeOfDay},
    day::{Day, Said},
    irc::{self, is_nick, without_rank, word},
};

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
enum Form<'a> {
    Said(Said<'a>),
    /// A notice of the program, which is nobody's.
    Notice,
    /// A day begins, or a log ends on it.
    Day(Date),
}

/// The lines of one file.
pub(super) struct Irssi {
    joins: bool,
    /// What a day begins with; taken by the first one.
    clock: Option<Clock>,
    day: Option<Day>,
}

impl Irssi {
    /// The lines before one that names a day are of this date.
    pub(super) fn new(date: Option<Date>, joins: bool, clock: Clock) -> Self {
        let mut irssi = Self { joins, clock: Some(clock), day: None };
        if let Some(date) = date {
            irssi.turn(date);
        }
        irssi
    }

    fn turn(&mut self, date: Date) {
        match (&mut self.day, self.clock.take()) {
            (None, Some(clock)) => self.day = Some(Day::new(date, self.joins, clock)),
            (Some(day), _) => day.turn(date),
            (None, None) => {}
        }
    }
}

impl Lines for Irssi {
    fn line(&mut self, line: &str) -> Line {
        match form(line) {
            Some(Form::Day(date)) => {
                self.turn(date);
                Line::Skipped
            }
            Some(Form::Notice) => Line::Skipped,
            Some(Form::Said(said)) => match &mut self.day {
                Some(day) => day.line(&said),
                None => Line::Unreadable("no line before it says which day it is".into()),
            },
            None => Line::Unreadable("it is no line of an irssi log: HH:MM <nick> text".into()),
        }
    }
}

/// Whether it is a line of such a log.
pub(super) fn fits(line: &str) -> bool {
    form(line).is_some()
}

/// The time that a line names together with its day.
pub(super) fn begins(line: &str) -> Option<DateTime> {
    line.strip_prefix("--- ").and_then(mark_of_day)
}

fn form(line: &str) -> Option<Form<'_>> {
    if let Some(mark) = line.strip_prefix("--- ") {
        return mark_of_day(mark).map(|begins| Form::Day(begins.date()));
    }
    let (time_text, rest) = line.split_once(' ')?;
    let time = TimeOfDay::parse(time_text)?;
    let said = |nick, kind, text| {
        Some(Form::Said(Said { time, time_text, nick, kind, text: Cow::Borrowed(text) }))
    };
    if let Some(notice) = rest.strip_prefix("-!- ") {
        let of = event(notice);
        return of.map_or(Some(Form::Notice), |(nick, kind)| said(nick, kind, notice));
    }
    if let Some(action) = rest.strip_prefix(" * ") {
        let (nick, text) = word(action);
        return is_nick(nick).then(|| said(nick, "action", text)).flatten();
    }
    if let Some((target, text)) = rest.strip_prefix('-').and_then(|rest| rest.split_once("- ")) {
        let nick = target.split_once([':', '(']).map_or(target, |(nick, _)| nick);
        return is_nick(nick).then(|| said(nick, "notice", text)).flatten();
    }
    let (nick, text) = rest.strip_prefix('<')?.split_once('>')?;
    let nick = without_rank(nick.strip_prefix(' ').unwrap_or(nick));
    said(nick, Kind::TEXT, text.strip_prefix(' ').unwrap_or(text))
}

/// `Log opened Sun Mar 08 10:58:59 2020`, `Log closed …`, `Day changed Sun Mar 08 2020`.
fn mark_of_day(mark: &str) -> Option<DateTime> {
    let words: Vec<_> = mark.split_ascii_whitespace().collect();
    match words[..] {
        ["Log", "opened" | "closed", _, month, day, time, year] => {
            Some(TimeOfDay::parse(time)?.on(irc::date(day, month, year)?))
        }
        ["Day", "changed", _, month, day, year] => {
            irc::date(day, month, year).map(|date| date.at(0, 0, 0, 0))
        }
        _ => None,
    }
}

/// Whose a notice is, and what; none when it is the program's own.
fn event(notice: &str) -> Option<(&str, &'static str)> {
    let (first, rest) = word(notice);
    if first.starts_with("mode/") {
        let (_, by) = rest.rsplit_once("] by ")?;
        // Several who did the same at once stand with commas between them.
        let (nick, _) = by.split_once(',').unwrap_or((by, ""));
        return is_nick(nick).then_some((nick, "mode"));
    }
    let rest_of_host = rest.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let (hosted, what) = rest_of_host.map_or((false, rest), |(_, what)| (true, what));
    let kind = match what {
        _ if hosted && what.starts_with("has joined ") => "join",
        _ if hosted && (what.starts_with("has left ") || what.starts_with("has quit")) => "part",
        _ if what.starts_with("is now known as ") => "nick",
        _ if what.starts_with("was kicked from ") => "kick",
        _ if what.starts_with("changed the topic of ") => "topic",
        _ => return None,
    };
    is_nick(first).then_some((first, kind))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    const LOG: &str = "\
--- Log opened Sun Mar 08 23:58:59 2020
23:59 -!- mona [~m@h] has joined #tea
23:59 -!- Irssi: #tea: Total of 2 nicks [1 ops, 0 halfops, 0 voices, 1 normal]
23:59 < mona> hello
23:59 <@ops>  two
23:59  * mona waves
23:59 -ops:#tea- hear
23:59 -!- mode/#tea [+o mona] by ops
--- Day changed Mon Mar 09 2020
00:00 -!- mona is now known as mo
00:00 -!- mo was kicked from #tea by ops [spam]
00:01 <+theo> <b> c
--- Log closed Mon Mar 09 00:02:00 2020";

    fn told(log: &str, joins: bool) -> Vec<(String, String, String, Option<u64>)> {
        let mut irssi = Irssi::new(None, joins, Clock::new(TimeZone::UTC));
        let entry = |line| match irssi.line(line) {
            Line::Entry(told) => {
                Some((told.author.to_string(), told.kind.to_string(), told.body, told.sent_at))
            }
            Line::Skipped => None,
            other => panic!("{line}: {other:?}"),
        };
        log.lines().filter_map(entry).collect()
    }

    #[test]
    fn what_is_said_is_on_its_day() {
        let expect = |author: &str, kind: &str, body: &str, at| {
            (author.to_owned(), kind.to_owned(), body.to_owned(), Some(at))
        };
        let before = 1_583_711_940_000;
        assert_eq!(
            told(LOG, false),
            [
                expect("mona", "text", "hello", before),
                expect("ops", "text", " two", before),
                expect("mona", "action", "waves", before),
                expect("theo", "text", "<b> c", before + 120_000),
            ]
        );
    }

    #[test]
    fn a_notice_is_its_nicks() {
        let all = told(LOG, true);
        let notices = all.iter().filter(|told| !["text", "action"].contains(&&*told.1));
        let notices: Vec<_> =
            notices.map(|(nick, kind, ..)| (nick.as_str(), kind.as_str())).collect();
        let expected = [
            ("mona", "join"),
            ("ops", "notice"),
            ("ops", "mode"),
            ("mona", "nick"),
            ("mo", "kick"),
        ];
        assert_eq!(notices, expected);
    }

    #[test]
    fn a_line_before_any_day_is_refused() {
        let mut irssi = Irssi::new(None, false, Clock::new(TimeZone::UTC));
        assert!(matches!(irssi.line("10:59 < mona> hello"), Line::Unreadable(_)));
        assert!(matches!(irssi.line("hello"), Line::Unreadable(_)));
    }
}
