//! An entry: what a room's log holds at a slot, and where a log ends.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Author, EntryId, Kind, names::text_impls};

/// The place of an entry in its room's log: 0, 1, 2, … without gaps, at most 2^53 − 1.
pub type Slot = u64;

/// The latest slot of a log, as on the wire; −1 if it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latest(pub i64);

impl Latest {
    /// Of an empty log.
    pub const EMPTY: Self = Self(-1);

    /// Of a log whose last entry has this slot.
    #[must_use]
    pub fn at(slot: Slot) -> Self {
        // Slots are below 2^53; a larger one is from a server that is wrong.
        Self(i64::try_from(slot).unwrap_or(i64::MAX))
    }

    /// Of a log that ends before this slot.
    #[must_use]
    pub fn before(end: Slot) -> Self {
        end.checked_sub(1).map_or(Self::EMPTY, Self::at)
    }

    /// The slot; `None` if the log is empty.
    #[must_use]
    pub fn slot(self) -> Option<Slot> {
        u64::try_from(self.0).ok()
    }

    /// The slot after it, which is also the number of entries.
    #[must_use]
    pub fn end(self) -> Slot {
        self.slot().map_or(0, |slot| slot + 1)
    }
}

impl fmt::Display for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One entry of a room's log. Immutable once committed; the JSON omits absent members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log.
    pub slot: Slot,
    /// Who wrote it.
    pub author: Author,
    /// The id of the append.
    pub id: EntryId,
    /// The text; may be empty.
    pub body: Body,
    /// The journal's time, in ms since the Unix epoch; never decreases within a room.
    pub committed_at: u64,
    /// The author's clock, in ms since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<u64>,
    /// The kind of entry; the wire omits `text`.
    #[serde(default, skip_serializing_if = "Kind::is_text")]
    pub kind: Kind,
    /// An earlier slot that this entry is about.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Slot>,
    /// Text for clients that the server does not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Arc<str>>,
}

impl Entry {
    /// When it was written, in ms since the Unix epoch: `sent_at` if that is more than a day before
    /// `committed_at`, as in imported history (PROTOCOL.md); otherwise `committed_at`.
    #[must_use]
    pub fn written_at(&self) -> u64 {
        const HISTORY_MS: u64 = 24 * 60 * 60 * 1_000;
        let history =
            self.sent_at.filter(|sent| sent.saturating_add(HISTORY_MS) < self.committed_at);
        history.unwrap_or(self.committed_at)
    }
}

/// The text of an entry, as it was sent, never normalised; may be empty. Cheap to clone. It derefs
/// to `str` and compares with strings: `entry.body == "hello"`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Body(Arc<str>);

text_impls!(Body);

impl PartialEq<String> for Body {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<Body> for &str {
    fn eq(&self, other: &Body) -> bool {
        *self == &*other.0
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for Body {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl From<Body> for Arc<str> {
    fn from(body: Body) -> Self {
        body.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_members_are_left_out() {
        let entry = Entry {
            slot: 7,
            author: Author::new("ada").expect("an author"),
            id: EntryId::new("a-1").expect("an id"),
            body: "hi".into(),
            committed_at: 5,
            sent_at: None,
            kind: Kind::default(),
            reference: None,
            meta: None,
        };
        let json = r#"{"slot":7,"author":"ada","id":"a-1","body":"hi","committed_at":5}"#;
        assert_eq!(serde_json::to_string(&entry).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<Entry>(json).expect("an entry"), entry);
    }

    #[test]
    fn an_empty_log_has_the_latest_slot_minus_one() {
        assert_eq!([0, 1].map(Latest::before), [Latest(-1), Latest(0)]);
        assert_eq!([-1, 0, 41].map(|latest| Latest(latest).end()), [0, 1, 42]);
    }

    #[test]
    fn a_body_compares_with_any_string() {
        let body = Body::from("hello");
        assert_eq!(body, "hello");
        assert_eq!("hello", body);
        assert_eq!(body, *"hello");
        assert_eq!(body, String::from("hello"));
        assert!(body != "Hello" && body.starts_with("he"));
    }
}
