//! The messages of a Slack export.
//!
//! ```text
//!  users.json                      ids and names
//!  channels.json                   of channels, for mentions
//!  general/2020-03-08.json         a list of messages, one file per day
//! ```
//!
//! The id of an entry contains the message's `ts`, which is the same in every export.

pub(super) mod export;

use std::path::Path;

use roomlog_protocol::{Author, Kind};
use serde::Deserialize;
use serde_json::Value;

use super::chat::{Chat, ChatFormat, Message, file, with_lines};
use crate::failure::Failure;
use export::Names;

/// Subtypes of messages that Slack generates, by kind. All others are written by someone.
const NOTICES: &[(&str, &str)] = &[
    ("join", "channel_join group_join"),
    ("part", "channel_leave group_leave"),
    ("topic", "channel_topic group_topic"),
    ("notice", "channel_purpose group_purpose channel_name group_name"),
    ("notice", "channel_archive channel_unarchive channel_convert_to_private"),
    ("notice", "channel_posting_permissions bot_add bot_remove pinned_item unpinned_item"),
    ("notice", "reminder_add huddle_thread sh_room_created tombstone"),
];

#[derive(Deserialize)]
struct SlackMessage {
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
    reactions: Option<Vec<SlackReaction>>,
    files: Option<Vec<SlackFile>>,
    attachments: Option<Vec<SlackAttachment>>,
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
struct SlackReaction {
    name: String,
    users: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct SlackFile {
    name: Option<String>,
    title: Option<String>,
    permalink: Option<String>,
    url_private: Option<String>,
}

#[derive(Deserialize)]
struct SlackAttachment {
    fallback: Option<String>,
    text: Option<String>,
    /// The source of the text, if it is the preview of a link.
    from_url: Option<String>,
}

pub(super) struct Slack {
    names: Names,
}

impl Slack {
    pub(super) fn open(root: &Path) -> Result<Self, Failure> {
        Ok(Self { names: Names::read(root)? })
    }

    fn author(&self, chat: &mut Chat, message: &SlackMessage) -> Result<Author, String> {
        let of_profile = |profile: &Option<Profile>| profile.as_ref()?.name.clone();
        let user = message.user.as_deref().or(message.bot_id.as_deref());
        let name = user.and_then(|user| self.names.users.get(user)).cloned();
        let name = name
            .or_else(|| message.username.clone().filter(|name| !name.is_empty()))
            .or_else(|| of_profile(&message.user_profile))
            .or_else(|| of_profile(&message.bot_profile))
            .unwrap_or_default();
        // A bot may write under several names.
        let id = match (&message.user, user) {
            (Some(user), _) => user.clone(),
            (None, Some(bot)) => format!("{bot} {name}"),
            (None, None) => name.clone(),
        };
        chat.author(&id, &name)
    }

    fn body(&self, message: &SlackMessage) -> String {
        let text = plain(message.text.as_deref().unwrap_or_default(), &self.names);
        let files = message.files.iter().flatten().map(|it| {
            // Private addresses end with a token of the export.
            let private = it.url_private.as_deref().and_then(|url| url.split('?').next());
            let name = it.name.as_deref().or(it.title.as_deref());
            file(name, it.permalink.as_deref().or(private))
        });
        let attached = message.attachments.iter().flatten().filter(|it| it.from_url.is_none());
        let attached = attached.map(|it| {
            let text = it.text.as_deref().filter(|text| !text.is_empty());
            plain(text.or(it.fallback.as_deref()).unwrap_or_default(), &self.names)
        });
        with_lines(text, files.chain(attached))
    }
}

impl ChatFormat for Slack {
    fn read(&self, chat: &mut Chat, message: Value) -> Result<(), String> {
        let it: SlackMessage = serde_json::from_value(message).map_err(|why| why.to_string())?;
        let number = micros(&it.ts).ok_or("its ts is not a time of Slack")?;
        let kind = match it.subtype.as_deref().unwrap_or_default() {
            "me_message" => "action",
            subtype => {
                let of = |names: &str| names.split(' ').any(|name| name == subtype);
                NOTICES.iter().find(|(_, names)| of(names)).map_or(Kind::TEXT, |(kind, _)| *kind)
            }
        };
        if chat.skips(kind) {
            return Ok(());
        }
        let author = self.author(chat, &it)?;
        let thread = it.thread_ts.as_deref().and_then(micros);
        let edited = it.edited.as_ref().and_then(|edited| micros(edited.ts.as_deref()?));
        let message = Message {
            id: format!("slack-{}", it.ts),
            kind,
            body: self.body(&it),
            sent_at: Some(number / 1_000),
            number,
            reply_to: thread.filter(|parent| *parent != number),
            edited_at: edited.map(|edited| edited / 1_000),
        };
        chat.message(author, &message)?;
        for SlackReaction { name, users } in it.reactions.iter().flatten() {
            for user in users.iter().flatten() {
                let author = chat.author(user, self.names.users.get(user).unwrap_or(user))?;
                chat.reaction(author, &message, name, emoji(name))?;
            }
        }
        Ok(())
    }
}

/// The emoji of a short name such as `thumbsup`; the name between colons if it has none.
fn emoji(name: &str) -> String {
    let plain = name.split_once("::").map_or(name, |(plain, _)| plain);
    match emojis::get_by_shortcode(plain) {
        Some(emoji) => emoji.as_str().to_owned(),
        None => format!(":{name}:"),
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

/// Slack's markup as plain text, as its readers saw it: `<@U1>` as `@ada`, `&lt;` as `<`. Entities are
/// resolved once, after the markup, so a written `&lt;@U1&gt;` does not become a mention.
fn plain(text: &str, names: &Names) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain += &entities(before);
        let Some((inside, behind)) = after.split_once('>') else {
            plain.push('<');
            rest = after;
            continue;
        };
        plain += &entities(&mark(inside, names));
        rest = behind;
    }
    plain + &entities(rest)
}

/// What is between `<` and `>`: a mention, a channel, a command or a link, perhaps with a label.
fn mark(inside: &str, names: &Names) -> String {
    let (what, label) = inside.split_once('|').unwrap_or((inside, ""));
    let named = |mark: char, name: Option<&String>, id: &str| {
        let label = Some(label).filter(|label| !label.is_empty());
        let name = name.map(String::as_str).or(label).unwrap_or(id);
        format!("{mark}{}", name.trim_start_matches(mark))
    };
    match what.split_at_checked(1) {
        Some(("@", id)) => named('@', names.users.get(id), id),
        Some(("#", id)) => named('#', names.channels.get(id), id),
        // `<!here>`, `<!subteam^S1|@group>`, `<!date^1583632742^{date}|8 March>`
        Some(("!", _)) if what.starts_with("!date") && !label.is_empty() => label.into(),
        Some(("!", command)) => named('@', None, command),
        _ if label.is_empty() || what.ends_with(label) => what.trim_start_matches("mailto:").into(),
        _ => format!("{label} ({what})"),
    }
}

fn entities(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
