//! A line of a weechat log: `YYYY-MM-DD HH:MM:SS`, a tab, a nick or a mark, a tab, the text.

use jiff::civil::{Date, DateTime};
use roomlog_protocol::Kind;

use super::{
    clock::TimeOfDay,
    log::{Event, Form, is_nick, kind_after_host, without_rank, word},
};

const NOTICES: &[(&str, &str)] = &[
    ("has joined ", "join"),
    ("has left ", "part"),
    ("has quit", "part"),
    ("is now known as ", "nick"),
    ("has kicked ", "kick"),
    ("has changed topic for ", "topic"),
];

/// The date and time of the line.
pub(super) fn begins(line: &str) -> Option<DateTime> {
    line.get(..19)?.parse().ok().filter(|_| form(line).is_some())
}

pub(super) fn parse(line: &str) -> Result<Form<'_>, &'static str> {
    form(line).ok_or("not a line of a weechat log: YYYY-MM-DD HH:MM:SS, a tab, nick, a tab, text")
}

fn form(line: &str) -> Option<Form<'_>> {
    let (stamp, rest) = line.split_once('\t')?;
    let (date, time_text) = stamp.split_once(' ')?;
    // Newer versions may add a fraction.
    let time_text = time_text.split_once('.').map_or(time_text, |(seconds, _)| seconds);
    let time = TimeOfDay::parse(time_text)?;
    let date: Date = (date.len() == 10).then(|| date.parse().ok()).flatten()?;
    let (prefix, message) = rest.split_once('\t')?;
    let event = match prefix.trim() {
        "*" => {
            let (nick, text) = word(message);
            is_nick(nick).then_some((nick, "action", text))
        }
        "-->" | "<--" | "--" => notice(message),
        // Of the program: errors, and lines without a nick.
        "" | "=!=" => None,
        nick => {
            let nick = without_rank(nick);
            Some(is_nick(nick).then_some((nick, Kind::TEXT, message))?)
        }
    };
    Some(event.map_or(Form::Notice, |(nick, kind, text)| {
        Form::Event(Event { date: Some(date), time, time_text, nick, kind, text: text.into() })
    }))
}

/// The nick, kind and text of a notice; `None` if it is the program's own.
fn notice(message: &str) -> Option<(&str, &'static str, &str)> {
    if let Some((nick, text)) = message.strip_prefix("Notice(").and_then(|it| it.split_once("): "))
    {
        return is_nick(nick).then_some((nick, "notice", text));
    }
    if message.starts_with("Mode ") {
        let (_, nick) = message.rsplit_once("] by ")?;
        return is_nick(nick).then_some((nick, "mode", message));
    }
    let (nick, rest) = word(message);
    let kind = kind_after_host(rest, ('(', ") "), NOTICES)?;
    is_nick(nick).then_some((nick, kind, rest))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{
        super::{clock::Clock, item::Line, lines::LineFormat, log::LogReader},
        *,
    };

    #[test]
    fn every_form_is_read() {
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
        let mut weechat = LogReader::new(parse, None, true, Clock::new(TimeZone::UTC));
        let read: Vec<_> = log
            .lines()
            .filter_map(|line| match weechat.line(line) {
                Line::Entry(entry) => {
                    Some((entry.author.to_string(), entry.kind.to_string(), entry.body))
                }
                Line::Skipped => None,
                other => panic!("{other:?}"),
            })
            .collect();
        let read: Vec<_> =
            read.iter().map(|(a, k, b)| (a.as_str(), k.as_str(), b.as_str())).collect();
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
        assert_eq!(read, expected);
    }
}
