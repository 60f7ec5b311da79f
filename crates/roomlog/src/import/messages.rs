//! The messages of a JSON file, one at a time.
//!
//! Enters: a document that is a list of messages, or an object with one as its member `messages`. Leaves: each message,
//! with the line that it begins on. Invariant: one message is in memory at a time, of at most [`MESSAGE_BYTES`].

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

use super::{Line, open::Text};

const MESSAGE_BYTES: u64 = 16 << 20;

/// A format whose files are lists of messages.
pub(super) trait Messages {
    /// Adds the entries of a message; an error is why it has none, or not all.
    fn message(&mut self, message: Value, lines: &mut Vec<Line>) -> Result<(), String>;
}

/// Why there are no more messages before the end of the file.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Nobody takes them any more.
    Done,
    /// The file cannot be read as JSON from this line on.
    Broken { line: u64, why: String },
}

/// Hands each message on, with its line, for as long as `take` says true.
pub(super) fn each(text: Text, take: &mut dyn FnMut(u64, Value) -> bool) -> Result<(), Stopped> {
    let at = Rc::new(At { line: Cell::new(1), bytes: Cell::new(0), done: Cell::new(false) });
    let counted = Counted { text, at: at.clone() };
    let mut json = serde_json::Deserializer::from_reader(counted);
    let read = json.deserialize_any(Document { at: &at, take }).and_then(|()| json.end());
    match read {
        Ok(()) => Ok(()),
        Err(_) if at.done.get() => Err(Stopped::Done),
        Err(why) => Err(Stopped::Broken { line: at.line.get(), why: why.to_string() }),
    }
}

/// How far the file is read.
struct At {
    line: Cell<u64>,
    /// Since the current message began.
    bytes: Cell<u64>,
    done: Cell<bool>,
}

/// Counts what goes to the JSON reader, which asks for a byte at a time: so the line is that of the byte it is at.
struct Counted {
    text: Text,
    at: Rc<At>,
}

impl Read for Counted {
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
    take: &'a mut dyn FnMut(u64, Value) -> bool,
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { at, take } = self;
        while let Some(name) = map.next_key::<String>()? {
            if name == "messages" {
                map.next_value_seed(Document { at, take: &mut *take })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some((line, message)) = list.next_element_seed(Message(self.at))? {
            if !(self.take)(line, message) {
                self.at.done.set(true);
                return Err(A::Error::custom("done"));
            }
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

struct Message<'a>(&'a At);

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = (u64, Value);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(u64, Value), D::Error> {
        let line = self.0.line.get();
        self.0.bytes.set(0);
        let message = serde::Deserialize::deserialize(deserializer)?;
        self.0.bytes.set(0);
        Ok((line, message))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(json: &'static [u8]) -> (Vec<(u64, String)>, Result<(), Stopped>) {
        let mut messages = Vec::new();
        let text = BufReader::new(Box::new(json) as Box<dyn Read + Send>);
        let ended = each(text, &mut |line, message| {
            messages.push((line, message.to_string()));
            messages.len() < 3
        });
        (messages, ended)
    }

    #[test]
    fn a_message_has_the_line_that_it_begins_on() {
        let (messages, ended) =
            lines(b"{\"a\":[1],\n\"messages\": [\n 1,\n {\n\"x\":2} ],\n\"b\":0}");
        assert_eq!(messages, [(3, "1".into()), (4, r#"{"x":2}"#.into())]);
        assert!(ended.is_ok());
        assert_eq!(lines(b"[1,\n2]").0, [(1, "1".into()), (2, "2".into())]);
    }

    #[test]
    fn what_is_cut_off_or_no_longer_taken_ends_early() {
        let (messages, ended) = lines(b"[1,\n\n{\"x\":");
        assert_eq!(messages.len(), 1);
        assert!(matches!(ended, Err(Stopped::Broken { line: 3, .. })));
        let (messages, ended) = lines(b"[1,2,3,4]");
        assert_eq!(messages.len(), 3);
        assert!(matches!(ended, Err(Stopped::Done)));
    }
}
