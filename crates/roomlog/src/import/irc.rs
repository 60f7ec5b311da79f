//! A line of an IRC log with times in square brackets, such as those of ZNC, energymech and
//! eggdrop.
//!
//! Input: a line. Output: its form. The forms of these programs exclude each other, so a line means
//! the same whichever program wrote it; a line of no form is rejected, not guessed.

use std::borrow::Cow;

use jiff::civil::Date;
use roomlog_protocol::Kind;

use super::{
    clock::TimeOfDay,
    log::{self, Event, Form, is_nick, kind_of, without_rank, word},
};

const NO_FORM: &str = "not a line of an IRC log: [HH:MM] <nick> text";

/// How notices of a nick begin after `***`.
const NOTICES: &[(&str, &str)] = &[
    ("joined", "join"),
    ("left", "part"),
    ("quit", "part"),
    ("is now known as ", "nick"),
    ("sets mode", "mode"),
    ("changes topic", "topic"),
    ("was kicked", "kick"),
];

/// The date, if the line is eggdrop's mark of a new one.
pub(super) fn date(line: &str) -> Option<Date> {
    match parse(line) {
        Ok(Form::Date(date)) => Some(date),
        _ => None,
    }
}

pub(super) fn parse(line: &str) -> Result<Form<'_>, &'static str> {
    let (time_text, rest) =
        line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).ok_or(NO_FORM)?;
    let time = TimeOfDay::parse(time_text).ok_or(NO_FORM)?;
    let event =
        |nick, kind, text| Form::Event(Event { date: None, time, time_text, nick, kind, text });
    if let Some(notice) = rest.strip_prefix("*** ") {
        let of = star_notice(notice);
        return Ok(of.map_or(Form::Notice, |(nick, kind, text)| event(nick, kind, text)));
    }
    if let Some(action) = rest.strip_prefix("* ") {
        if is_mirc_notice(action) {
            return Err("it looks like a notice of mIRC, whose logs are not supported");
        }
        let (nick, text) = word(action);
        return Ok(event(nick, "action", text.into()));
    }
    if let Some(rest) = rest.strip_prefix('<') {
        let (nick, text) = rest.split_once('>').ok_or(NO_FORM)?;
        let text = text.strip_prefix(' ').unwrap_or(text);
        return Ok(event(without_rank(nick), Kind::TEXT, text.into()));
    }
    if let Some(rest) = rest.strip_prefix("--- ") {
        return eggdrop_date(rest).map(Form::Date).ok_or(NO_FORM);
    }
    if let Some((target, text)) = rest.strip_prefix('-').and_then(|rest| rest.split_once("- ")) {
        // `-nick- text` of ZNC, `-nick:#channel- text` of eggdrop.
        let nick = target.split_once(':').map_or(target, |(nick, _)| nick);
        return is_nick(nick).then(|| event(nick, "notice", text.into())).ok_or(NO_FORM);
    }
    if rest.starts_with("Connected to IRC") || rest.starts_with("Disconnected from IRC") {
        return Ok(Form::Notice);
    }
    let (nick, kind, text) = eggdrop_form(rest).ok_or(NO_FORM)?;
    Ok(event(nick, kind, text.into()))
}

/// The nick, kind and text after `***`; `None` if it may not be of a nick, such as `Topic: …`.
fn star_notice(notice: &str) -> Option<(&str, &'static str, Cow<'_, str>)> {
    let (first, text) = word(notice);
    let (kind, verb) = match first {
        "Joins:" => ("join", "joined"),
        "Parts:" => ("part", "left"),
        "Quits:" => ("part", "quit"),
        nick => {
            let kind = kind_of(text, NOTICES)?;
            return is_nick(nick).then_some((nick, kind, Cow::Borrowed(text)));
        }
    };
    let (nick, rest) = word(text);
    let body = format!("{verb} {rest}").trim_end().to_owned();
    is_nick(nick).then_some((nick, kind, Cow::Owned(body)))
}

/// Whether it is a notice of mIRC, which has the form of an action.
pub(super) fn is_of_mirc(line: &str) -> bool {
    let action = line.strip_prefix('[').and_then(|rest| rest.split_once("] * "));
    action.is_some_and(|(_, action)| is_mirc_notice(action))
}

fn is_mirc_notice(action: &str) -> bool {
    const OF_PROGRAM: &[&str] = &[
        "Joins: ",
        "Parts: ",
        "Quits: ",
        "Now talking in #",
        "Topic is '",
        "Set by ",
        "Disconnected",
    ];
    const OF_NICK: &[&str] = &[
        "sets mode: ",
        "was kicked by ",
        "changes topic to '",
        "has joined #",
        "has left #",
        "Quit (",
    ];
    let begins = |text: &str, with: &[&str]| with.iter().any(|form| text.starts_with(form));
    let (nick, text) = word(action);
    let hosted = text.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let what = hosted.filter(|(host, _)| host.contains('@')).map_or(text, |(_, what)| what);
    let renamed = text.strip_prefix("is now known as ").is_some_and(is_nick);
    begins(action, OF_PROGRAM) || (is_nick(nick) && (renamed || begins(what, OF_NICK)))
}

