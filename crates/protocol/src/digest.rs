//! The digest chain: two logs with equal digests at slot N are equal up to N.
//!
//! Enters: the digest before a slot and the slot's entry. Leaves: the digest after it. Body and meta
//! enter it by their [`Commitment`], so that a redaction keeps the chain. Defined in
//! `docs/PROTOCOL.md`, "The digest".

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::{
    Commitment, Entry, RoomName, Slot,
    commitment::{from_hex, length_prefixed, write_hex},
};

/// The digest after a slot: 32 bytes, lower-case hex on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// D(−1): the digest of a room's empty log, by the name that its clients know.
    #[must_use]
    pub fn start(room: &RoomName) -> Self {
        let mut sha = Sha256::new();
        sha.update(b"roomlog/v1");
        length_prefixed(&mut sha, room.local());
        Self(sha.finalize().into())
    }

    /// D(k) from D(k−1) = `self` and entry k. Hashes the content unless it is redacted.
    #[must_use]
    pub fn then(self, entry: &Entry) -> Self {
        self.then_committed(entry, &entry.content.commitment())
    }

    /// As [`Digest::then`], with the commitment of the entry's content.
    #[must_use]
    pub fn then_committed(self, entry: &Entry, commitment: &Commitment) -> Self {
        let mut sha = Sha256::new();
        sha.update(self.0);
        sha.update(entry.slot.to_be_bytes());
        sha.update(entry.committed_at.to_be_bytes());
        length_prefixed(&mut sha, &entry.author);
        length_prefixed(&mut sha, &entry.id);
        length_prefixed(&mut sha, &entry.kind);
        sha.update(one_more(entry.reference));
        sha.update(one_more(entry.sent_at));
        sha.update(commitment.0);
        Self(sha.finalize().into())
    }

    /// Parses 64 digits of lower-case hex, the form of the wire.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }
}

/// `u64(x + 1, or 0 when absent)`.
fn one_more(value: Option<Slot>) -> [u8; 8] {
    value.map_or(0, |value| value.saturating_add(1)).to_be_bytes()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_hex(&text).ok_or("a digest is 64 characters of lower-case hex")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Author, Content, EntryId, Kind, Salt};

    fn entry(slot: u8, author: &str, id: &str, body: &str, committed_at: u64) -> Entry {
        let mut salt = *b"roomlog-slt0";
        salt[11] += slot;
        let meta = body.is_empty().then(|| r#"{"x":1}"#.into());
        Entry {
            slot: slot.into(),
            author: Author::new(author).expect("an author"),
            id: EntryId::new(id).expect("an id"),
            content: Content::Said { body: body.into(), meta, salt: Salt(salt) },
            committed_at,
            sent_at: None,
            kind: Kind::default(),
            reference: None,
        }
    }

    const VECTORS: [(&str, &str); 4] = [
        (
            "9d12cd6c8786d6ead9f8dbf868f3705c8b907994790010eab9b80ca9fceca375",
            "071bb2068da4fdcd28aa9c24b65009f6d5030ac7073f3e898fb50043218d3a4e",
        ),
        (
            "bfb1f2fab1bb25feb1f186a3dce71624da3225b0f0dd79d79f5c6648db4a1d29",
            "fd76e704099d03c77e3194ebdef46b5627b286acef79baeb9aac52c9a0078d62",
        ),
        (
            "863d2a84af126c999040ae472ccfca8351e1934a7902c7a83822b23ea9a1ec82",
            "838cea942e14716287cfcc57f330f33f7cc8ad7f1c17fd7349a3fbcf6b3c8f31",
        ),
        (
            "835060efdad48444a15a66ec99eaa0f53d6e6b351ba701962afeb96852cb2245",
            "196a80c217ea3b059dd8567559e094b5030b68cfd972b8d2d6afbfcf4c569099",
        ),
    ];

    #[test]
    fn the_vectors_of_the_page_hold_before_and_after_a_redaction() {
        let mut log = [
            entry(0, "ada", "a-1", "hello", 1_763_796_120_123),
            entry(1, "grace", "g-1", "hi ada 👋", 1_763_796_120_123),
            entry(2, "ada", "a-2", "👍", 1_763_796_121_000),
            entry(3, "grace", "g-2", "", 1_763_796_121_000),
        ];
        log[0].sent_at = Some(1_763_796_120_098);
        log[1].reference = Some(0);
        log[2].kind = Kind::new("reaction").expect("a kind");
        log[2].reference = Some(1);
        log[2].sent_at = Some(1_763_796_120_999);

        let mut digest = Digest::start(&RoomName::new("general").expect("a room"));
        let start = "7b95ce86de539b74172e6a89e758e311cd1a8f48658e1fa52d0d37ddba31f8ad";
        assert_eq!(digest.to_string(), start);
        for (mut entry, (commitment, after)) in log.into_iter().zip(VECTORS) {
            let said = digest.then(&entry);
            assert_eq!(said.to_string(), after);
            let redacted = entry.content.commitment();
            assert_eq!(redacted.to_string(), commitment);
            entry.content = Content::Redacted(redacted);
            assert_eq!(digest.then(&entry), said);
            digest = said;
        }
    }

    #[test]
    fn hex_is_read_in_lower_case_only() {
        let digest = Digest([0xab; 32]);
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::from_hex(&digest.to_string().to_uppercase()), None);
        assert_eq!(Digest::from_hex("ab"), None);
    }
}
