//! What the head of a JSON file looks like.
//!
//! Enters: the beginning of a file. Leaves: its outermost names, and those of its first message. Invariant: it looks at
//! no more than [`HEAD_BYTES`], and an end in the middle of them is no error.

use std::{
    fmt,
    io::{BufReader, Read},
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

const HEAD_BYTES: u64 = 1 << 20;

/// The shape of a JSON document, as far as its head shows it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Whether it is a list; an object otherwise.
    pub(super) is_list: bool,
    /// The names of an object.
    names: Vec<String>,
    /// The first message: of the list, or of the member `messages`.
    first: Option<Value>,
    /// The members `id`, and `channel`.
    id: Option<Value>,
    channel: Option<Value>,
}

impl Shape {
    /// Looks at a document.
    pub(super) fn of(text: impl Read) -> Self {
        let mut shape = Self::default();
        let head = BufReader::new(text.take(HEAD_BYTES));
        // What is seen before an error is seen.
        let _ = serde_json::Deserializer::from_reader(head).deserialize_any(Whole(&mut shape));
        shape
    }

    /// Whether the object has these names.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.names.iter().any(|has| has == name))
    }

    /// Whether there is no message, or the first has these names.
    pub(super) fn first_has(&self, names: &[&str]) -> bool {
        let Some(first) = &self.first else { return true };
        names.iter().all(|name| first.get(name).is_some())
    }

    /// Whether there is a message.
    pub(super) fn has_message(&self) -> bool {
        self.first.is_some()
    }

    /// What the export says it is of: the member `id`, or that of `channel`.
    pub(super) fn of_chat(&self) -> String {
        let id = self.id.as_ref().or_else(|| self.channel.as_ref()?.get("id"));
        match id {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => "0".into(),
        }
    }

    /// The names, for a person.
    pub(super) fn names(&self) -> String {
        let first = self.names.iter().take(8).map(|name| name.chars().take(32).collect::<String>());
        first.collect::<Vec<_>>().join(", ")
    }
}

struct Whole<'a>(&'a mut Shape);

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.0.names.push(name.clone());
            match name.as_str() {
                "messages" => map.next_value_seed(First(self.0))?,
                "id" => self.0.id = Some(map.next_value()?),
                "channel" => self.0.channel = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.is_list = true;
        First(self.0).visit_seq(list)
    }
}

struct First<'a>(&'a mut Shape);

impl<'de> DeserializeSeed<'de> for First<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for First<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.first = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_enough() {
        let telegram =
            br#"{"name":"tea","type":"private_group","id":7,"messages":[{"id":1,"date":"x"},{"#;
        let shape = Shape::of(&telegram[..]);
        assert!(shape.has(&["name", "type", "messages"]) && !shape.is_list);
        assert!(shape.first_has(&["id", "date"]) && !shape.first_has(&["ts"]));
        assert_eq!(
            (shape.of_chat(), shape.names()),
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
