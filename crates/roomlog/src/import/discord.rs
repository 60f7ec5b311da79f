//! The messages of a channel of Discord, as DiscordChatExporter writes them in JSON.
//!
//! Enters: messages. Leaves: an entry for each, and one for each reaction whose people are named. Invariant: the id of an
//! entry is made of the message's id, which stays the same in every export.

use jiff::Timestamp;
use roomlog_protocol::{Author, Kind};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Line,
    draft::{Draft, file, with_lines},
    messages::Messages,
    people::People,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    timestamp: Timestamp,
    timestamp_edited: Option<Timestamp>,
    content: Option<String>,
    author: Person,
    attachments: Option<Vec<Attachment>>,
    embeds: Option<Vec<Embed>>,
    stickers: Option<Vec<Named>>,
    reactions: Option<Vec<Reaction>>,
    mentions: Option<Vec<Person>>,
    reference: Option<Referred>,
}

#[derive(Deserialize)]
struct Person {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    url: Option<String>,
    file_name: Option<String>,
}

#[derive(Deserialize)]
struct Embed {
    title: Option<String>,
    url: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Reaction {
    emoji: Emoji,
    users: Option<Vec<Person>>,
}

#[derive(Deserialize)]
struct Emoji {
    /// Of an emoji of the server's own; empty for one of Unicode's.
    id: Option<String>,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referred {
    message_id: Option<String>,
}

/// The messages of all files.
pub(super) struct Discord {
    joins: bool,
    people: People,
    /// Whether it was said that reactions without people are left out.
    said_reactions: bool,
}

impl Discord {
    pub(super) fn new(joins: bool) -> Self {
        Self { joins, people: People::default(), said_reactions: false }
    }

    fn author(&mut self, person: &Person, lines: &mut Vec<Line>) -> Result<Author, String> {
        let (author, note) = self.people.author(&person.id, &person.name)?;
        lines.extend(note.map(Line::Note));
        Ok(author)
    }

    fn read(&mut self, message: &Message, lines: &mut Vec<Line>) -> Result<(), String> {
        let number = message.id.parse().map_err(|_| "its id is no number")?;
        let kind = kind(message.kind.as_deref().unwrap_or("Default"));
        if kind != Kind::TEXT && !self.joins {
            lines.push(Line::Skipped);
            return Ok(());
        }
        let ms = |time: Timestamp| u64::try_from(time.as_millisecond()).ok();
        let is_reply = message.kind.as_deref() == Some("Reply");
        let target = message.reference.as_ref().filter(|_| is_reply);
        let author = self.author(&message.author, lines)?;
        let draft = Draft {
            id: format!("discord-{number}"),
            kind,
            body: body(message),
            sent_at: ms(message.timestamp),
            number,
            reply_to: target.and_then(|target| target.message_id.as_ref()?.parse().ok()),
            edited_at: message.timestamp_edited.and_then(ms),
        };
        lines.push(draft.line(author)?);
        for Reaction { emoji, users } in message.reactions.iter().flatten() {
            let users = users.as_deref().unwrap_or_default();
            if users.is_empty() && !self.said_reactions {
                self.said_reactions = true;
                let why = "reactions are left out where the export does not say whose they are";
                lines.push(Line::Note(why.into()));
            }
            let is_own = emoji.id.as_ref().is_some_and(|id| !id.is_empty());
            let shown = if is_own { format!(":{}:", emoji.name) } else { emoji.name.clone() };
            for user in users {
                let author = self.author(user, lines)?;
                lines.push(draft.reaction(author, &emoji.name, shown.clone())?);
            }
        }
        Ok(())
    }
}

impl Messages for Discord {
    fn message(&mut self, message: Value, lines: &mut Vec<Line>) -> Result<(), String> {
        let message = serde_json::from_value(message).map_err(|why| why.to_string())?;
        self.read(&message, lines)
    }
}

/// What nobody wrote has another type.
fn kind(of: &str) -> &'static str {
    match of {
        "Default"
        | "Reply"
        | "ChatInputCommand"
        | "ContextMenuCommand"
        | "ThreadStarterMessage" => Kind::TEXT,
        "GuildMemberJoin" | "RecipientAdd" => "join",
        "RecipientRemove" => "part",
        "ChannelNameChange" => "topic",
        _ => "notice",
    }
}

fn body(message: &Message) -> String {
    let mut text = message.content.clone().unwrap_or_default();
    // Where the export was told to keep the markup.
    for person in message.mentions.iter().flatten() {
        let name = format!("@{}", person.name);
        text = text.replace(&format!("<@{}>", person.id), &name);
        text = text.replace(&format!("<@!{}>", person.id), &name);
    }
    let files = message.attachments.iter().flatten();
    let files = files.map(|it| file(it.file_name.as_deref(), it.url.as_deref()));
    let stickers = message.stickers.iter().flatten().filter_map(|it| it.name.as_ref());
    let stickers = stickers.map(|name| format!("[sticker: {name}]"));
    let has_text = !text.is_empty();
    // The preview of a link says what the link says already.
    let embeds = message.embeds.iter().flatten().filter(|_| !has_text);
    let embeds = embeds.flat_map(|it| [&it.title, &it.description, &it.url].map(Clone::clone));
    with_lines(text, files.chain(stickers).chain(embeds.flatten()))
}
