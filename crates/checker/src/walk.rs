//! A walk through the frames, in time order.
//!
//! Enters: frames, and the log that all nodes agree on. Leaves: violations and counts. What a connection was
//! promised depends on what it had sent and received before ([`Connection`]); what becomes of appends is
//! checked at the end ([`Appends`]).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::{
    appends::{Appends, Content, Name, Sending},
    connection::Connection,
    entry::{self, FromFrame, Said, Seen, signed},
    history::{Direction, Frame},
    logs::Rooms,
};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) appends: usize,
    pub(crate) acked: usize,
    pub(crate) seen: usize,
}

pub(crate) struct Walk<'a> {
    rooms: &'a Rooms,
    appends: Appends,
    connections: HashMap<u64, Connection>,
    /// How many connections of an author are open.
    open: HashMap<String, usize>,
    /// Authors of whom two were open at once.
    several: HashSet<String>,
    /// The highest slot that any client received, by room.
    shown: HashMap<String, i64>,
    pub(crate) counts: Counts,
    pub(crate) broken: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(rooms: &'a Rooms) -> Self {
        Self {
            rooms,
            appends: Appends::default(),
            connections: HashMap::new(),
            open: HashMap::new(),
            several: HashSet::new(),
            shown: HashMap::new(),
            counts: Counts::default(),
            broken: Vec::new(),
        }
    }

    pub(crate) fn frame(&mut self, frame: &Frame) {
        let number = frame.connection;
        if frame.direction == Direction::Ended {
            return self.ended(number);
        }
        let value: Value = match serde_json::from_str(&frame.text) {
            Ok(value) => value,
            // What a client sends need not be JSON.
            Err(_) if frame.direction == Direction::Sent => return,
            Err(why) => return self.broken.push(format!("not JSON: {why}: {}", frame.text)),
        };
        let taken = match frame.direction {
            Direction::Sent => self.sent(number, &value),
            _ => self.received(number, &value),
        };
        if let Err(why) = taken {
            self.broken.push(format!("connection {number}: {why}"));
        }
    }

    /// Checks what needs all frames.
    pub(crate) fn end(&mut self) {
        self.appends.end(self.rooms, &self.several, &mut self.broken);
        self.counts.appends = self.appends.count();
        let mut shown: Vec<_> = self.shown.iter().collect();
        shown.sort_unstable();
        for (room, slot) in shown {
            let end = self.rooms.get(room).map_or(0, |log| log.entries.len());
            if *slot >= i64::try_from(end).unwrap_or(i64::MAX) {
                self.broken.push(format!("{room} {slot} was named, and the log has {end} entries"));
            }
        }
    }

    fn connection(&mut self, number: u64) -> &mut Connection {
        self.connections.entry(number).or_default()
    }

    fn ended(&mut self, number: u64) {
        let author = self.connections.remove(&number).and_then(|it| it.author);
        if let Some(open) = author.and_then(|author| self.open.get_mut(&author)) {
            *open = open.saturating_sub(1);
        }
    }

    /// An author logs in.
    fn login(&mut self, number: u64, author: &str) {
        let connection = self.connection(number);
        if connection.author.is_some() {
            return;
        }
        connection.author = Some(author.into());
        let open = self.open.entry(author.into()).or_default();
        *open += 1;
        if *open > 1 {
            self.several.insert(author.into());
        }
    }

    fn sent(&mut self, number: u64, frame: &Value) -> FromFrame<()> {
        match frame.get("type").and_then(Value::as_str) {
            Some("login") => {
                if let Some(author) = self.connection(number).login(frame)? {
                    self.login(number, &author);
                }
                Ok(())
            }
            Some("join" | "update") => {
                self.connection(number).ask(frame);
                Ok(())
            }
            Some("append") => self.append(number, frame),
            _ => Ok(()),
        }
    }

    fn append(&mut self, number: u64, frame: &Value) -> FromFrame<()> {
        let connection = self.connections.entry(number).or_default();
        let author = frame.get("author").and_then(Value::as_str).or(connection.author.as_deref());
        let member = |name: &str| frame.get(name).and_then(Value::as_str);
        // One of another form is refused, and has no name.
        let (Some(author), Some(room), Some(body)) = (author, member("room"), member("body"))
        else {
            return Ok(());
        };
        let content = Content {
            kind: member("kind").unwrap_or("text").into(),
            reference: frame.get("ref").and_then(Value::as_u64),
            said: Said { body: body.into(), meta: member("meta").map(Into::into) },
        };
        let shown = self.shown.get(room).copied().unwrap_or(-1);
        let after = frame.get("after").and_then(Value::as_i64).unwrap_or(-1);
        let sending = Sending {
            connection: number,
            is_numbered: frame.get("seq").is_some(),
            floor: shown.max(after),
        };
        let Some(id) = member("id") else {
            self.appends.sent_without_id(room, author, content);
            return Ok(());
        };
        let name = (room.to_owned(), author.to_owned(), id.to_owned());
        connection.append(&name, frame);
        self.appends.sent(name, content, sending);
        Ok(())
    }

    fn received(&mut self, number: u64, frame: &Value) -> FromFrame<()> {
        match entry::text(frame, "type")? {
            "welcome" => {
                let author = entry::text(frame, "author")?;
                self.login(number, author);
                self.connection(number).welcome(author)
            }
            "appended" => self.appended(number, frame),
            "ack" => {
                let (room, entries) = (entry::text(frame, "room")?, entry::entries(frame)?);
                let least = self.connection(number).follow(room, &entries)?;
                self.view(number, room, &entries, least)
            }
            "reply" => self.reply(number, frame),
            "heads" => self.heads(number, frame),
            "left" => {
                self.connection(number).left(entry::text(frame, "room")?);
                Ok(())
            }
            "error" => {
                let name = self.connection(number).error(frame);
                if let Some(name) = name {
                    self.appends.refused(&name);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn appended(&mut self, number: u64, frame: &Value) -> FromFrame<()> {
        let (room, id) = (entry::text(frame, "room")?, entry::text(frame, "id")?);
        let (slot, time) = (entry::number(frame, "slot")?, entry::number(frame, "committed_at")?);
        let connection = self.connections.entry(number).or_default();
        connection.may("append", room)?;
        let (author, expect) = connection.appended(room, id)?;
        let name: Name = (room.into(), author, id.into());
        self.counts.acked += 1;
        self.show(number, room, signed(slot));
        let is_first = frame.get("repeat").is_none() && self.appends.is_sent_once(&name);
        if let Some(expect) = expect.filter(|expect| is_first && *expect != slot) {
            return Err(format!("{room}: {id} expected slot {expect} and was acked at {slot}"));
        }
        let entry = self.rooms.get(room).and_then(|log| log.at(slot));
        let entry =
            entry.ok_or_else(|| format!("{room} {slot} was acked and is not in the log"))?;
        if entry.author != name.1 || entry.id != id || entry.committed_at != time {
            return Err(format!(
                "{}'s {id} was acked at {room} {slot}, which holds {}'s {}",
                name.1, entry.author, entry.id
            ));
        }
        Ok(())
    }

    fn reply(&mut self, number: u64, frame: &Value) -> FromFrame<()> {
        let (room, entries) = (entry::text(frame, "room")?, entry::entries(frame)?);
        let signed_of = |member: &str| {
            let value = frame.get(member).and_then(Value::as_i64);
            value.ok_or_else(|| format!("a reply without {member}"))
        };
        let (latest, digest_at) = (signed_of("latest")?, signed_of("digest_at")?);
        let least = self.connection(number).reply(room, frame, latest, &entries)?;
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].slot + 1 != pair[1].slot) {
            return Err(format!("{room}: a reply skips from {} to {}", pair[0].slot, pair[1].slot));
        }
        self.show(number, room, latest);
        self.view(number, room, &entries, least)?;
        let digest = entry::text(frame, "digest")?;
        let log = self.rooms.get(room);
        let computed = log.and_then(|log| log.digest_at(room, digest_at));
        match computed {
            Some(computed) if computed != digest => Err(format!(
                "{room}: a reply has digest {digest} at {digest_at}, computed {computed}"
            )),
            _ => Ok(()),
        }
    }

    fn heads(&mut self, number: u64, frame: &Value) -> FromFrame<()> {
        for (room, latest) in frame.get("rooms").and_then(Value::as_object).into_iter().flatten() {
            self.connection(number).may("read", room)?;
            let latest = latest.as_i64().ok_or("a head that is no slot")?;
            self.show(number, room, latest);
        }
        Ok(())
    }

    /// Compares entries with the log; what slots up to `least` remove must be gone.
    fn view(&mut self, number: u64, room: &str, entries: &[Seen], least: i64) -> FromFrame<()> {
        self.connection(number).may("read", room)?;
        for entry in entries {
            self.counts.seen += 1;
            self.show(number, room, signed(entry.slot));
            let log = self.rooms.get(room);
            let Seen { slot, author, id, .. } = entry;
            if log.and_then(|log| log.at(*slot)) != Some(entry) {
                return Err(format!(
                    "{room} {slot}: {author}'s {id} was received, and the log has another entry or none"
                ));
            }
            let by = log.and_then(|log| log.removed.get(slot)).filter(|by| signed(**by) <= least);
            if let Some(by) = by.filter(|_| entry.said.is_some()) {
                return Err(format!(
                    "{room} {slot}: the text of {author}'s {id} was received after slot {by}, which removes it"
                ));
            }
        }
        Ok(())
    }

    fn show(&mut self, number: u64, room: &str, slot: i64) {
        let shown = self.shown.entry(room.to_owned()).or_insert(-1);
        *shown = (*shown).max(slot);
        self.connection(number).show(room, slot);
    }
}
