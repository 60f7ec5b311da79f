//! The messages of a channel of Discord, as DiscordChatExporter writes them in JSON.
//!
//! The id of an entry contains the message's id, which is the same in every export.

use jiff::Timestamp;
use roomlog_protocol::Kind;
use serde::Deserialize;
use serde_json::Value;

use super::chat::{Chat, ChatFormat, Message, file, with_lines};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DiscordMessage {
    id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    timestamp: Timestamp,
    timestamp_edited: Option<Timestamp>,
    content: Option<String>,
    author: Person,
    attachments: Option<Vec<DiscordAttachment>>,
    embeds: Option<Vec<Embed>>,
    stickers: Option<Vec<Sticker>>,
    reactions: Option<Vec<DiscordReaction>>,
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
struct DiscordAttachment {
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
struct Sticker {
    name: Option<String>,
}

#[derive(Deserialize)]
struct DiscordReaction {
    emoji: Emoji,
    users: Option<Vec<Person>>,
}

#[derive(Deserialize)]
struct Emoji {
    /// Empty for an emoji of Unicode.
    id: Option<String>,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referred {
    message_id: Option<String>,
}

pub(super) struct Discord;

impl ChatFormat for Discord {
    fn read(&self, chat: &mut Chat, message: Value) -> Result<(), String> {
        let it: DiscordMessage = serde_json::from_value(message).map_err(|why| why.to_string())?;
        let number = it.id.parse().map_err(|_| "its id is not a number")?;
        let kind = kind(it.kind.as_deref().unwrap_or("Default"));
        if chat.skips(kind) {
            return Ok(());
        }
        let ms = |time: Timestamp| u64::try_from(time.as_millisecond()).ok();
        let is_reply = it.kind.as_deref() == Some("Reply");
        let target = it.reference.as_ref().filter(|_| is_reply);
        let message = Message {
            id: format!("discord-{number}"),
            kind,
            body: body(&it),
            sent_at: ms(it.timestamp),
            number,
            reply_to: target.and_then(|target| target.message_id.as_ref()?.parse().ok()),
            edited_at: it.timestamp_edited.and_then(ms),
        };
        let author = chat.author(&it.author.id, &it.author.name)?;
        chat.message(author, &message)?;
        for DiscordReaction { emoji, users } in it.reactions.iter().flatten() {
            let users = users.as_deref().unwrap_or_default();
            if users.is_empty() {
                chat.reactions_left_out();
            }
            let is_custom = emoji.id.as_ref().is_some_and(|id| !id.is_empty());
            let shown = if is_custom { format!(":{}:", emoji.name) } else { emoji.name.clone() };
            for user in users {
                let author = chat.author(&user.id, &user.name)?;
                chat.reaction(author, &message, &emoji.name, shown.clone())?;
            }
        }
        Ok(())
    }
}

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

fn body(message: &DiscordMessage) -> String {
    let mut text = message.content.clone().unwrap_or_default();
    // An export may keep the markup of mentions.
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
    // With a text, embeds are previews of its links.
    let embeds = message.embeds.iter().flatten().filter(|_| !has_text);
    let embeds = embeds.flat_map(|it| [&it.title, &it.description, &it.url].map(Clone::clone));
    with_lines(text, files.chain(stickers).chain(embeds.flatten()))
}
