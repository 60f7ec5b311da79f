//! A walk through the frames, in the order of their time.
//!
//! Enters: frames, and the log that all nodes agree on. Leaves: what was promised and not kept.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    frame::{self, Direction, Frame, FromFrame, Seen},
    logs::Rooms,
};

/// The name of an append: room, author, id.
type Name = (String, String, String);

/// The turn in which an author sent something, the slot it stands at, its id.
type Turn<'a> = (usize, usize, &'a str);

/// An append as it was sent first.
struct Sent {
    body: String,
    /// No slot above this one had been sent to anyone then; −1: none at all.
    floor: i64,
    /// How many this author had sent to the room before.
    turn: usize,
}

#[derive(Default)]
struct Connection {
    author: Option<String>,
    /// Rooms that are followed: the last slot that was sent.
    follows: HashMap<String, i64>,
    /// Reads that are not answered: by `req`, the least `latest` of their reply, and whether it joins.
    reads: HashMap<i64, (i64, bool)>,
}

/// What was counted on the way.
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
    /// The highest slot that anyone was sent, by room.
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
            Err(why) => return self.broken.push(format!("no JSON: {why}: {}", frame.text)),
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
        match frame::text(value, "type")? {
            "login" => connection.author = Some(frame::text(value, "author")?.into()),
            kind @ ("join" | "update") => {
                let least = |member: &str| value.get(member).and_then(Value::as_i64).unwrap_or(-1);
                if let Some(req) = value.get("req").and_then(Value::as_i64) {
                    let least = least("after").max(least("seen"));
                    connection.reads.insert(req, (least, kind == "join"));
                }
            }
            "append" => {
                let author = connection.author.clone().ok_or("an append before login")?;
                let (room, id) = (frame::text(value, "room")?, frame::text(value, "id")?);
                let floor = self.shown.get(room).copied().unwrap_or(-1);
                let name = (room.to_owned(), author.clone(), id.to_owned());
                if !self.sent.contains_key(&name) {
                    let turn = self.turns.entry((room.to_owned(), author)).or_default();
                    *turn += 1;
                    let body = frame::text(value, "body")?.to_owned();
                    self.sent.insert(name, Sent { body, floor, turn: *turn });
                    self.counts.appends += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn received(&mut self, number: u64, value: &Value) -> FromFrame<()> {
        match frame::text(value, "type")? {
            "appended" => self.appended(number, value),
            "ack" => {
                let (room, entries) = (frame::text(value, "room")?, frame::entries(value)?);
                self.follow(number, room, &entries)?;
                self.view(room, &entries)
            }
            "reply" => self.reply(number, value),
            _ => Ok(()),
        }
    }

    fn appended(&mut self, number: u64, value: &Value) -> FromFrame<()> {
        let (room, id) = (frame::text(value, "room")?, frame::text(value, "id")?);
        let (slot, time) = (frame::number(value, "slot")?, frame::number(value, "committed_at")?);
        let author = self.connections.get(&number).and_then(|it| it.author.clone());
        let author = author.ok_or("appended before login")?;
        self.counts.acked += 1;
        self.show(room, slot);
        let entry = self.at(room, slot);
        let entry =
            entry.ok_or_else(|| format!("{room} {slot} was acked and is not in the log"))?;
        if entry.author != author || entry.id != id || entry.committed_at != time {
            return Err(format!(
                "{author}'s {id} was acked at {room} {slot}, where {}'s {} stands",
                entry.author, entry.id
            ));
        }
        Ok(())
    }

    fn reply(&mut self, number: u64, value: &Value) -> FromFrame<()> {
        let (room, entries) = (frame::text(value, "room")?, frame::entries(value)?);
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
                return Err(format!(
                    "{room} was answered from {latest} to one who had seen {least}"
                ));
            }
        }
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].slot + 1 != pair[1].slot) {
            return Err(format!("{room}: a reply goes from {} to {}", pair[0].slot, pair[1].slot));
        }
        self.view(room, &entries)
    }

    fn follow(&mut self, number: u64, room: &str, entries: &[Seen]) -> FromFrame<()> {
        let connection = self.connections.entry(number).or_default();
        let last = connection.follows.get_mut(room);
        let last = last.ok_or_else(|| format!("an ack of {room}, which is not followed"))?;
        for entry in entries {
            if signed(entry.slot) != *last + 1 {
                return Err(format!("{room}: a following goes from {last} to {}", entry.slot));
            }
            *last += 1;
        }
        Ok(())
    }

    /// Entries that someone was sent are those of the log.
    fn view(&mut self, room: &str, entries: &[Seen]) -> FromFrame<()> {
        for entry in entries {
            self.counts.seen += 1;
            self.show(room, entry.slot);
            if self.at(room, entry.slot) != Some(entry) {
                return Err(format!(
                    "{room} {}: {}'s {} was shown, and the log has another entry or none",
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

    /// What only the whole tells: causes, orders, and where everything came from.
    pub(crate) fn end(&mut self) {
        let mut by_author: HashMap<(&str, &str), Vec<Turn<'_>>> = HashMap::new();
        for (name, &slot) in &self.slots {
            let (room, author, id) = name;
            let entry = &self.rooms[room].entries[slot];
            let Some(sent) = self.sent.get(name) else {
                self.broken.push(format!("{room} {slot}: nobody sent {author}'s {id}"));
                continue;
            };
            if sent.body != entry.body {
                self.broken.push(format!("{room} {slot}: {author}'s {id} has another body"));
            }
            if i64::try_from(slot).unwrap_or(-1) <= sent.floor {
                self.broken.push(format!(
                    "{room} {slot}: {author}'s {id} was sent after slot {} had been shown",
                    sent.floor
                ));
            }
            by_author.entry((room, author)).or_default().push((sent.turn, slot, id));
        }
        for ((room, author), mut entries) in by_author {
            entries.sort_unstable();
            if let Some(pair) = entries.windows(2).find(|pair| pair[0].1 > pair[1].1) {
                self.broken.push(format!(
                    "{room}: {author} sent {} before {}, and they stand at {} and {}",
                    pair[0].2, pair[1].2, pair[0].1, pair[1].1
                ));
            }
        }
    }
}

fn signed(slot: u64) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX)
}
