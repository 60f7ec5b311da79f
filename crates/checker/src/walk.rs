//! A walk through the frames, in time order.
//!
//! Enters: frames, and the log that all nodes agree on. Leaves: violations and counts.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    history::{self, Direction, Frame, FromFrame, Seen, signed},
    logs::Rooms,
};

/// An append: room, author, id.
type Name = (String, String, String);

/// An author's turn, the slot of the entry, its id.
type Turn<'a> = (usize, usize, &'a str);

/// An append as it was first sent.
struct Sent {
    body: String,
    /// The highest slot that any client had received; −1: none.
    floor: i64,
    /// How many appends the author had sent to the room.
    turn: usize,
}

#[derive(Default)]
struct Connection {
    author: Option<String>,
    /// Followed rooms, and the last slot received in each.
    follows: HashMap<String, i64>,
    /// Unanswered reads: by `req`, the least `latest` of the reply, and whether it is a `join`.
    reads: HashMap<i64, (i64, bool)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) appends: usize,
    pub(crate) acked: usize,
    pub(crate) seen: usize,
}

pub(crate) struct Walk<'a> {
    rooms: &'a Rooms,
    slots: HashMap<Name, usize>,
    sent: HashMap<Name, Sent>,
    turns: HashMap<(String, String), usize>,
    connections: HashMap<u64, Connection>,
    /// The highest slot that any client received, by room.
    shown: HashMap<String, i64>,
    pub(crate) counts: Counts,
    pub(crate) broken: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(rooms: &'a Rooms) -> Self {
        let mut slots = HashMap::new();
        for (room, log) in rooms {
            for (slot, entry) in log.entries.iter().enumerate() {
                slots.insert((room.clone(), entry.author.clone(), entry.id.clone()), slot);
            }
        }
        Self {
            rooms,
            slots,
            sent: HashMap::new(),
            turns: HashMap::new(),
            connections: HashMap::new(),
            shown: HashMap::new(),
            counts: Counts::default(),
            broken: Vec::new(),
        }
    }

    pub(crate) fn frame(&mut self, frame: &Frame) {
        let value: Value = match serde_json::from_str(&frame.text) {
            Ok(value) => value,
            Err(why) => return self.broken.push(format!("not JSON: {why}: {}", frame.text)),
        };
        let taken = match frame.direction {
            Direction::Sent => self.sent(frame.connection, &value),
            Direction::Received => self.received(frame.connection, &value),
        };
        if let Err(why) = taken {
            self.broken.push(format!("connection {}: {why}", frame.connection));
        }
    }

    fn sent(&mut self, number: u64, value: &Value) -> FromFrame<()> {
        let connection = self.connections.entry(number).or_default();
        match history::text(value, "type")? {
            "login" => connection.author = Some(history::text(value, "author")?.into()),
            kind @ ("join" | "update") => {
                let slot = |member: &str| value.get(member).and_then(Value::as_i64).unwrap_or(-1);
                if let Some(req) = value.get("req").and_then(Value::as_i64) {
                    let least = slot("after").max(slot("seen"));
                    connection.reads.insert(req, (least, kind == "join"));
                }
            }
            "append" => {
                let author = connection.author.clone().ok_or("an append before login")?;
                let (room, id) = (history::text(value, "room")?, history::text(value, "id")?);
                let floor = self.shown.get(room).copied().unwrap_or(-1);
                let name = (room.to_owned(), author.clone(), id.to_owned());
                if !self.sent.contains_key(&name) {
                    let turn = self.turns.entry((room.to_owned(), author)).or_default();
                    *turn += 1;
                    let body = history::text(value, "body")?.to_owned();
                    self.sent.insert(name, Sent { body, floor, turn: *turn });
                    self.counts.appends += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn received(&mut self, number: u64, value: &Value) -> FromFrame<()> {
        match history::text(value, "type")? {
            "appended" => self.appended(number, value),
            "ack" => {
                let (room, entries) = (history::text(value, "room")?, history::entries(value)?);
                self.follow(number, room, &entries)?;
                self.view(room, &entries)
            }
            "reply" => self.reply(number, value),
            _ => Ok(()),
        }
    }

    fn appended(&mut self, number: u64, value: &Value) -> FromFrame<()> {
        let (room, id) = (history::text(value, "room")?, history::text(value, "id")?);
        let (slot, time) =
            (history::number(value, "slot")?, history::number(value, "committed_at")?);
        let author = self.connections.get(&number).and_then(|it| it.author.clone());
        let author = author.ok_or("appended before login")?;
        self.counts.acked += 1;
        self.show(room, slot);
        let entry = self.at(room, slot);
        let entry =
            entry.ok_or_else(|| format!("{room} {slot} was acked and is not in the log"))?;
        if entry.author != author || entry.id != id || entry.committed_at != time {
            return Err(format!(
                "{author}'s {id} was acked at {room} {slot}, which holds {}'s {}",
                entry.author, entry.id
            ));
        }
        Ok(())
    }

    fn reply(&mut self, number: u64, value: &Value) -> FromFrame<()> {
        let (room, entries) = (history::text(value, "room")?, history::entries(value)?);
        let latest = value.get("latest").and_then(Value::as_i64).ok_or("a reply without latest")?;
        let req = value.get("req").and_then(Value::as_i64);
        let connection = self.connections.entry(number).or_default();
        if let Some((least, joins)) = req.and_then(|req| connection.reads.remove(&req)) {
            if joins {
                let empty = if least >= 0 { least } else { latest };
                let last = entries.last().map_or(empty, |entry| signed(entry.slot));
                connection.follows.insert(room.to_owned(), last);
            }
            if latest < least {
                return Err(format!("{room}: a reply ends at {latest}, before {least}"));
            }
        }
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].slot + 1 != pair[1].slot) {
            return Err(format!("{room}: a reply skips from {} to {}", pair[0].slot, pair[1].slot));
        }
        self.view(room, &entries)
    }

    fn follow(&mut self, number: u64, room: &str, entries: &[Seen]) -> FromFrame<()> {
        let connection = self.connections.entry(number).or_default();
        let last = connection.follows.get_mut(room);
        let last = last.ok_or_else(|| format!("an ack of {room}, which is not followed"))?;
        for entry in entries {
            if signed(entry.slot) != *last + 1 {
                return Err(format!("{room}: a follow skips from {last} to {}", entry.slot));
            }
            *last += 1;
        }
        Ok(())
    }

    fn view(&mut self, room: &str, entries: &[Seen]) -> FromFrame<()> {
        for entry in entries {
            self.counts.seen += 1;
            self.show(room, entry.slot);
            if self.at(room, entry.slot) != Some(entry) {
                return Err(format!(
                    "{room} {}: {}'s {} was received, and the log has another entry or none",
                    entry.slot, entry.author, entry.id
                ));
            }
        }
        Ok(())
    }

    fn at(&self, room: &str, slot: u64) -> Option<&'a Seen> {
        let entries = &self.rooms.get(room)?.entries;
        entries.get(usize::try_from(slot).ok()?)
    }

    fn show(&mut self, room: &str, slot: u64) {
        let shown = self.shown.entry(room.to_owned()).or_insert(-1);
        *shown = (*shown).max(signed(slot));
    }

    /// Checks what needs all frames: causal order, author order, and that every entry was sent.
    pub(crate) fn end(&mut self) {
        let mut by_author: HashMap<(&str, &str), Vec<Turn<'_>>> = HashMap::new();
        for (name, &slot) in &self.slots {
            let (room, author, id) = name;
            let entry = &self.rooms[room].entries[slot];
            let Some(sent) = self.sent.get(name) else {
                self.broken.push(format!("{room} {slot}: nobody sent {author}'s {id}"));
                continue;
            };
            if entry.body.as_ref().is_some_and(|body| *body != sent.body) {
                self.broken.push(format!("{room} {slot}: {author}'s {id} has another body"));
            }
            if i64::try_from(slot).unwrap_or(-1) <= sent.floor {
                self.broken.push(format!(
                    "{room} {slot}: {author}'s {id} was sent after slot {} had been received",
                    sent.floor
                ));
            }
            by_author.entry((room, author)).or_default().push((sent.turn, slot, id));
        }
        for ((room, author), mut entries) in by_author {
            entries.sort_unstable();
            if let Some(pair) = entries.windows(2).find(|pair| pair[0].1 > pair[1].1) {
                self.broken.push(format!(
                    "{room}: {author} sent {} before {}, and they are at {} and {}",
                    pair[0].2, pair[1].2, pair[0].1, pair[1].1
                ));
            }
        }
    }
}
