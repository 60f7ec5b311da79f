//! Turns the messages of another chat into entries.
//!
//! Input: a message, by the reader of its format. Output: an entry for it, and one per reaction.
//! Their ids depend only on what identifies the message in every export of the chat.

use roomlog_protocol::{Author, Kind};
use serde_json::Value;

use super::{
    item::{Imported, Key, Line, Reference, short_hash},
    people::People,
};

/// The log of all messages; the logs of `export` are counted from 0.
const LOG: u32 = u32::MAX;

/// A format whose files are lists of messages in JSON.
pub(super) trait ChatFormat {
    /// Adds the entries of a message to [`Chat::lines`]; fails if it has none, or not all of them.
    fn read(&self, chat: &mut Chat, message: Value) -> Result<(), String>;
}

/// A chat that is read: its people, and the lines of the current message.
pub(super) struct Chat {
    joins: bool,
    people: People,
    pub(super) lines: Vec<Line>,
    /// Whether there was a note of reactions that are left out.
    noted: bool,
}

impl Chat {
    pub(super) fn new(joins: bool) -> Self {
        Self { joins, people: People::default(), lines: Vec::new(), noted: false }
    }

    pub(super) fn skips(&mut self, kind: &str) -> bool {
        let skips = !self.joins && !matches!(kind, Kind::TEXT | "action");
        self.lines.extend(skips.then_some(Line::Skipped));
        skips
    }

    pub(super) fn author(&mut self, id: &str, name: &str) -> Result<Author, String> {
        let (author, note) = self.people.author(id, name)?;
        self.lines.extend(note.map(Line::Note));
        Ok(author)
    }

    /// Notes once that reactions are left out.
    pub(super) fn reactions_left_out(&mut self) {
        let why = "reactions are left out where the export does not name the person or the emoji";
        self.lines.extend((!self.noted).then(|| Line::Note(why.into())));
        self.noted = true;
    }

    pub(super) fn message(&mut self, author: Author, message: &Message) -> Result<(), String> {
        let Message { id, kind, body, sent_at, number, reply_to, edited_at } = message;
        self.lines.push(Line::Entry(Box::new(Imported {
            reference: reply_to.map(|to| Reference { key: key(to), needed: false }),
            key: Some(key(*number)),
            edited_at: *edited_at,
            ..Imported::new(author, id, kind, body.clone(), *sent_at)?
        })));
        Ok(())
    }

    /// A reaction to a message. No export has its time, so it gets that of the message.
    pub(super) fn reaction(
        &mut self,
        author: Author,
        message: &Message,
        name: &str,
        body: String,
    ) -> Result<(), String> {
        let id = format!("{}-{}", message.id, short_hash(name));
        self.lines.push(Line::Entry(Box::new(Imported {
            reference: Some(Reference { key: key(message.number), needed: true }),
            ..Imported::new(author, &id, "reaction", body, message.sent_at)?
        })));
        Ok(())
    }
}

pub(super) struct Message {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) body: String,
    pub(super) sent_at: Option<u64>,
    /// Its number in its chat.
    pub(super) number: u64,
    /// The number of the message that it replies to.
    pub(super) reply_to: Option<u64>,
    /// When its text was last changed.
    pub(super) edited_at: Option<u64>,
}

fn key(number: u64) -> Key {
    Key { log: LOG, number }
}

/// Joins a text and its attachments, each on a line of its own.
pub(super) fn with_lines(text: String, lines: impl Iterator<Item = String>) -> String {
    lines.filter(|line| !line.is_empty()).fold(text, |mut text, line| {
        if !text.is_empty() {
            text.push('\n');
        }
        text + &line
    })
}

pub(super) fn file(name: Option<&str>, address: Option<&str>) -> String {
    match (name, address) {
        (Some(name), Some(address)) => format!("[file: {name}] {address}"),
        (Some(name), None) | (None, Some(name)) => format!("[file: {name}]"),
        (None, None) => "[file]".into(),
    }
}
