//! A proposal: what an author asked for, as the journal holds it, before it has a slot.
//!
//! Enters: a checked append. Leaves: the same, with the SHA-256 of body and meta beside them, so that
//! the digest and the test for sameness need neither. Invariant: `body_hash` is the hash of `body`,
//! and `meta.1` of `meta.0`.

use std::sync::Arc;

use roomlog_protocol::{
    Author, Body, BodyHash, ClientAppend, Digest, Entry, EntryId, Kind, RoomName, Slot,
    digest::hash,
};
use sha2::{Digest as _, Sha256};

/// What an author asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The room.
    pub room: RoomName,
    /// Who speaks.
    pub author: Author,
    /// The name of the append.
    pub id: EntryId,
    /// What sort of entry it is.
    pub kind: Kind,
    /// An earlier slot that it is about.
    pub reference: Option<Slot>,
    /// The author's clock, ms since the epoch.
    pub sent_at: Option<u64>,
    /// The slot that the entry must get.
    pub expect: Option<Slot>,
    /// The text.
    pub body: Body,
    /// SHA-256 of the text.
    pub body_hash: BodyHash,
    /// Text for clients, and its SHA-256.
    pub meta: Option<(Arc<str>, BodyHash)>,
}

/// What two appends with one id must share to be the same: `body`, `kind`, `ref`, `meta`, by hash,
/// so that it can still be compared after a redaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash([u8; 32]);

impl Proposal {
    /// The proposal of an append whose author and id are settled.
    #[must_use]
    pub fn new(append: ClientAppend, author: Author, id: EntryId) -> Self {
        Self {
            room: append.room,
            author,
            id,
            kind: append.kind,
            reference: append.reference,
            sent_at: append.sent_at,
            expect: append.expect,
            body_hash: hash(&append.body),
            body: append.body.into(),
            meta: append.meta.map(|meta| {
                let hash = hash(&meta);
                (meta.into(), hash)
            }),
        }
    }

    /// What makes it the same as another.
    #[must_use]
    pub fn content(&self) -> ContentHash {
        content(
            &self.kind,
            self.reference,
            &self.body_hash,
            self.meta.as_ref().map(|(_, hash)| hash),
        )
    }

    /// The bytes it weighs in memory and in a block, near enough for a bound.
    #[must_use]
    pub fn weight(&self) -> usize {
        let meta = self.meta.as_ref().map_or(0, |(meta, _)| meta.len() + 36);
        self.room.len() + self.author.len() + self.id.len() + self.body.len() + meta + 96
    }
}

impl ContentHash {
    /// The content of a committed entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let meta = entry.meta.as_deref().map(hash);
        content(&entry.kind, entry.reference, &hash(&entry.body), meta.as_ref())
    }
}

fn content(
    kind: &Kind,
    reference: Option<Slot>,
    body: &BodyHash,
    meta: Option<&BodyHash>,
) -> ContentHash {
    let mut sha = Sha256::new();
    sha.update(body);
    sha.update(reference.map_or(0, |slot| slot.saturating_add(1)).to_be_bytes());
    sha.update([u8::from(meta.is_some())]);
    sha.update(meta.unwrap_or(&[0; 32]));
    sha.update(kind.as_bytes());
    ContentHash(sha.finalize().into())
}

/// A committed entry and the digest of its room after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The entry.
    pub entry: Entry,
    /// The digest after its slot.
    pub digest: Digest,
}

impl Stored {
    /// The bytes of its body and meta: what a page's bound and a tail's share of memory count.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.entry.body.len() + self.entry.meta.as_ref().map_or(0, |meta| meta.len())
    }
}
