//! A message of another chat on its way to an entry.
//!
//! Enters: what a message says, and its number in its chat. Leaves: an entry. Invariant: the id is made of what names the
//! message in every export of the chat, and of nothing else.

use roomlog_protocol::{Author, EntryId, Kind};

use super::{Key, Line, Reference, Told, day::short_hash};

/// The log of all numbers of messages; `export` counts its own from 0.
const LOG: u32 = u32::MAX;

/// A message.
pub(super) struct Draft {
    /// What names it, in every chat of that kind.
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) body: String,
    pub(super) sent_at: Option<u64>,
    /// Its number in its chat.
    pub(super) number: u64,
    /// The number of the message that it answers.
    pub(super) reply_to: Option<u64>,
    /// When its text was last changed.
    pub(super) edited_at: Option<u64>,
}

impl Draft {
    /// The message as an entry.
    pub(super) fn line(&self, author: Author) -> Result<Line, String> {
        Ok(Line::Entry(Box::new(Told {
            author,
            id: EntryId::new(&self.id).map_err(|why| why.to_string())?,
            kind: Kind::new(self.kind).map_err(|why| why.to_string())?,
            body: self.body.clone(),
            sent_at: self.sent_at,
            meta: None,
            reference: self.reply_to.map(|to| Reference { key: key(to), needed: false }),
            key: Some(key(self.number)),
            edited_at: self.edited_at,
            said_again: false,
        })))
    }

    /// A reaction to it. No export says when it was made: it has the time of the message.
    pub(super) fn reaction(
        &self,
        author: Author,
        name: &str,
        body: String,
    ) -> Result<Line, String> {
        let id = format!("{}-{}", self.id, short_hash(name));
        Ok(Line::Entry(Box::new(Told {
            author,
            id: EntryId::new(&id).map_err(|why| why.to_string())?,
            kind: Kind::new("reaction").map_err(|why| why.to_string())?,
            body,
            sent_at: self.sent_at,
            meta: None,
            reference: Some(Reference { key: key(self.number), needed: true }),
            key: None,
            edited_at: None,
            said_again: false,
        })))
    }
}

fn key(number: u64) -> Key {
    Key { log: LOG, number }
}

/// The emoji of a short name such as `thumbsup`; the name between colons when it has none.
pub(super) fn emoji(name: &str) -> String {
    // Slack writes skin tones behind the name.
    let plain = name.split_once("::").map_or(name, |(plain, _)| plain);
    match emojis::get_by_shortcode(plain) {
        Some(emoji) => emoji.as_str().to_owned(),
        None => format!(":{name}:"),
    }
}

/// A text and what hangs on it, each on a line of its own.
pub(super) fn with_lines(text: String, lines: impl Iterator<Item = String>) -> String {
    lines.filter(|line| !line.is_empty()).fold(text, |mut text, line| {
        if !text.is_empty() {
            text.push('\n');
        }
        text + &line
    })
}

/// A file, as a line.
pub(super) fn file(name: Option<&str>, address: Option<&str>) -> String {
    match (name, address) {
        (Some(name), Some(address)) => format!("[file: {name}] {address}"),
        (Some(name), None) | (None, Some(name)) => format!("[file: {name}]"),
        (None, None) => "[file]".into(),
    }
}
