//! The shape of a JSON document: its members, and its first message.
//!
//! Only the first [`HEAD_BYTES`] are read; it does not matter where they end.

use std::io::Read;

use serde_json::Value;

use super::document::{Part, read};

const HEAD_BYTES: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Whether it is a list; otherwise it is an object.
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

    /// Whether the object has these members.
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
