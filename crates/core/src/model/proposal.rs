//! A proposal: an append as the journal holds it, before it has a slot.
//!
//! Invariant: the commitment to body and meta is stored beside them, so that the digest does not need
//! the texts; and a repeat of an entry is recognised by the salt of the original.

use roomlog_protocol::{
    Author, ClientAppend, Commitment, Content, Digest, Entry, EntryId, Kind, Removal, RoomName,
    Salt, Slot,
};
use sha2::{Digest as _, Sha256};

/// An append whose author and id are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The room.
    pub room: RoomName,
    /// The author.
    pub author: Author,
    /// The id.
    pub id: EntryId,
    /// The kind.
    pub kind: Kind,
    /// The earlier slot that it refers to.
    pub reference: Option<Slot>,
    /// The author's clock, ms since the epoch.
    pub sent_at: Option<u64>,
    /// The slot that the entry must get.
    pub expect: Option<Slot>,
    /// Whether its author may remove texts of others.
    pub may_remove: bool,
    /// Body and meta. Redacted only in history that was moved from another log.
    pub content: Content,
    /// The commitment of `content`.
    pub commitment: Commitment,
}

impl Proposal {
    /// The proposal of an append. Hashes body and meta.
    #[must_use]
    pub fn new(append: ClientAppend, author: Author, id: EntryId, salt: Salt) -> Self {
        let meta = append.meta.map(Into::into);
        let content = Content::Said { body: append.body, meta, salt };
        Self {
            room: append.room,
            author,
            id,
            kind: append.kind,
            reference: append.reference,
            sent_at: append.sent_at,
            expect: append.expect,
            may_remove: false,
            commitment: content.commitment(),
            content,
        }
    }

    /// The texts that its entry removes; `None` if it removes none.
    #[must_use]
    pub fn removes(&self) -> Option<Removal> {
        Removal::of(&self.kind, self.reference, self.content.body())
    }

    /// Removes body, meta and salt.
    pub fn redact(&mut self) {
        self.content = Content::Redacted(self.commitment);
    }

    /// Approximate bytes in memory and in a block.
    #[must_use]
    pub fn weight(&self) -> usize {
        let meta = self.content.meta().map_or(0, |meta| meta.len() + 4);
        let names = self.room.len() + self.author.len() + self.id.len();
        names + self.content.body().len() + meta + 108
    }
}

/// What a repeat of an entry is compared with: its `body`, `kind`, `ref` and `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// The hash of `kind`, `ref` and the commitment to the rest.
    hash: [u8; 32],
    /// `None` if the entry is redacted: what it said is not known, and any content repeats it.
    salt: Option<Salt>,
}

impl Original {
    /// That of the entry that a proposal becomes.
    #[must_use]
    pub fn of_proposal(proposal: &Proposal) -> Self {
        let Proposal { kind, reference, content, commitment, .. } = proposal;
        Self { hash: hash(kind, *reference, commitment), salt: content.salt() }
    }

    /// That of a committed entry. Hashes its content unless it is redacted.
    #[must_use]
    pub fn of_entry(entry: &Entry) -> Self {
        let Entry { kind, reference, content, .. } = entry;
        Self { hash: hash(kind, *reference, &content.commitment()), salt: content.salt() }
    }

    /// Whether the entry is redacted.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.salt.is_none()
    }

    /// That of the entry after its redaction.
    #[must_use]
    pub fn redacted(self) -> Self {
        Self { salt: None, ..self }
    }

    /// Whether a proposal with the same room, author and id repeats it. Hashes body and meta, unless the
    /// proposal has the same salt: then it was sent again by a node.
    #[must_use]
    pub fn is_repeated_by(&self, proposal: &Proposal) -> bool {
        let Some(salt) = self.salt else { return true };
        let Proposal { kind, reference, content, commitment, .. } = proposal;
        let commitment = match content.salt() {
            Some(other) if other != salt => Commitment::new(&salt, content.body(), content.meta()),
            _ => *commitment,
        };
        self.hash == hash(kind, *reference, &commitment)
    }
}

fn hash(kind: &Kind, reference: Option<Slot>, commitment: &Commitment) -> [u8; 32] {
    // Most entries: it is a hash already.
    if kind.is_text() && reference.is_none() {
        return commitment.0;
    }
    let mut sha = Sha256::new();
    sha.update(commitment.0);
    sha.update(reference.map_or(0, |slot| slot.saturating_add(1)).to_be_bytes());
    sha.update(kind.as_bytes());
    sha.finalize().into()
}

/// A committed entry and the digest after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The entry.
    pub entry: Entry,
    /// The digest after its slot.
    pub digest: Digest,
}

impl Stored {
    /// Bytes of body and meta, which count against the limits of pages and tails.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.entry.content.text_bytes()
    }
}
