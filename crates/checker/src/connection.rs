//! One connection: what it asked for, and what it may be answered.
//!
//! Enters: the frames of one connection, in order. Leaves: what the answers must reach, or what is wrong with
//! them. Invariant: knows nothing of the log.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    appends::Name,
    entry::{FromFrame, Seen, signed},
    rights::Rights,
};

#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) author: Option<String>,
    /// Of the token in force, and after it of those that were sent since. Empty on an open server.
    rights: Vec<Rights>,
    /// How many of them are not answered yet.
    unanswered: usize,
    follows: HashMap<String, Follow>,
    /// Unanswered reads, by `req`.
    reads: HashMap<i64, Read>,
    /// The highest slot that the node is known to have, by room.
    shown: HashMap<String, i64>,
    /// By room and id: the author of an append, and its `expect`.
    appends: HashMap<(String, String), (String, Option<u64>)>,
}

struct Follow {
    /// The last slot received.
    last: i64,
    /// The node had this slot when the room was joined.
    least: i64,
}

struct Read {
    /// The least `latest` of the reply.
    least: i64,
    /// The `after` of a `join`; −1 if it has none.
    joins_after: Option<i64>,
}

impl Connection {
    /// A `login` is sent; returns its author.
    pub(crate) fn login(&mut self, frame: &Value) -> FromFrame<Option<String>> {
        let member = |name: &str| frame.get(name).and_then(Value::as_str);
        let Some(token) = member("token") else { return Ok(member("author").map(Into::into)) };
        let rights = Rights::of(token)?;
        let author = rights.author.clone();
        self.rights.push(rights);
        self.unanswered += 1;
        Ok(Some(author))
    }

    /// The oldest unanswered `login` is accepted.
    pub(crate) fn welcome(&mut self, author: &str) -> FromFrame<()> {
        if self.unanswered > 0 {
            let in_force = self.rights.len() - self.unanswered;
            self.rights.drain(..in_force);
            self.unanswered -= 1;
        }
        match &self.author {
            Some(own) if own != author => Err(format!("{own} was welcomed as {author}")),
            _ => Ok(()),
        }
    }

    pub(crate) fn may(&self, right: &str, room: &str) -> FromFrame<()> {
        let is_open = self.rights.is_empty();
        if is_open || self.rights.iter().any(|rights| rights.allow(right, room)) {
            return Ok(());
        }
        Err(format!(
            "{room}: an answer that needs the right {right}, which its token does not have"
        ))
    }

    /// A `join` or an `update` is sent.
    pub(crate) fn ask(&mut self, frame: &Value) {
        let slot = |member: &str| frame.get(member).and_then(Value::as_i64).unwrap_or(-1);
        let room = frame.get("room").and_then(Value::as_str).unwrap_or("");
        let Some(req) = frame.get("req").and_then(Value::as_i64) else { return };
        let least = slot("after").max(slot("seen")).max(self.shown(room));
        let joins = frame.get("type").is_some_and(|it| it == "join");
        self.reads.insert(req, Read { least, joins_after: joins.then(|| slot("after")) });
    }

    /// A `reply` is received; returns what its log must have reached.
    pub(crate) fn reply(
        &mut self,
        room: &str,
        frame: &Value,
        latest: i64,
        entries: &[Seen],
    ) -> FromFrame<i64> {
        let req = frame.get("req").and_then(Value::as_i64);
        let Some(Read { least, joins_after }) = req.and_then(|req| self.reads.remove(&req)) else {
            return Ok(-1);
        };
        if let Some(after) = joins_after {
            let empty = if after >= 0 { after } else { latest };
            let last = entries.last().map_or(empty, |entry| signed(entry.slot));
            self.follows.insert(room.to_owned(), Follow { last, least });
        }
        if latest < least {
            return Err(format!("{room}: a reply ends at {latest}, before {least}"));
        }
        Ok(least)
    }

    /// An `ack` is received; returns what its log must have reached.
    pub(crate) fn follow(&mut self, room: &str, entries: &[Seen]) -> FromFrame<i64> {
        let follow = self.follows.get_mut(room);
        let follow = follow.ok_or_else(|| format!("an ack of {room}, which is not followed"))?;
        for entry in entries {
            if signed(entry.slot) != follow.last + 1 {
                let last = follow.last;
                return Err(format!("{room}: a follow skips from {last} to {}", entry.slot));
            }
            follow.last += 1;
        }
        Ok(follow.least)
    }

    /// `left` is received.
    pub(crate) fn left(&mut self, room: &str) {
        self.follows.remove(room);
    }

    /// An `append` with an id is sent.
    pub(crate) fn append(&mut self, (room, author, id): &Name, frame: &Value) {
        let expect = frame.get("expect").and_then(Value::as_u64);
        self.appends.insert((room.clone(), id.clone()), (author.clone(), expect));
    }

    /// An `appended` is received; returns the author of the append, and its `expect`.
    pub(crate) fn appended(&self, room: &str, id: &str) -> FromFrame<(String, Option<u64>)> {
        if let Some(append) = self.appends.get(&(room.to_owned(), id.to_owned())) {
            return Ok(append.clone());
        }
        let author = self.author.clone().ok_or("appended before login")?;
        Ok((author, None))
    }

    /// An `error` is received; returns the append that it refuses, if it does that.
    pub(crate) fn error(&mut self, frame: &Value) -> Option<Name> {
        let member = |name: &str| frame.get(name).and_then(Value::as_str);
        let code = member("code")?;
        let Some(room) = member("room") else {
            if matches!(code, "unauthorized" | "forbidden") && self.unanswered > 0 {
                self.rights.remove(self.rights.len() - self.unanswered);
                self.unanswered -= 1;
            }
            return None;
        };
        let id = member("id").filter(|_| code != "unknown_outcome")?;
        let (author, _) = self.appends.get(&(room.to_owned(), id.to_owned()))?;
        Some((room.into(), author.clone(), id.into()))
    }

    pub(crate) fn show(&mut self, room: &str, slot: i64) {
        let shown = self.shown.entry(room.to_owned()).or_insert(-1);
        *shown = (*shown).max(slot);
    }

    fn shown(&self, room: &str) -> i64 {
        self.shown.get(room).copied().unwrap_or(-1)
    }
}
