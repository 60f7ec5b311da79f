//! A line of a weechat log: `YYYY-MM-DD HH:MM:SS`, a tab, who or what, a tab, the text.
//!
//! Enters: a line. Leaves: an entry on the day of the line.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime};
use roomlog_protocol::Kind;

use super::{
    Line, Lines,
    clock::{Clock, TimeOfDay},
    day::{Day, Said},
    irc::{is_nick, without_rank, word},
};

/// The lines of one file.
pub(super) struct Weechat {
    joins: bool,
    /// What the first day begins with.
    clock: Option<Clock>,
    day: Option<Day>,
}

/// What a line is: its day, and what was said; none when it is the program's own.
type Form<'a> = (Date, Option<Said<'a>>);

impl Weechat {
    pub(super) fn new(joins: bool, clock: Clock) -> Self {
        Self { joins, clock: Some(clock), day: None }
    }
}

impl Lines for Weechat {
    fn line(&mut self, line: &str) -> Line {
        let Some((date, said)) = form(line) else {
            let form = "YYYY-MM-DD HH:MM:SS, a tab, nick, a tab, text";
            return Line::Unreadable(format!("it is no line of a weechat log: {form}"));
        };
        if let Some(clock) = self.clock.take() {
            self.day = Some(Day::new(date, self.joins, clock));
        }
        let (Some(said), Some(day)) = (said, &mut self.day) else { return Line::Skipped };
        day.turn(date);
        day.line(&said)
    }
}

/// Whether it is a line of such a log.
pub(super) fn fits(line: &str) -> bool {
    form(line).is_some()
}

/// The time of the line, with its day.
pub(super) fn begins(line: &str) -> Option<DateTime> {
    line.get(..19)?.parse().ok().filter(|_| fits(line))
}

fn form(line: &str) -> Option<Form<'_>> {
    let (stamp, rest) = line.split_once('\t')?;
    let (date, time_text) = stamp.split_once(' ')?;
    // Newer versions may add a fraction.
    let time_text = time_text.split_once('.').map_or(time_text, |(seconds, _)| seconds);
    let time = TimeOfDay::parse(time_text)?;
    let date: Date = (date.len() == 10).then(|| date.parse().ok()).flatten()?;
    let (prefix, message) = rest.split_once('\t')?;
    let said = |nick, kind, text| Said { time, time_text, nick, kind, text: Cow::Borrowed(text) };
    let said = match prefix.trim() {
        "*" => {
            let (nick, text) = word(message);
            is_nick(nick).then(|| said(nick, "action", text))
        }
        "-->" | "<--" | "--" => event(message).map(|(nick, kind, text)| said(nick, kind, text)),
        // Of the program: errors, and lines without anybody.
        "" | "=!=" => None,
        nick => {
            let nick = without_rank(nick);
            return is_nick(nick).then(|| (date, Some(said(nick, Kind::TEXT, message))));
        }
    };
    Some((date, said))
}

/// Whose a notice is, and what; none when it is the program's own.
fn event(message: &str) -> Option<(&str, &'static str, &str)> {
    if let Some((nick, text)) = message.strip_prefix("Notice(").and_then(|it| it.split_once("): "))
    {
        return is_nick(nick).then_some((nick, "notice", text));
    }
    if message.starts_with("Mode ") {
        let (_, nick) = message.rsplit_once("] by ")?;
        return is_nick(nick).then_some((nick, "mode", message));
    }
    let (nick, rest) = word(message);
    let (hosted, what) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((_, what)) => (true, what),
        None => (false, rest),
    };
    let kind = match what {
        _ if hosted && what.starts_with("has joined ") => "join",
        _ if hosted && (what.starts_with("has left ") || what.starts_with("has quit")) => "part",
        _ if what.starts_with("is now known as ") => "nick",
        _ if what.starts_with("has kicked ") => "kick",
        _ if what.starts_with("has changed topic for ") => "topic",
        _ => return None,
    };
    is_nick(nick).then_some((nick, kind, rest))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn who_said_what_when() {
        let log = "\
2020-03-08 10:59:01\t-->\tmona (~m@h) has joined #tea
2020-03-08 10:59:02\t@mona\thello\ttabs
2020-03-08 10:59:03\t *\tmona waves
2020-03-08 10:59:03\t--\tMode #tea [+o mona] by ops
2020-03-08 10:59:03\t--\tTopic for #tea is \"cups\"
2020-03-08 10:59:03\t--\tNotice(ops): hear
2020-03-09 00:00:00\t--\tmona is now known as mo
2020-03-09 00:00:01\t<--\tmo (~m@h) has quit (Ping)
2020-03-09 00:00:02\ttheo\t";
        let mut weechat = Weechat::new(true, Clock::new(TimeZone::UTC));
        let told: Vec<_> = log
            .lines()
            .filter_map(|line| match weechat.line(line) {
                Line::Entry(told) => {
                    Some((told.author.to_string(), told.kind.to_string(), told.body))
                }
                Line::Skipped => None,
                other => panic!("{other:?}"),
            })
            .collect();
        let told: Vec<_> =
            told.iter().map(|(a, k, b)| (a.as_str(), k.as_str(), b.as_str())).collect();
        let expected = [
            ("mona", "join", "(~m@h) has joined #tea"),
            ("mona", "text", "hello\ttabs"),
            ("mona", "action", "waves"),
            ("ops", "mode", "Mode #tea [+o mona] by ops"),
            ("ops", "notice", "hear"),
            ("mona", "nick", "is now known as mo"),
            ("mo", "part", "(~m@h) has quit (Ping)"),
            ("theo", "text", ""),
        ];
        assert_eq!(told, expected);
    }
}
