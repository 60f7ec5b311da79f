//! The digest of a room's log, from the text of PROTOCOL.md alone.

use sha2::{Digest, Sha256};

use crate::frame::Seen;

/// The chained digest of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain([u8; 32]);

fn lp(hash: &mut Sha256, text: &str) {
    hash.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(text.as_bytes());
}

impl Chain {
    /// D(−1) of a room.
    pub(crate) fn new(room: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"roomlog/v1");
        lp(&mut hash, room);
        Self(hash.finalize().into())
    }

    /// D(k) from D(k − 1).
    pub(crate) fn add(&mut self, entry: &Seen) {
        let or_zero = |number: Option<u64>| number.map_or(0, |number| number + 1).to_be_bytes();
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(entry.slot.to_be_bytes());
        hash.update(entry.committed_at.to_be_bytes());
        lp(&mut hash, &entry.author);
        lp(&mut hash, &entry.id);
        lp(&mut hash, &entry.kind);
        hash.update(or_zero(entry.reference));
        hash.update(or_zero(entry.sent_at));
        hash.update(Sha256::digest(entry.body.as_bytes()));
        if let Some(meta) = &entry.meta {
            hash.update(Sha256::digest(meta.as_bytes()));
        }
        self.0 = hash.finalize().into();
    }

    /// As it stands on the wire.
    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
