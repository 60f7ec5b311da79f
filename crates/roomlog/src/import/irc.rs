//! A line of an IRC log.
//!
//! Enters: a line, and the date of its file. Leaves: an entry whose id tells it from every other line
//! of that file. Invariant: the same file gives the same ids for ever; the ids of a file do not change
//! when lines are added at its end, or when joins are asked for too.

use std::collections::HashMap;

use jiff::civil::{Date, Time};
use roomlog_protocol::{Author, EntryId, Kind};
use sha2::{Digest, Sha256};

use super::{Line, Told};

/// What the ids of this version begin their hash with.
const ID_DOMAIN: &[u8] = b"roomlog/import-irc/v1";

/// What a line says, before it is known whose file it is in.
#[derive(Debug, PartialEq, Eq)]
struct Said<'a> {
    time: Time,
    time_text: &'a str,
    nick: &'a str,
    kind: &'static str,
    text: &'a str,
}

/// The lines of one file, so that equal ones are counted.
pub(super) struct Day {
    date: Date,
    joins: bool,
    seen: HashMap<[u8; 16], u64>,
}

impl Day {
    pub(super) fn new(date: Date, joins: bool) -> Self {
        Self { date, joins, seen: HashMap::new() }
    }

    /// Reads the next line of the file.
    pub(super) fn line(&mut self, line: &str) -> Line {
        let Some(said) = Said::parse(line) else {
            return Line::Unreadable("it is no line of an IRC log: [HH:MM] <nick> text".into());
        };
        if !matches!(said.kind, Kind::TEXT | "action") && !self.joins {
            return Line::Skipped;
        }
        match self.told(&said) {
            Ok(told) => Line::Entry(Box::new(told)),
            Err(why) => Line::Unreadable(why),
        }
    }

    fn told(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let author = Author::new(said.nick).map_err(|why| format!("{:?}: {why}", said.nick))?;
        let kind = Kind::new(said.kind).map_err(|why| why.to_string())?;
        let sent_at = self.date.to_datetime(said.time).to_zoned(jiff::tz::TimeZone::UTC);
        let sent_at = sent_at.ok().map(|time| time.timestamp().as_millisecond());
        let sent_at = sent_at.and_then(|ms| u64::try_from(ms).ok());
        let (id, said_again) = self.id(said)?;
        Ok(Told {
            author,
            id,
            kind,
            body: said.text.into(),
            sent_at: Some(sent_at.ok_or("it was said before 1970")?),
            meta: None,
            reference: None,
            slot: None,
            said_again,
        })
    }

    /// The hash of what was said when by whom, and of how many equal lines came before.
    fn id(&mut self, said: &Said<'_>) -> Result<(EntryId, bool), String> {
        let date = self.date.to_string();
        let mut sha = Sha256::new_with_prefix(ID_DOMAIN);
        for part in [&date, said.time_text, said.kind, said.nick, said.text] {
            sha.update((part.len() as u64).to_be_bytes());
            sha.update(part);
        }
        let before = self.seen.entry(truncated(sha.clone())).or_default();
        sha.update(before.to_be_bytes());
        let said_again = *before > 0;
        *before += 1;
        let hex: String = truncated(sha).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((EntryId::new(&hex).map_err(|why| why.to_string())?, said_again))
    }
}

/// The first 128 bits.
fn truncated(sha: Sha256) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&sha.finalize()[..16]);
    hash
}

impl<'a> Said<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (time_text, rest) = line.strip_prefix('[')?.split_once(']')?;
        let time = time(time_text)?;
        let rest = rest.strip_prefix(' ')?;
        let (kind, nick, text) = if let Some(notice) = rest.strip_prefix("*** ") {
            let (nick, text) = word(notice);
            (notice_kind(text), nick, text)
        } else if let Some(action) = rest.strip_prefix("* ") {
            let (nick, text) = word(action);
            ("action", nick, text)
        } else {
            let (nick, text) = rest.strip_prefix('<')?.split_once('>')?;
            (Kind::TEXT, nick, text.strip_prefix(' ').unwrap_or(text))
        };
        Some(Self { time, time_text, nick, kind, text })
    }
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// `HH:MM` or `HH:MM:SS`.
fn time(text: &str) -> Option<Time> {
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i8>().ok()).flatten()
    };
    let mut parts = text.split(':');
    let (hour, minute) = (two(parts.next()?)?, two(parts.next()?)?);
    let second = parts.next().map_or(Some(0), two)?;
    let time = Time::new(hour, minute, second, 0).ok()?;
    parts.next().is_none().then_some(time)
}

fn notice_kind(text: &str) -> &'static str {
    let begins = |with: &str| text.starts_with(with);
    match text {
        _ if begins("joined") => "join",
        _ if begins("left") || begins("quit") => "part",
        _ if begins("is now known as ") => "nick",
        _ if begins("sets mode") => "mode",
        _ if begins("changes topic") => "topic",
        _ if begins("was kicked") => "kick",
        _ => "notice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(joins: bool) -> Day {
        Day::new("2015-12-24".parse().expect("a date"), joins)
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
        let mut other = Day::new("2015-12-25".parse().expect("a date"), false);
        let Line::Entry(next) = other.line("[10:59] <ada> hello") else { panic!("no entry") };
        assert_ne!(next.id, told("[10:59] <ada> hello").id);
    }
}