/// The forms of eggdrop without a mark.
fn eggdrop_form(rest: &str) -> Option<(&str, &'static str, &str)> {
    let (nick, kind, text) = if let Some(action) = rest.strip_prefix("Action: ") {
        let (nick, text) = word(action);
        (nick, "action", text)
    } else if let Some(change) = rest.strip_prefix("Nick change: ") {
        (change.split_once(" -> ")?.0, "nick", change)
    } else if let Some(topic) = rest.strip_prefix("Topic changed on ") {
        let (who, text) = topic.split_once(" by ")?.1.split_once(": ")?;
        (nick_of(who), "topic", text)
    } else if let Some((channel, change)) = rest.split_once(": mode change ") {
        let (_, by) = change.rsplit_once("' by ").filter(|_| channel.starts_with('#'))?;
        (nick_of(by), "mode", change)
    } else if let Some((nick, text)) =
        rest.split_once(" kicked from ").filter(|(nick, _)| is_nick(nick))
    {
        (text.starts_with('#').then_some(nick)?, "kick", text)
    } else {
        let (nick, text) = rest.split_once(' ')?;
        let (host, what) = text.strip_prefix('(')?.split_once(") ")?;
        let kind = match word(what) {
            ("joined", to) if to.starts_with('#') => "join",
            ("left", from) if from.starts_with('#') || from.starts_with("irc:") => "part",
            _ => return None,
        };
        (host.contains('@').then_some(nick)?, kind, text)
    };
    is_nick(nick).then_some((nick, kind, text))
}

/// The nick of `nick!user@host`.
fn nick_of(who: &str) -> &str {
    who.split_once('!').map_or(who, |(nick, _)| nick)
}

