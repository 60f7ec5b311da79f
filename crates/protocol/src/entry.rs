//! An entry: what a room's log holds at a slot.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Author, Body, EntryId, Kind};

/// The place of an entry in its room's log: 0, 1, 2, … without gaps, at most 2^53 − 1.
pub type Slot = u64;

/// The latest slot of a log that ends before `end`, in the form of the wire: −1 if it is empty.
#[must_use]
pub fn latest_of(end: Slot) -> i64 {
    // Slots are below 2^53, so the conversion cannot fail.
    i64::try_from(end).map_or(-1, |end| end - 1)
}

/// The slot after `latest` (−1: empty): the inverse of [`latest_of`].
#[must_use]
pub fn end_of(latest: i64) -> Slot {
    u64::try_from(latest.saturating_add(1)).unwrap_or(0)
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
        assert_eq!((latest_of(0), latest_of(1)), (-1, 0));
        assert_eq!((end_of(-1), end_of(0), end_of(41)), (0, 1, 42));
    }
}
