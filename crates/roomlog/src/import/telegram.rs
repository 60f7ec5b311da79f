//! The messages of a chat of Telegram, as Telegram Desktop exports them in JSON.
//!
//! Enters: messages. Leaves: an entry for each, and one for each reaction whose author is named. Invariant: the id of an
//! entry is made of the ids of the chat and of the message, which stay the same in every export.

use jiff::{civil::DateTime, tz::TimeZone};
use roomlog_protocol::{Author, Kind};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Line,
    draft::{Draft, with_lines},
    messages::Messages,
    people::People,
};

#[derive(Deserialize)]
struct Message {
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
    /// Given when the answered message is in another chat.
    reply_to_peer_id: Option<Value>,
    forwarded_from: Option<String>,
    photo: Option<String>,
    file: Option<String>,
    file_name: Option<String>,
    media_type: Option<String>,
    sticker_emoji: Option<String>,
    location_information: Option<Location>,
    poll: Option<Poll>,
    reactions: Option<Vec<Reaction>>,
}

#[derive(Deserialize)]
struct Location {
    latitude: f64,
    longitude: f64,
}

#[derive(Deserialize)]
struct Poll {
    question: Value,
    answers: Option<Vec<Answer>>,
}

#[derive(Deserialize)]
struct Answer {
    text: Value,
}

#[derive(Deserialize)]
struct Reaction {
    emoji: Option<String>,
    count: Option<u64>,
    recent: Option<Vec<Reacted>>,
}

#[derive(Deserialize)]
struct Reacted {
    from: Option<String>,
    from_id: Option<Value>,
}

/// The messages of all files.
pub(super) struct Telegram {
    joins: bool,
    zone: TimeZone,
    /// The id of the chat.
    chat: String,
    people: People,
    /// Whether it was said that reactions without people are left out.
    said_reactions: bool,
}

impl Telegram {
    pub(super) fn new(chat: &str, joins: bool, zone: TimeZone) -> Self {
        let people = People::default();
        Self { joins, zone, chat: chat.into(), people, said_reactions: false }
    }

    fn author(
        &mut self,
        id: Option<&Value>,
        name: Option<&str>,
        lines: &mut Vec<Line>,
    ) -> Result<Author, String> {
        let name = name.unwrap_or_default();
        let id = match id {
            Some(Value::String(id)) => id.clone(),
            // Older exports have the number alone.
            Some(Value::Number(id)) => format!("user{id}"),
            _ => name.to_owned(),
        };
        // Telegram has no name for who has left it.
        let (author, note) = self.people.author(&id, name)?;
        lines.extend(note.map(Line::Note));
        Ok(author)
    }

    /// In ms since the epoch. Exports before 2021 have the local time alone.
    fn time(&self, exact: Option<&str>, local: Option<DateTime>) -> Option<u64> {
        if let Some(seconds) = exact.and_then(|exact| exact.parse::<u64>().ok()) {
            return seconds.checked_mul(1_000);
        }
        let zoned = self.zone.to_ambiguous_zoned(local?).compatible().ok()?;
        u64::try_from(zoned.timestamp().as_millisecond()).ok()
    }

    fn read(&mut self, message: &Message, lines: &mut Vec<Line>) -> Result<(), String> {
        let number = u64::try_from(message.id).map_err(|_| "its id is below 0")?;
        let kind = match message.kind.as_deref() {
            Some("service") => notice(message.action.as_deref().unwrap_or_default()),
            _ => Kind::TEXT,
        };
        if kind != Kind::TEXT && !self.joins {
            lines.push(Line::Skipped);
            return Ok(());
        }
        let (id, name) = match kind {
            Kind::TEXT => (&message.from_id, &message.from),
            _ => (&message.actor_id, &message.actor),
        };
        let author = self.author(id.as_ref(), name.as_deref(), lines)?;
        let time = self.time(message.date_unixtime.as_deref(), message.date);
        let edited = self.time(message.edited_unixtime.as_deref(), message.edited);
        let reply = message.reply_to_message_id.filter(|_| message.reply_to_peer_id.is_none());
        let draft = Draft {
            id: format!("telegram-{}-{number}", self.chat),
            kind,
            body: if kind == Kind::TEXT { body(message) } else { happened(message) },
            sent_at: Some(time.ok_or("it has no time")?),
            number,
            reply_to: reply,
            edited_at: edited,
        };
        lines.push(draft.line(author)?);
        self.reactions(message, &draft, lines)
    }

    fn reactions(
        &mut self,
        message: &Message,
        draft: &Draft,
        lines: &mut Vec<Line>,
    ) -> Result<(), String> {
        for Reaction { emoji, count, recent } in message.reactions.iter().flatten() {
            let recent = recent.as_deref().unwrap_or_default();
            if emoji.is_none() || count.is_some_and(|count| count > recent.len() as u64) {
                let why =
                    "reactions are left out where the export does not say whose or which they are";
                lines.extend((!self.said_reactions).then(|| Line::Note(why.into())));
                self.said_reactions = true;
            }
            let Some(emoji) = emoji else { continue };
            for by in recent {
                let author = self.author(by.from_id.as_ref(), by.from.as_deref(), lines)?;
                lines.push(draft.reaction(author, emoji, emoji.clone())?);
            }
        }
        Ok(())
    }
}

impl Messages for Telegram {
    fn message(&mut self, message: Value, lines: &mut Vec<Line>) -> Result<(), String> {
        let message = serde_json::from_value(message).map_err(|why| why.to_string())?;
        self.read(&message, lines)
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

/// What a service message says happened, such as `invite members: Ada, Bo`.
fn happened(message: &Message) -> String {
    let mut what = message.action.as_deref().unwrap_or("service message").replace('_', " ");
    let members = message.members.iter().flatten().flatten().map(String::as_str);
    let details: Vec<_> = message.title.as_deref().into_iter().chain(members).collect();
    if !details.is_empty() {
        what = format!("{what}: {}", details.join(", "));
    }
    what
}

/// A text, which is a string or a list of strings and of pieces with a form.
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

fn body(message: &Message) -> String {
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