/// `Sun Mar  8 2020`, after eggdrop's mark of a new date.
fn eggdrop_date(text: &str) -> Option<Date> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [_, month, day, year] = words[..] else { return None };
    log::date(day, month, year)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{
        super::{
            clock::Clock,
            item::{Imported, Line},
            lines::LineFormat,
            log::LogReader,
        },
        *,
    };

    fn day(joins: bool) -> LogReader {
        on("2015-12-24", joins)
    }

    fn on(date: &str, joins: bool) -> LogReader {
        let date = date.parse().expect("a date");
        LogReader::new(parse, Some(date), joins, Clock::new(TimeZone::UTC))
    }

    fn read(line: &str) -> Imported {
        match day(true).line(line) {
            Line::Entry(entry) => *entry,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn parts(line: &str) -> (String, String, String) {
        let entry = read(line);
        (entry.kind.to_string(), entry.author.to_string(), entry.body)
    }

    fn entry(kind: &str, author: &str, body: &str) -> (String, String, String) {
        (kind.into(), author.into(), body.into())
    }

    #[test]
    fn texts_actions_and_notices_are_distinguished() {
        assert_eq!(parts("[10:59] <ada> hello"), entry("text", "ada", "hello"));
        assert_eq!(parts("[10:59:07] * ada waves"), entry("action", "ada", "waves"));
        assert_eq!(parts("[10:59] *** ada joined"), entry("join", "ada", "joined"));
        assert_eq!(parts("[10:59] *** ada left"), entry("part", "ada", "left"));
        let renamed = entry("nick", "ada", "is now known as ada_");
        assert_eq!(parts("[10:59] *** ada is now known as ada_"), renamed);
        let kicked = entry("kick", "lnr", "was kicked by masak (lnr))");
        assert_eq!(parts("[21:47] *** lnr was kicked by masak (lnr))"), kicked);
    }

    #[test]
    fn a_text_is_kept_unchanged() {
        assert_eq!(parts("[10:59] <ada> "), entry("text", "ada", ""));
        assert_eq!(parts("[10:59] <ada>"), entry("text", "ada", ""));
        assert_eq!(parts("[10:59] <ada>  \ttwo "), entry("text", "ada", " \ttwo "));
        assert_eq!(parts("[10:59] <ada> <bo> hi > all"), entry("text", "ada", "<bo> hi > all"));
        assert_eq!(parts("[10:59] <a[b]> * x"), entry("text", "a[b]", "* x"));
        assert_eq!(parts("[10:59] * ada"), entry("action", "ada", ""));
        assert_eq!(parts("[10:59] <ada> *** bo joined"), entry("text", "ada", "*** bo joined"));
    }

    #[test]
    fn times_are_utc_on_the_date_of_the_file() {
        assert_eq!(read("[00:00] <ada> x").sent_at, Some(1_450_915_200_000));
        assert_eq!(read("[23:59:59] <ada> x").sent_at, Some(1_451_001_599_000));
    }

    #[test]
    fn joins_are_skipped_by_default() {
        assert_eq!(day(false).line("[10:59] *** ada joined"), Line::Skipped);
    }

    #[test]
    fn a_line_of_no_form_is_unreadable() {
        for line in [
            "hello",
            "[10:59] hello",
            "[10:59]<ada> hello",
            "[24:00] <ada> hello",
            "[10:60] <ada> hello",
            "[10:59:60] <ada> hello",
            "[1:59] <ada> hello",
            "[10:59:01:02] <ada> hello",
            "[10:59] <ada hello",
            "[10:59] <> hello",
            "[10:59] < ada> hello",
            "[10:59] <a\tb> hello",
        ] {
            assert!(matches!(day(true).line(line), Line::Unreadable(_)), "{line:?}");
        }
    }

    #[test]
    fn equal_lines_of_a_day_have_distinct_and_stable_ids() {
        let ids = |joins| {
            let mut day = day(joins);
            let lines = [
                "[10:59] *** ada joined",
                "[10:59] <ada> joined",
                "[10:59] <ada> joined",
                "[10:59] * ada joined",
                "[10:59:00] <ada> joined",
                "[11:00] <ada> joined",
            ];
            let entries = lines.iter().filter_map(|line| match day.line(line) {
                Line::Entry(entry) => Some((entry.id, entry.duplicate)),
                _ => None,
            });
            entries.collect::<Vec<_>>()
        };
        let (without, with) = (ids(false), ids(true));
        assert_eq!(with[1..], without, "joins change no other id");
        let mut distinct: Vec<_> = with.iter().map(|(id, _)| id).collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 6);
        assert_eq!(with.iter().filter(|(_, again)| *again).count(), 1);
        assert_eq!(without[0].0.as_str(), "fb848c49f3888006f59e749d46d09c31", "an id is a promise");
    }

    #[test]
    fn the_date_is_part_of_the_id() {
        let mut other = on("2015-12-25", false);
        let Line::Entry(next) = other.line("[10:59] <ada> hello") else { panic!("no entry") };
        assert_ne!(next.id, read("[10:59] <ada> hello").id);
    }

    #[test]
    fn notices_of_znc_and_energymech_have_a_nick() {
        assert_eq!(
            parts("[10:59:01] *** Joins: mona (~m@h)"),
            entry("join", "mona", "joined (~m@h)")
        );
        assert_eq!(
            parts("[10:59:01] *** Parts: mona (~m@h) (\"bye\")"),
            entry("part", "mona", "left (~m@h) (\"bye\")")
        );
        assert_eq!(
            parts("[10:59:01] *** Quits: theo (t@h) (Ping)"),
            entry("part", "theo", "quit (t@h) (Ping)")
        );
        assert_eq!(
            parts("[10:59:01] -ops- the server restarts"),
            entry("notice", "ops", "the server restarts")
        );
        assert_eq!(parts("[10:59:01] <@mona> hello"), entry("text", "mona", "hello"));
    }

    #[test]
    fn the_forms_of_eggdrop_are_distinguished() {
        assert_eq!(parts("[10:59] Action: mona waves"), entry("action", "mona", "waves"));
        let joined = entry("join", "mona", "(~m@h) joined #tea.");
        assert_eq!(parts("[10:59] mona (~m@h) joined #tea."), joined);
        let left = entry("part", "mona", "(~m@h) left irc: Ping timeout");
        assert_eq!(parts("[10:59] mona (~m@h) left irc: Ping timeout"), left);
        assert_eq!(parts("[10:59] Nick change: mona -> mo"), entry("nick", "mona", "mona -> mo"));
        let mode = entry("mode", "ops", "'+o mona' by ops!o@h");
        assert_eq!(parts("[10:59] #tea: mode change '+o mona' by ops!o@h"), mode);
        let topic = entry("topic", "ops", "cups: two");
        assert_eq!(parts("[10:59] Topic changed on #tea by ops!o@h: cups: two"), topic);
        let kick = entry("kick", "theo", "#tea by ops: spam");
        assert_eq!(parts("[10:59] theo kicked from #tea by ops: spam"), kick);
        assert_eq!(parts("[10:59] -ops:#tea- hear"), entry("notice", "ops", "hear"));
        let mut day = day(false);
        assert_eq!(day.line("[00:00] --- Fri Dec 25 2015"), Line::Skipped);
        let Line::Entry(next) = day.line("[00:01] <ada> x") else { panic!("no entry") };
        assert_eq!(next.sent_at, Some(1_451_001_660_000));
    }

    #[test]
    fn notices_without_a_nick_are_skipped() {
        for line in [
            "Disconnected from IRC (h)",
            "*** Topic: tea",
            "*** Now talking in #tea",
            "*** Joins: (~m@h)",
        ] {
            assert_eq!(day(true).line(&format!("[10:59] {line}")), Line::Skipped, "{line}");
        }
        for action in [
            "mona (~m@h) has joined #tea",
            "mona (~m@h) Quit (bye)",
            "Joins: mona (~m@h)",
            "mona sets mode: +o theo",
            "mona is now known as mo",
            "Now talking in #tea",
        ] {
            let mirc = day(true).line(&format!("[10:59] * {action}"));
            assert!(matches!(mirc, Line::Unreadable(why) if why.contains("mIRC")), "{action}");
        }
        assert_eq!(parts("[10:59] * mona (re)builds"), entry("action", "mona", "(re)builds"));
    }
}
