//! What the formats of IRC logs have in common: words, nicks, dates, and notices of a nick.

use jiff::civil::Date;

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
    const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let month = MONTHS.split(' ').position(|name| name == month)? + 1;
    Date::new(year.parse().ok()?, i8::try_from(month).ok()?, day.parse().ok()?).ok()
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
