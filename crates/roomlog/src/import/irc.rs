//! A line of an IRC log with times in square brackets: ours, ZNC's, energymech's and eggdrop's.
//!
//! Enters: a line, and the date of its file. Leaves: an entry. Invariant: the forms of these programs exclude each
//! other, so a line means one thing whoever wrote it; what has none of the forms is refused, not guessed.

use std::borrow::Cow;

use jiff::civil::Date;
use roomlog_protocol::Kind;

use super::{
    Line, Lines,
    clock::{Clock, TimeOfDay},
    day::{Day, Said},
    eggdrop,
};

/// Marks of a rank that stand before a nick and are no part of one.
pub(super) const RANKS: &[char] = &['@', '+', '%', '&', '~', '!'];

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
enum Form<'a> {
    Said(Said<'a>),
    /// A notice of the program, which is nobody's.
    Notice,
    /// Eggdrop's mark that a day begins.
    Day(Date),
}

/// The lines of one file.
pub(super) struct Irc(Day);

impl Irc {
    pub(super) fn new(date: Date, joins: bool, clock: Clock) -> Self {
        Self(Day::new(date, joins, clock))
    }
}

impl Lines for Irc {
    fn line(&mut self, line: &str) -> Line {
        match form(line) {
            Ok(Form::Said(said)) => self.0.line(&said),
            Ok(Form::Notice) => Line::Skipped,
            Ok(Form::Day(date)) => {
                self.0.turn(date);
                Line::Skipped
            }
            Err(why) => Line::Unreadable(why),
        }
    }
}

/// Whether it is a line of such a log.
pub(super) fn fits(line: &str) -> bool {
    form(line).is_ok()
}

/// The day that the line says begins.
pub(super) fn day(line: &str) -> Option<Date> {
    match form(line) {
        Ok(Form::Day(date)) => Some(date),
        _ => None,
    }
}

fn form(line: &str) -> Result<Form<'_>, String> {
    let none = || "it is no line of an IRC log: [HH:MM] <nick> text".to_owned();
    let (time_text, rest) =
        line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).ok_or_else(none)?;
    let time = TimeOfDay::parse(time_text).ok_or_else(none)?;
    let said = |nick, kind, text| {
        Form::Said(Said { time, time_text, nick, kind, text: Cow::Borrowed(text) })
    };
    if let Some(notice) = rest.strip_prefix("*** ") {
        return Ok(match star_notice(notice) {
            Some((nick, kind, text)) => Form::Said(Said { time, time_text, nick, kind, text }),
            None => Form::Notice,
        });
    }
    if let Some(action) = rest.strip_prefix("* ") {
        let (nick, text) = word(action);
        if is_mirc_notice(action) {
            return Err("it reads like a notice of mIRC, and mIRC's logs are not read".into());
        }
        return Ok(said(nick, "action", text));
    }
    if let Some(rest) = rest.strip_prefix('<') {
        let (nick, text) = rest.split_once('>').ok_or_else(none)?;
        return Ok(said(without_rank(nick), Kind::TEXT, text.strip_prefix(' ').unwrap_or(text)));
    }
    if let Some(rest) = rest.strip_prefix("--- ") {
        return eggdrop::day(rest).map(Form::Day).ok_or_else(none);
    }
    if let Some((target, text)) = rest.strip_prefix('-').and_then(|rest| rest.split_once("- ")) {
        // `-nick- text` of ZNC, `-nick:#channel- text` of eggdrop.
        let nick = target.split_once(':').map_or(target, |(nick, _)| nick);
        return if is_nick(nick) { Ok(said(nick, "notice", text)) } else { Err(none()) };
    }
    if rest.starts_with("Connected to IRC") || rest.starts_with("Disconnected from IRC") {
        return Ok(Form::Notice);
    }
    let (nick, kind, text) = eggdrop::form(rest).ok_or_else(none)?;
    Ok(said(nick, kind, text))
}

/// What follows `***`: whose it is, and what; none where it is nobody's for certain, such as `Topic: …`.
fn star_notice(notice: &str) -> Option<(&str, &'static str, Cow<'_, str>)> {
    let (first, text) = word(notice);
    let (kind, verb) = match first {
        "Joins:" => ("join", "joined"),
        "Parts:" => ("part", "left"),
        "Quits:" => ("part", "quit"),
        nick => {
            let kind = notice_kind(text)?;
            return is_nick(nick).then_some((nick, kind, Cow::Borrowed(text)));
        }
    };
    let (nick, rest) = word(text);
    let body = format!("{verb} {rest}").trim_end().to_owned();
    is_nick(nick).then_some((nick, kind, Cow::Owned(body)))
}

