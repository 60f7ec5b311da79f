//! The forms of eggdrop's logs that other logs with times in brackets do not have.
//!
//! Enters: what stands behind the time. Leaves: whose it is, what, and the text. Invariant: none of them begins with a mark, so
//! none is a form of another program.

use jiff::civil::Date;

use super::irc::{self, is_nick, word};

/// Eggdrop's forms without a mark: an action, and what happens in a channel.
pub(super) fn form(rest: &str) -> Option<(&str, &'static str, &str)> {
    if let Some(action) = rest.strip_prefix("Action: ") {
        let (nick, text) = word(action);
        return is_nick(nick).then_some((nick, "action", text));
    }
    if let Some(change) = rest.strip_prefix("Nick change: ") {
        let (nick, _) = change.split_once(" -> ")?;
        return is_nick(nick).then_some((nick, "nick", change));
    }
    if let Some(topic) = rest.strip_prefix("Topic changed on ") {
        let (_, by) = topic.split_once(" by ")?;
        let (who, text) = by.split_once(": ")?;
        return person(who).map(|nick| (nick, "topic", text));
    }
    if let Some((channel, change)) = rest.split_once(": mode change ") {
        let (_, by) = change.rsplit_once("' by ")?;
        return channel
            .starts_with('#')
            .then(|| person(by))
            .flatten()
            .map(|nick| (nick, "mode", change));
    }
    if let Some((nick, text)) = rest.split_once(" kicked from ").filter(|(nick, _)| is_nick(nick)) {
        return text.starts_with('#').then_some((nick, "kick", text));
    }
    let (nick, text) = rest.split_once(' ')?;
    let (host, what) = text.strip_prefix('(')?.split_once(") ")?;
    let kind = match word(what) {
        ("joined", to) if to.starts_with('#') => "join",
        ("left", from) if from.starts_with('#') || from.starts_with("irc:") => "part",
        _ => return None,
    };
    (is_nick(nick) && host.contains('@')).then_some((nick, kind, text))
}

/// The nick of `nick!user@host`.
fn person(who: &str) -> Option<&str> {
    let nick = who.split_once('!').map_or(who, |(nick, _)| nick);
    is_nick(nick).then_some(nick)
}

/// `Sun Mar  8 2020`.
pub(super) fn day(text: &str) -> Option<Date> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [_, month, day, year] = words[..] else { return None };
    irc::date(day, month, year)
}
