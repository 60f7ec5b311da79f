//! The forms of eggdrop's logs that other logs with times in brackets do not have.
//!
//! Input: the text after the time. Output: nick, kind and text. None of the forms begins with a mark, so none
//! is ambiguous with a form of another program.

use jiff::civil::Date;

use super::syntax::{self, is_nick, word};

pub(super) fn form(rest: &str) -> Option<(&str, &'static str, &str)> {
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

/// `Sun Mar  8 2020`.
pub(super) fn date(text: &str) -> Option<Date> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [_, month, day, year] = words[..] else { return None };
    syntax::date(day, month, year)
}