/// A date in English.
pub(super) fn date(day: &str, month: &str, year: &str) -> Option<Date> {
    const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let month = MONTHS.split(' ').position(|name| name == month)? + 1;
    Date::new(year.parse().ok()?, i8::try_from(month).ok()?, day.parse().ok()?).ok()
}

pub(super) fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

pub(super) fn without_rank(nick: &str) -> &str {
    nick.trim_start_matches(RANKS)
}

/// Whether IRC allows it as a nick, or a server's name where one stands for a nick.
pub(super) fn is_nick(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "-_[]\\`^{}|.".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

/// Whether it is a notice of mIRC, which writes them as it writes actions.
pub(super) fn is_of_mirc(line: &str) -> bool {
    let action = line.strip_prefix('[').and_then(|rest| rest.split_once("] * "));
    action.is_some_and(|(_, action)| is_mirc_notice(action))
}

fn is_mirc_notice(action: &str) -> bool {
    const OF_ITSELF: &[&str] = &[
        "Joins: ",
        "Parts: ",
        "Quits: ",
        "Now talking in #",
        "Topic is '",
        "Set by ",
        "Disconnected",
    ];
    const OF_A_NICK: &[&str] = &[
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
    begins(action, OF_ITSELF) || (is_nick(nick) && (renamed || begins(what, OF_A_NICK)))
}

fn notice_kind(text: &str) -> Option<&'static str> {
    let begins = |with: &str| text.starts_with(with);
    match text {
        _ if begins("joined") => Some("join"),
        _ if begins("left") || begins("quit") => Some("part"),
        _ if begins("is now known as ") => Some("nick"),
        _ if begins("sets mode") => Some("mode"),
        _ if begins("changes topic") => Some("topic"),
        _ if begins("was kicked") => Some("kick"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::import::Told;

    fn day(joins: bool) -> Irc {
        on("2015-12-24", joins)
    }

    fn on(date: &str, joins: bool) -> Irc {
        Irc::new(date.parse().expect("a date"), joins, Clock::new(TimeZone::UTC))
    }

    fn told(line: &str) -> Told {
        match day(true).line(line) {
            Line::Entry(told) => *told,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn parts(line: &str) -> (String, String, String) {
        let told = told(line);
        (told.kind.to_string(), told.author.to_string(), told.body)
    }

    fn entry(kind: &str, author: &str, body: &str) -> (String, String, String) {
        (kind.into(), author.into(), body.into())
    }

    #[test]
    fn what_is_said_done_and_noticed_is_told_apart() {
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
    fn a_text_is_kept_as_it_is() {
        assert_eq!(parts("[10:59] <ada> "), entry("text", "ada", ""));
        assert_eq!(parts("[10:59] <ada>"), entry("text", "ada", ""));
        assert_eq!(parts("[10:59] <ada>  \ttwo "), entry("text", "ada", " \ttwo "));
        assert_eq!(parts("[10:59] <ada> <bo> hi > all"), entry("text", "ada", "<bo> hi > all"));
        assert_eq!(parts("[10:59] <a[b]> * x"), entry("text", "a[b]", "* x"));
        assert_eq!(parts("[10:59] * ada"), entry("action", "ada", ""));
        assert_eq!(parts("[10:59] <ada> *** bo joined"), entry("text", "ada", "*** bo joined"));
    }

    #[test]
    fn times_are_utc_of_the_files_day() {
        assert_eq!(told("[00:00] <ada> x").sent_at, Some(1_450_915_200_000));
        assert_eq!(told("[23:59:59] <ada> x").sent_at, Some(1_451_001_599_000));
    }

    #[test]
    fn joins_are_left_out_unless_asked_for() {
        assert_eq!(day(false).line("[10:59] *** ada joined"), Line::Skipped);
    }

    #[test]
    fn what_fits_no_pattern_is_said_and_not_guessed() {
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
    fn equal_lines_of_a_day_have_ids_of_their_own_and_always_the_same() {
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
            let told = lines.iter().filter_map(|line| match day.line(line) {
                Line::Entry(told) => Some((told.id, told.said_again)),
                _ => None,
            });
            told.collect::<Vec<_>>()
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
    fn another_day_gives_other_ids() {
        let mut other = on("2015-12-25", false);
        let Line::Entry(next) = other.line("[10:59] <ada> hello") else { panic!("no entry") };
        assert_ne!(next.id, told("[10:59] <ada> hello").id);
    }

    #[test]
    fn the_notices_of_znc_and_energymech_are_those_of_a_nick() {
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
    fn the_forms_of_eggdrop_are_told_apart() {
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
    fn what_no_nick_did_is_nobodys() {
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
