//! The digest chain: two logs with equal digests at slot N are equal up to N.
//!
//! Enters: the digest before a slot and the slot's entry. Leaves: the digest after it. Body and
//! meta are hashed on their own, so that a redaction keeps the chain. Defined in
//! `docs/PROTOCOL.md`, "The digest".

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::{Entry, RoomName, Slot};

/// The SHA-256 of a body or a meta.
pub type BodyHash = [u8; 32];

/// The digest after a slot: 32 bytes, lower-case hex on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(pub [u8; 32]);

/// Hashes a body or a meta.
#[must_use]
pub fn hash(text: &str) -> BodyHash {
    Sha256::digest(text.as_bytes()).into()
}

impl Digest {
    /// D(−1): the digest of a room's empty log, by the name that its clients know.
    #[must_use]
    pub fn start(room: &RoomName) -> Self {
        let mut sha = Sha256::new();
        sha.update(b"roomlog/v1");
        length_prefixed(&mut sha, room.local());
        Self(sha.finalize().into())
    }

    /// D(k) from D(k−1) = `self` and entry k.
    #[must_use]
    pub fn then(self, entry: &Entry) -> Self {
        self.then_hashed(entry, &hash(&entry.body), entry.meta.as_deref().map(hash).as_ref())
    }

    /// As [`Digest::then`], with the hashes of body and meta.
    #[must_use]
    pub fn then_hashed(self, entry: &Entry, body: &BodyHash, meta: Option<&BodyHash>) -> Self {
        let mut sha = Sha256::new();
        sha.update(self.0);
        sha.update(entry.slot.to_be_bytes());
        sha.update(entry.committed_at.to_be_bytes());
        length_prefixed(&mut sha, &entry.author);
        length_prefixed(&mut sha, &entry.id);
        length_prefixed(&mut sha, &entry.kind);
        sha.update(one_more(entry.reference));
        sha.update(one_more(entry.sent_at));
        sha.update(body);
        if let Some(meta) = meta {
            sha.update(meta);
        }
        Self(sha.finalize().into())
    }

    /// Parses 64 digits of lower-case hex, the form of the wire.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(digest))
    }
}

fn nibble(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        _ => None,
    }
}

/// `lp(x)`: the byte length as a big-endian u32, then the bytes.
fn length_prefixed(sha: &mut Sha256, text: &str) {
    // Names have at most 128 bytes, so the length always fits.
    sha.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    sha.update(text.as_bytes());
}

/// `u64(x + 1, or 0 when absent)`.
fn one_more(value: Option<Slot>) -> [u8; 8] {
    value.map_or(0, |value| value.saturating_add(1)).to_be_bytes()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
    use crate::{Author, EntryId, Kind};

    fn entry(slot: Slot, author: &str, id: &str, body: &str, committed_at: u64) -> Entry {
        Entry {
            slot,
            author: Author::new(author).expect("an author"),
            id: EntryId::new(id).expect("an id"),
            body: body.into(),
            committed_at,
            sent_at: None,
            kind: Kind::default(),
            reference: None,
            meta: None,
        }
    }

    #[test]
    fn the_vectors_of_the_page() {
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
        log[3].meta = Some(r#"{"x":1}"#.into());

        let mut digest = Digest::start(&RoomName::new("general").expect("a room"));
        let mut seen = vec![digest.to_string()];
        for entry in &log {
            digest = digest.then(entry);
            seen.push(digest.to_string());
        }
        assert_eq!(
            seen,
            [
                "7b95ce86de539b74172e6a89e758e311cd1a8f48658e1fa52d0d37ddba31f8ad",
                "8f5d9faa41a76da653ab261db8976c98c9d6b0d0e797759020d80c6a7da09cb6",
                "832e163256ce256c0c56c01a04ba10c2d6cfeb138bd9ca2e6f828b7195a5c6e9",
                "376734d75287da370dbb5e48af73c85c3369adae81940b2fbacfd5e5ed0b5722",
                "aa243348b7f4848ea39bc136a8a0d6f00ab5429fdf97339bde2102121a8fae9b",
            ]
        );
    }

    #[test]
    fn hex_is_read_in_lower_case_only() {
        let digest = Digest([0xab; 32]);
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::from_hex(&digest.to_string().to_uppercase()), None);
        assert_eq!(Digest::from_hex("ab"), None);
    }
}
