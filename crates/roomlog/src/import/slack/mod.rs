//! The messages of a Slack export.
//!
//! ```text
//!  users.json                      ids and names
//!  channels.json                   of channels, for mentions
//!  general/2020-03-08.json         a list of messages, a file a day
//! ```
//!
//! Enters: messages of one channel. Leaves: an entry for each, and one for each reaction. Invariant: the id of an entry is
//! made of the message's `ts`, which stays the same in every export.

pub(super) mod export;
mod text;

use std::path::Path;

use roomlog_protocol::{Author, Kind};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Line,
    draft::{Draft, emoji, file, with_lines},
    messages::Messages,
    people::People,
};
use crate::failure::Failure;
use export::Names;

/// What nobody wrote. All other subtypes are written by somebody.
const NOTICES: &[(&str, &str)] = &[
    ("channel_join", "join"),
    ("group_join", "join"),
    ("channel_leave", "part"),
    ("group_leave", "part"),
    ("channel_topic", "topic"),
    ("group_topic", "topic"),
    ("channel_purpose", "notice"),
    ("group_purpose", "notice"),
    ("channel_name", "notice"),
    ("group_name", "notice"),
    ("channel_archive", "notice"),
    ("channel_unarchive", "notice"),
    ("channel_convert_to_private", "notice"),
    ("channel_posting_permissions", "notice"),
    ("bot_add", "notice"),
    ("bot_remove", "notice"),
    ("pinned_item", "notice"),
    ("unpinned_item", "notice"),
    ("reminder_add", "notice"),
    ("huddle_thread", "notice"),
    ("sh_room_created", "notice"),
    ("tombstone", "notice"),
];

#[derive(Deserialize)]
struct Message {
    ts: String,
    subtype: Option<String>,
    user: Option<String>,
    username: Option<String>,
    bot_id: Option<String>,
    user_profile: Option<Profile>,
    bot_profile: Option<Profile>,
    text: Option<String>,
    thread_ts: Option<String>,
    edited: Option<Edited>,
    reactions: Option<Vec<Reaction>>,
    files: Option<Vec<File>>,
    attachments: Option<Vec<Attachment>>,
}

#[derive(Deserialize)]
struct Profile {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Edited {
    ts: Option<String>,
}

#[derive(Deserialize)]
struct Reaction {
    name: String,
    users: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    title: Option<String>,
    permalink: Option<String>,
    url_private: Option<String>,
}

#[derive(Deserialize)]
struct Attachment {
    fallback: Option<String>,
    text: Option<String>,
    /// Where the text comes from, when it is the preview of a link.
    from_url: Option<String>,
}

/// The messages of one export.
pub(super) struct Slack {
    joins: bool,
    names: Names,
    people: People,
}

impl Slack {
    /// Reads who is who.
    pub(super) fn open(root: &Path, joins: bool) -> Result<Self, Failure> {
        let names = Names::read(root)?;
        Ok(Self { joins, names, people: People::default() })
    }

    fn author(&mut self, message: &Message, lines: &mut Vec<Line>) -> Result<Author, String> {
        let of_profile = |profile: &Option<Profile>| profile.as_ref()?.name.clone();
        let user = message.user.as_deref().or(message.bot_id.as_deref());
        let name = user.and_then(|user| self.names.user(user)).map(str::to_owned);
        let given = || message.username.clone().filter(|name| !name.is_empty());
        let name = name.or_else(given);
        let name = name.or_else(|| of_profile(&message.user_profile));
        let name = name.or_else(|| of_profile(&message.bot_profile)).unwrap_or_default();
        // A bot may write under several names.
        let id = match (&message.user, user) {
            (Some(user), _) => user.clone(),
            (None, Some(bot)) => format!("{bot} {name}"),
            (None, None) => name.clone(),
        };
        let (author, note) = self.people.author(&id, &name)?;
        lines.extend(note.map(Line::Note));
        Ok(author)
    }

    fn body(&self, message: &Message) -> String {
        let text = text::plain(message.text.as_deref().unwrap_or_default(), &self.names);
        let files = message.files.iter().flatten().map(|it| {
            // Private addresses end with a token of the export.
            let private = it.url_private.as_deref().and_then(|url| url.split('?').next());
            let name = it.name.as_deref().or(it.title.as_deref());
            file(name, it.permalink.as_deref().or(private))
        });
        let attached = message.attachments.iter().flatten().filter(|it| it.from_url.is_none());
        let attached = attached.map(|it| {
            let text = it.text.as_deref().filter(|text| !text.is_empty());
            text::plain(text.or(it.fallback.as_deref()).unwrap_or_default(), &self.names)
        });
        with_lines(text, files.chain(attached))
    }

    fn read(&mut self, message: &Message, lines: &mut Vec<Line>) -> Result<(), String> {
        let number = micros(&message.ts).ok_or("its ts is no time of Slack's")?;
        let subtype = message.subtype.as_deref().unwrap_or_default();
        let notice = NOTICES.iter().find(|(name, _)| *name == subtype).map(|(_, kind)| *kind);
        if notice.is_some() && !self.joins {
            lines.push(Line::Skipped);
            return Ok(());
        }
        let author = self.author(message, lines)?;
        let thread = message.thread_ts.as_deref().and_then(micros);
        let edited = message.edited.as_ref().and_then(|edited| micros(edited.ts.as_deref()?));
        let draft = Draft {
            id: format!("slack-{}", message.ts),
            kind: notice.unwrap_or(if subtype == "me_message" { "action" } else { Kind::TEXT }),
            body: self.body(message),
            sent_at: Some(number / 1_000),
            number,
            reply_to: thread.filter(|parent| *parent != number),
            edited_at: edited.map(|edited| edited / 1_000),
        };
        lines.push(draft.line(author)?);
        for reaction in message.reactions.iter().flatten() {
            for user in reaction.users.iter().flatten() {
                let name = self.names.user(user).unwrap_or(user);
                let (author, note) = self.people.author(user, name)?;
                lines.extend(note.map(Line::Note));
                lines.push(draft.reaction(author, &reaction.name, emoji(&reaction.name))?);
            }
        }
        Ok(())
    }
}

impl Messages for Slack {
    fn message(&mut self, message: Value, lines: &mut Vec<Line>) -> Result<(), String> {
        let message = serde_json::from_value(message).map_err(|why| why.to_string())?;
        self.read(&message, lines)
    }
}

/// `1583632742.000200` in microseconds.
fn micros(ts: &str) -> Option<u64> {
    let (seconds, micros) = ts.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if micros.len() != 6 || !digits(seconds) || !digits(micros) {
        return None;
    }
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)
}
