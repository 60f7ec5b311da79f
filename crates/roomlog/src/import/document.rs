//! Streams a JSON document: a list of messages, or an object with one as its member `messages`.
//!
//! Input: text. Output: what the document holds, in order. At most one message of [`MESSAGE_BYTES`]
//! is in memory.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read},
    rc::Rc,
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

const MESSAGE_BYTES: u64 = 16 << 20;
const HEAD_BYTES: u64 = 1 << 20;

/// A part of a document.
pub(super) enum Part {
    /// The document is a list, not an object.
    List,
    /// The object has this member.
    Member(String),
    /// The value of a member that was asked for.
    Value(String, Value),
    /// A message, and the line that it begins on.
    Message(u64, Value),
}

/// Why a document was not read to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// `take` returned false.
    Done,
    /// It is invalid JSON from this line on.
    Broken { line: u64, why: String },
}

/// Passes on each part, with the values of these members, as long as `take` returns true.
pub(super) fn read(
    text: impl Read,
    members: &[&str],
    take: &mut dyn FnMut(Part) -> bool,
) -> Result<(), Stopped> {
    let at = Rc::new(At { line: Cell::new(1), bytes: Cell::new(0), done: Cell::new(false) });
    let counted = CountedText { text, at: at.clone() };
    let mut json = serde_json::Deserializer::from_reader(counted);
    let document = Document { at: &at, members, take, inner: false };
    match json.deserialize_any(document).and_then(|()| json.end()) {
        Ok(()) => Ok(()),
        Err(_) if at.done.get() => Err(Stopped::Done),
        Err(why) => Err(Stopped::Broken { line: at.line.get(), why: why.to_string() }),
    }
}

/// How far the document was read.
struct At {
    line: Cell<u64>,
    /// Bytes since the current message began.
    bytes: Cell<u64>,
    done: Cell<bool>,
}

/// Counts lines and bytes. The JSON reader takes one byte at a time, so the line is always the
/// current one.
struct CountedText<R> {
    text: R,
    at: Rc<At>,
}

impl<R: Read> Read for CountedText<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.text.read(into)?;
        let lines = into[..n].iter().filter(|byte| **byte == b'\n').count();
        self.at.line.set(self.at.line.get() + lines as u64);
        self.at.bytes.set(self.at.bytes.get() + n as u64);
        if self.at.bytes.get() > MESSAGE_BYTES {
            return Err(io::Error::other(format!("a message has more than {MESSAGE_BYTES} bytes")));
        }
        Ok(n)
    }
}

struct Document<'a> {
    at: &'a At,
    members: &'a [&'a str],
    take: &'a mut dyn FnMut(Part) -> bool,
    /// It is the member `messages`.
    inner: bool,
}

impl Document<'_> {
    fn take<E: Error>(&mut self, part: Part) -> Result<(), E> {
        if (self.take)(part) {
            return Ok(());
        }
        self.at.done.set(true);
        Err(E::custom("done"))
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.take(Part::Member(name.clone()))?;
            if name == "messages" {
                let Self { at, members, .. } = self;
                map.next_value_seed(Document { at, members, take: &mut *self.take, inner: true })?;
            } else if self.members.contains(&name.as_str()) {
                let value = map.next_value()?;
                self.take(Part::Value(name, value))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        if !self.inner {
            self.take(Part::List)?;
        }
        while let Some((line, message)) = list.next_element_seed(MessageSeed(self.at))? {
            self.take(Part::Message(line, message))?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

struct MessageSeed<'a>(&'a At);

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = (u64, Value);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(u64, Value), D::Error> {
        let line = self.0.line.get();
        self.0.bytes.set(0);
        let message = serde::Deserialize::deserialize(deserializer)?;
        self.0.bytes.set(0);
        Ok((line, message))
    }
}

/// The members and the first message of a document, as far as its first [`HEAD_BYTES`] have them.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) is_list: bool,
    members: Vec<String>,
    first: Option<Value>,
    id: Option<Value>,
    channel: Option<Value>,
}

impl Shape {
    pub(super) fn of(text: impl Read) -> Self {
        let mut shape = Self::default();
        let _truncated_or_invalid = read(text.take(HEAD_BYTES), &["id", "channel"], &mut |part| {
            match part {
                Part::List => shape.is_list = true,
                Part::Member(name) => shape.members.push(name),
                Part::Value(name, value) if name == "id" => shape.id = Some(value),
                Part::Value(_, value) => shape.channel = Some(value),
                Part::Message(_, message) => {
                    shape.first.get_or_insert(message);
                }
            }
            true
        });
        shape
    }

    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.members.iter().any(|member| member == name))
    }

    /// Whether there is no message, or the first one has these members.
    pub(super) fn first_has(&self, names: &[&str]) -> bool {
        let Some(first) = &self.first else { return true };
        names.iter().all(|name| first.get(name).is_some())
    }

    pub(super) fn has_message(&self) -> bool {
        self.first.is_some()
    }

    /// The id of the exported chat: the member `id`, or that of `channel`.
    pub(super) fn chat_id(&self) -> String {
        match self.id.as_ref().or_else(|| self.channel.as_ref()?.get("id")) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => "0".into(),
        }
    }

    /// The first members, for an error.
    pub(super) fn names(&self) -> String {
        let names = self.members.iter().take(8);
        names.map(|name| name.chars().take(32).collect()).collect::<Vec<String>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &'static [u8]) -> (Vec<(u64, String)>, Result<(), Stopped>) {
        let mut messages = Vec::new();
        let ended = read(json, &[], &mut |part| {
            if let Part::Message(line, message) = part {
                messages.push((line, message.to_string()));
            }
            messages.len() < 3
        });
        (messages, ended)
    }

    #[test]
    fn a_message_has_the_line_it_begins_on() {
        let (messages, ended) =
            lines(b"{\"a\":[1],\n\"messages\": [\n 1,\n {\n\"x\":2} ],\n\"b\":0}");
        assert_eq!(messages, [(3, "1".into()), (4, r#"{"x":2}"#.into())]);
        assert!(ended.is_ok());
        assert_eq!(lines(b"[1,\n2]").0, [(1, "1".into()), (2, "2".into())]);
    }

    #[test]
    fn a_truncated_or_abandoned_document_stops_early() {
        let (messages, ended) = lines(b"[1,\n\n{\"x\":");
        assert_eq!(messages.len(), 1);
        assert!(matches!(ended, Err(Stopped::Broken { line: 3, .. })));
        let (messages, ended) = lines(b"[1,2,3,4]");
        assert_eq!(messages.len(), 3);
        assert!(matches!(ended, Err(Stopped::Done)));
    }

    #[test]
    fn the_head_is_enough() {
        let telegram =
            br#"{"name":"tea","type":"private_group","id":7,"messages":[{"id":1,"date":"x"},{"#;
        let shape = Shape::of(&telegram[..]);
        assert!(shape.has(&["name", "type", "messages"]) && !shape.is_list);
        assert!(shape.first_has(&["id", "date"]) && !shape.first_has(&["ts"]));
        assert_eq!(
            (shape.chat_id(), shape.names()),
            ("7".into(), "name, type, id, messages".into())
        );
    }

    #[test]
    fn a_list_has_a_first_message_or_none() {
        let shape = Shape::of(&br#"[{"ts":"1.0"}]"#[..]);
        assert!(shape.is_list && shape.has_message() && shape.first_has(&["ts"]));
        assert!(!Shape::of(&b"[]"[..]).has_message());
        assert!(!Shape::of(&b"[\x00"[..]).has_message());
    }
}
