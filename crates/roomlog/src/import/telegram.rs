//! The messages of a chat of Telegram, as Telegram Desktop exports them in JSON.
//!
//! The id of an entry contains the ids of the chat and of the message, which are the same in every
//! export.

use jiff::{civil::DateTime, tz::TimeZone};
use roomlog_protocol::{Author, Kind};
use serde::Deserialize;
use serde_json::Value;

use super::chat::{Chat, ChatFormat, Message, with_lines};

#[derive(Deserialize)]
struct TelegramMessage {
    id: i64,
    #[serde(rename = "type")]
    kind: Option<String>,
    date: Option<DateTime>,
    date_unixtime: Option<String>,
    edited: Option<DateTime>,
    edited_unixtime: Option<String>,
    from: Option<String>,
    from_id: Option<Value>,
    actor: Option<String>,
    actor_id: Option<Value>,
    action: Option<String>,
    title: Option<String>,
    members: Option<Vec<Option<String>>>,
    text: Option<Value>,
    reply_to_message_id: Option<u64>,
    /// Present if the reply is to a message in another chat.
    reply_to_peer_id: Option<Value>,
    forwarded_from: Option<String>,
    photo: Option<String>,
    file: Option<String>,
    file_name: Option<String>,
    media_type: Option<String>,
    sticker_emoji: Option<String>,
    location_information: Option<TelegramLocation>,
    poll: Option<Poll>,
    reactions: Option<Vec<TelegramReaction>>,
}

#[derive(Deserialize)]
struct TelegramLocation {
    latitude: f64,
    longitude: f64,
}

#[derive(Deserialize)]
struct Poll {
    question: Value,
    answers: Option<Vec<PollAnswer>>,
}

#[derive(Deserialize)]
struct PollAnswer {
    text: Value,
}

#[derive(Deserialize)]
struct TelegramReaction {
    emoji: Option<String>,
    count: Option<u64>,
    recent: Option<Vec<Reacted>>,
}

#[derive(Deserialize)]
struct Reacted {
    from: Option<String>,
    from_id: Option<Value>,
}

pub(super) struct Telegram {
    /// The id of the chat.
    pub(super) id: String,
    /// The zone of local times.
    pub(super) zone: TimeZone,
}

impl Telegram {
    /// In ms since the epoch. Exports before 2021 have only the local time.
    fn time(&self, exact: Option<&str>, local: Option<DateTime>) -> Option<u64> {
        if let Some(seconds) = exact.and_then(|exact| exact.parse::<u64>().ok()) {
            return seconds.checked_mul(1_000);
        }
        let zoned = self.zone.to_ambiguous_zoned(local?).compatible().ok()?;
        u64::try_from(zoned.timestamp().as_millisecond()).ok()
    }
}

impl ChatFormat for Telegram {
    fn read(&self, chat: &mut Chat, message: Value) -> Result<(), String> {
        let it: TelegramMessage = serde_json::from_value(message).map_err(|why| why.to_string())?;
        let number = u64::try_from(it.id).map_err(|_| "its id is below 0")?;
        let kind = match it.kind.as_deref() {
            Some("service") => notice(it.action.as_deref().unwrap_or_default()),
            _ => Kind::TEXT,
        };
        if chat.skips(kind) {
            return Ok(());
        }
        let (id, name, body) = match kind {
            Kind::TEXT => (&it.from_id, &it.from, body(&it)),
            _ => (&it.actor_id, &it.actor, notice_body(&it)),
        };
        let author = author_of(chat, id.as_ref(), name.as_deref())?;
        let time = self.time(it.date_unixtime.as_deref(), it.date);
        let message = Message {
            id: format!("telegram-{}-{number}", self.id),
            kind,
            body,
            sent_at: Some(time.ok_or("it has no time")?),
            number,
            reply_to: it.reply_to_message_id.filter(|_| it.reply_to_peer_id.is_none()),
            edited_at: self.time(it.edited_unixtime.as_deref(), it.edited),
        };
        chat.message(author, &message)?;
        for TelegramReaction { emoji, count, recent } in it.reactions.iter().flatten() {
            let recent = recent.as_deref().unwrap_or_default();
            if emoji.is_none() || count.is_some_and(|count| count > recent.len() as u64) {
                chat.reactions_left_out();
            }
            let Some(emoji) = emoji else { continue };
            for by in recent {
                let author = author_of(chat, by.from_id.as_ref(), by.from.as_deref())?;
                chat.reaction(author, &message, emoji, emoji.clone())?;
            }
        }
        Ok(())
    }
}

fn author_of(chat: &mut Chat, id: Option<&Value>, name: Option<&str>) -> Result<Author, String> {
    // Deleted accounts have no name.
    let name = name.unwrap_or_default();
    match id {
        Some(Value::String(id)) => chat.author(id, name),
        // Older exports have only the number.
        Some(Value::Number(id)) => chat.author(&format!("user{id}"), name),
        _ => chat.author(name, name),
    }
}

fn notice(action: &str) -> &'static str {
    match action {
        "invite_members" | "join_group_by_link" | "join_group_by_request" => "join",
        "remove_members" => "part",
        "edit_group_title" => "topic",
        _ => "notice",
    }
}

/// The text of a service message, such as `invite members: Ada, Bo`.
fn notice_body(message: &TelegramMessage) -> String {
    let mut what = message.action.as_deref().unwrap_or("service message").replace('_', " ");
    let members = message.members.iter().flatten().flatten().map(String::as_str);
    let details: Vec<_> = message.title.as_deref().into_iter().chain(members).collect();
    if !details.is_empty() {
        what = format!("{what}: {}", details.join(", "));
    }
    what
}

/// A text: a string, or a list of strings and formatted pieces.
fn text(value: &Value) -> String {
    let piece = |piece: &Value| match piece {
        Value::String(text) => text.clone(),
        piece => {
            let member = |name| piece.get(name).and_then(Value::as_str);
            let text = member("text").unwrap_or_default();
            match member("href") {
                Some(href) if href != text => format!("{text} ({href})"),
                _ => text.to_owned(),
            }
        }
    };
    match value {
        Value::Array(pieces) => pieces.iter().map(piece).collect(),
        value => piece(value),
    }
}

fn body(message: &TelegramMessage) -> String {
    let forwarded = message.forwarded_from.as_ref().map(|from| format!("[forwarded from {from}]"));
    let text = message.text.as_ref().map(text).unwrap_or_default();
    let named = |what: &str, name: Option<&str>| match name {
        Some(name) => format!("[{what}: {name}]"),
        None => format!("[{what}]"),
    };
    let photo = message.photo.as_deref().map(|path| named("photo", Some(path)));
    let name = message.file_name.as_deref().or(message.file.as_deref());
    let file = match (message.media_type.as_deref(), name) {
        (Some("sticker"), name) => {
            Some(named("sticker", message.sticker_emoji.as_deref().or(name)))
        }
        (Some(media), name) => Some(named(&media.replace('_', " "), name)),
        (None, name) => name.map(|name| named("file", Some(name))),
    };
    let place = message.location_information.as_ref();
    let place = place.map(|at| format!("[location: {}, {}]", at.latitude, at.longitude));
    let poll = message.poll.as_ref().map(|poll| {
        let answers = poll.answers.iter().flatten().map(|answer| self::text(&answer.text));
        format!(
            "[poll: {} {}]",
            self::text(&poll.question),
            answers.collect::<Vec<_>>().join(" / ")
        )
    });
    let before = forwarded.into_iter().chain((!text.is_empty()).then_some(text));
    with_lines(String::new(), before.chain(photo).chain(file).chain(place).chain(poll))
}
