//! An entry: what a room's log holds at a slot, and where a log ends.

use std::{fmt, io::Write, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{Author, Body, Commitment, Content, EntryId, Kind, Removal, Salt, json::PutMembers};

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

/// One entry of a room's log. Once committed, it changes only by a redaction; the JSON omits absent
/// members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub slot: Slot,
    /// Who wrote it.
    pub author: Author,
    /// The id of the append.
    pub id: EntryId,
    /// Body and meta.
    pub content: Content,
    /// The journal's time, in ms since the Unix epoch; never decreases within a room.
    pub committed_at: u64,
    /// The author's clock, in ms since the Unix epoch.
    pub sent_at: Option<u64>,
    /// The kind of entry; the wire omits `text`.
    pub kind: Kind,
    /// An earlier slot that this entry is about.
    pub reference: Option<Slot>,
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

    /// The text; empty if redacted.
    #[must_use]
    pub fn body(&self) -> &str {
        self.content.body()
    }

    /// The metadata; `None` if redacted.
    #[must_use]
    pub fn meta(&self) -> Option<&str> {
        self.content.meta()
    }

    /// The texts that it removes; `None` if it removes none.
    #[must_use]
    pub fn removes(&self) -> Option<Removal> {
        let reference = self.reference.filter(|slot| *slot < self.slot);
        Removal::of(&self.kind, reference, self.body())
    }

    /// Writes it as JSON, as [`write_json`](crate::write_json) does, and much faster: pages and acks consist
    /// of entries.
    pub fn put_json(&self, to: &mut Vec<u8>) {
        let mut members = PutMembers(to);
        members.number(r#"{"slot":"#, self.slot);
        members.text(r#","author":"#, &self.author);
        members.text(r#","id":"#, &self.id);
        if !self.content.is_redacted() {
            members.text(r#","body":"#, self.body());
        }
        members.number(r#","committed_at":"#, self.committed_at);
        if let Some(sent_at) = self.sent_at {
            members.number(r#","sent_at":"#, sent_at);
        }
        if !self.kind.is_text() {
            members.text(r#","kind":"#, &self.kind);
        }
        if let Some(reference) = self.reference {
            members.number(r#","ref":"#, reference);
        }
        if let Some(meta) = self.meta() {
            members.text(r#","meta":"#, meta);
        }
        match &self.content {
            Content::Said { salt, .. } => {
                to.extend_from_slice(br#","salt":""#);
                to.extend_from_slice(&salt.to_base64());
            }
            Content::Redacted(commitment) => {
                // A vector takes what is written.
                let _infallible = write!(to, r#","redacted":true,"commitment":"{commitment}"#);
            }
        }
        to.extend_from_slice(b"\"}");
    }

    /// Removes body, meta and salt. Hashes them.
    pub fn redact(&mut self) {
        self.content = Content::Redacted(self.content.commitment());
    }
}

/// An entry as JSON; the members of a content are optional here, and exclude each other.
#[derive(Serialize, Deserialize)]
struct EntryJson<A, I, B, K, M> {
    slot: Slot,
    author: A,
    id: I,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    body: Option<B>,
    committed_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent_at: Option<u64>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    kind: Option<K>,
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Slot>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    meta: Option<M>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<Salt>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commitment: Option<Commitment>,
}

fn none<T>() -> Option<T> {
    None
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let commitment = match &self.content {
            Content::Said { .. } => None,
            Content::Redacted(commitment) => Some(*commitment),
        };
        let json = EntryJson {
            slot: self.slot,
            author: &self.author,
            id: &self.id,
            body: commitment.is_none().then(|| self.content.body()),
            committed_at: self.committed_at,
            sent_at: self.sent_at,
            kind: (!self.kind.is_text()).then_some(&self.kind),
            reference: self.reference,
            meta: self.content.meta(),
            salt: self.content.salt(),
            redacted: commitment.is_some(),
            commitment,
        };
        json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = EntryJson::<Author, EntryId, Body, Kind, Arc<str>>::deserialize(deserializer)?;
        let content = match (json.redacted, json.body, json.salt, json.commitment) {
            (false, Some(body), Some(salt), _) => Content::Said { body, meta: json.meta, salt },
            (true, _, _, Some(commitment)) => Content::Redacted(commitment),
            (false, None, ..) => return Err(Error::missing_field("body")),
            (false, _, None, _) => return Err(Error::missing_field("salt")),
            (true, ..) => return Err(Error::missing_field("commitment")),
        };
        Ok(Self {
            slot: json.slot,
            author: json.author,
            id: json.id,
            content,
            committed_at: json.committed_at,
            sent_at: json.sent_at,
            kind: json.kind.unwrap_or_default(),
            reference: json.reference,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_log_has_the_latest_slot_minus_one() {
        assert_eq!([0, 1].map(Latest::before), [Latest(-1), Latest(0)]);
        assert_eq!([-1, 0, 41].map(|latest| Latest(latest).end()), [0, 1, 42]);
    }

    const SAID: &str = r#"{"slot":7,"author":"ada","id":"a-1","body":"hi","committed_at":5,"salt":"cm9vbWxvZy1zbHQw"}"#;

    fn entry(content: Content) -> Entry {
        Entry {
            slot: 7,
            author: Author::new("ada").expect("an author"),
            id: EntryId::new("a-1").expect("an id"),
            content,
            committed_at: 5,
            sent_at: None,
            kind: Kind::default(),
            reference: None,
        }
    }

    #[test]
    fn optional_members_are_left_out() {
        let said = Content::Said { body: "hi".into(), meta: None, salt: Salt(*b"roomlog-slt0") };
        let entry = entry(said);
        assert_eq!(serde_json::to_string(&entry).expect("JSON"), SAID);
        assert_eq!(serde_json::from_str::<Entry>(SAID).expect("an entry"), entry);
    }

    #[test]
    fn a_redacted_entry_has_a_commitment_in_place_of_what_it_said() {
        let entry = entry(Content::Redacted(Commitment([0xab; 32])));
        let hex = "ab".repeat(32);
        let json = format!(
            r#"{{"slot":7,"author":"ada","id":"a-1","committed_at":5,"redacted":true,"commitment":"{hex}"}}"#
        );
        assert_eq!(serde_json::to_string(&entry).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<Entry>(&json).expect("an entry"), entry);
    }

    #[test]
    fn an_entry_without_its_content_is_refused_by_the_member_that_is_missing() {
        let refused =
            |json: &str| serde_json::from_str::<Entry>(json).expect_err("refused").to_string();
        let bare = r#"{"slot":7,"author":"ada","id":"a-1","committed_at":5}"#;
        assert_eq!(refused(bare), "missing field `body`");
        assert_eq!(refused(&bare.replace('}', r#","body":""}"#)), "missing field `salt`");
        assert_eq!(
            refused(&bare.replace('}', r#","redacted":true}"#)),
            "missing field `commitment`"
        );
        let short = SAID.replace("cm9vbWxvZy1zbHQw", "cm9v");
        assert!(refused(&short).starts_with("a salt is 16 characters of base64url"));
    }

    #[test]
    fn an_entry_is_written_by_hand_as_by_serde() {
        let texts = [
            "",
            "plain",
            "a \"quoted\" \\ text",
            "line\nbreak\ttab\u{0}\u{1f}\u{7f}",
            "\u{85}\u{2028}\u{2029}",
            "ä 日本 👍 \u{c2}\u{2030}",
            "</script>",
        ];
        let salt = Salt(*b"roomlog-slt0");
        let said = |body: &str, meta: Option<&str>| Content::Said {
            body: body.into(),
            meta: meta.map(Into::into),
            salt,
        };
        let mut entries = Vec::new();
        for body in texts {
            for meta in [None, Some(r#"{"x":"\u2028"}"#), Some("\u{2028}")] {
                let plain = entry(said(body, meta));
                let of_kind = Kind::new("edit").expect("a kind");
                entries.push(Entry { sent_at: Some(u64::MAX), ..plain.clone() });
                entries.push(Entry { kind: of_kind, reference: Some(0), ..plain.clone() });
                let mut redacted = plain.clone();
                redacted.redact();
                entries.extend([plain, redacted]);
            }
        }
        for entry in entries {
            let (mut by_hand, mut by_serde) = (Vec::new(), Vec::new());
            entry.put_json(&mut by_hand);
            crate::write_json(&mut by_serde, &entry).expect("JSON");
            assert_eq!(String::from_utf8(by_hand), String::from_utf8(by_serde));
        }
    }
}
