//! A line of an irssi log.
//!
//! ```text
//!  --- Log opened Sun Mar 08 10:58:59 2020        --- Day changed Mon Mar 09 2020
//!  10:59 < mona> hello    10:59 <@mona> hello     10:59  * mona waves
//!  10:59 -!- mona [~m@h] has joined #tea          10:59 -ops:#tea- hear
//! ```

use std::borrow::Cow;

use jiff::civil::DateTime;
use roomlog_protocol::Kind;

use super::{
    clock::TimeOfDay,
    log::{Event, Form, date, is_nick, kind_after_host, without_rank, word},
};

const NOTICES: &[(&str, &str)] = &[
    ("has joined ", "join"),
    ("has left ", "part"),
    ("has quit", "part"),
    ("is now known as ", "nick"),
    ("was kicked from ", "kick"),
    ("changed the topic of ", "topic"),
];

/// The time of a line that sets the date.
pub(super) fn begins(line: &str) -> Option<DateTime> {
    line.strip_prefix("--- ").and_then(date_mark)
}

pub(super) fn parse(line: &str) -> Result<Form<'_>, &'static str> {
    form(line).ok_or("not a line of an irssi log: HH:MM <nick> text")
}

fn form(line: &str) -> Option<Form<'_>> {
    if line.starts_with("--- ") {
        return begins(line).map(|begins| Form::Date(begins.date()));
    }
    let (time_text, rest) = line.split_once(' ')?;
    let time = TimeOfDay::parse(time_text)?;
    let event = |nick, kind, text| {
        Form::Event(Event { date: None, time, time_text, nick, kind, text: Cow::Borrowed(text) })
    };
    if let Some(text) = rest.strip_prefix("-!- ") {
        return Some(notice(text).map_or(Form::Notice, |(nick, kind)| event(nick, kind, text)));
    }
    if let Some(action) = rest.strip_prefix(" * ") {
        let (nick, text) = word(action);
        return is_nick(nick).then(|| event(nick, "action", text));
    }
    if let Some((target, text)) = rest.strip_prefix('-').and_then(|rest| rest.split_once("- ")) {
        let nick = target.split_once([':', '(']).map_or(target, |(nick, _)| nick);
        return is_nick(nick).then(|| event(nick, "notice", text));
    }
    let (nick, text) = rest.strip_prefix('<')?.split_once('>')?;
    let nick = without_rank(nick.strip_prefix(' ').unwrap_or(nick));
    Some(event(nick, Kind::TEXT, text.strip_prefix(' ').unwrap_or(text)))
}

/// `Log opened Sun Mar 08 10:58:59 2020`, `Log closed …`, `Day changed Sun Mar 08 2020`.
fn date_mark(mark: &str) -> Option<DateTime> {
    let words: Vec<_> = mark.split_ascii_whitespace().collect();
    match words[..] {
        ["Log", "opened" | "closed", _, month, day, time, year] => {
            Some(TimeOfDay::parse(time)?.on(date(day, month, year)?))
        }
        ["Day", "changed", _, month, day, year] => {
            date(day, month, year).map(|date| date.at(0, 0, 0, 0))
        }
        _ => None,
    }
}

/// The nick and kind of a notice; `None` if it is the program's own.
fn notice(text: &str) -> Option<(&str, &'static str)> {
    let (first, rest) = word(text);
    if first.starts_with("mode/") {
        let (_, by) = rest.rsplit_once("] by ")?;
        // Nicks that did the same are listed with commas.
        let (nick, _) = by.split_once(',').unwrap_or((by, ""));
        return is_nick(nick).then_some((nick, "mode"));
    }
    let kind = kind_after_host(rest, ('[', "] "), NOTICES)?;
    is_nick(first).then_some((first, kind))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{
        super::{clock::Clock, item::Line, lines::LineFormat, log::LogReader},
        *,
    };

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

    fn read(log: &str, joins: bool) -> Vec<(String, String, String, Option<u64>)> {
        let mut irssi = LogReader::new(parse, None, joins, Clock::new(TimeZone::UTC));
        let entry = |line| match irssi.line(line) {
            Line::Entry(entry) => {
                Some((entry.author.to_string(), entry.kind.to_string(), entry.body, entry.sent_at))
            }
            Line::Skipped => None,
            other => panic!("{line}: {other:?}"),
        };
        log.lines().filter_map(entry).collect()
    }

    #[test]
    fn entries_are_on_the_date_of_the_log() {
        let expect = |author: &str, kind: &str, body: &str, at| {
            (author.to_owned(), kind.to_owned(), body.to_owned(), Some(at))
        };
        let before = 1_583_711_940_000;
        assert_eq!(
            read(LOG, false),
            [
                expect("mona", "text", "hello", before),
                expect("ops", "text", " two", before),
                expect("mona", "action", "waves", before),
                expect("theo", "text", "<b> c", before + 120_000),
            ]
        );
    }

    #[test]
    fn a_notice_has_the_nick_it_is_about() {
        let all = read(LOG, true);
        let notices = all.iter().filter(|entry| !["text", "action"].contains(&&*entry.1));
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
    fn a_line_before_any_date_is_unreadable() {
        let mut irssi = LogReader::new(parse, None, false, Clock::new(TimeZone::UTC));
        assert!(matches!(irssi.line("10:59 < mona> hello"), Line::Unreadable(_)));
        assert!(matches!(irssi.line("hello"), Line::Unreadable(_)));
    }
}
