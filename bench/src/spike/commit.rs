//! A commit as it goes over the wire: one `ack` in one WebSocket frame, made once for everybody.

use std::io;

use bytes::Bytes;
use roomlog_protocol::{Author, Entry, EntryId, Kind, NameError, RoomName, ServerAck, ServerFrame};

use crate::receivers::body;

/// Bytes of an entry's body.
pub(crate) const BODY: usize = 200;

/// An encoded commit; clones share the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    framed: Bytes,
    head: usize,
}

impl Commit {
    /// The commit of `entries` entries from `slot` on.
    ///
    /// # Errors
    /// When a name is not one, which would be a slip in this file.
    pub(crate) fn encode(slot: u64, entries: u64) -> io::Result<Self> {
        let entries = (slot..slot + entries).map(entry).collect::<io::Result<_>>()?;
        let ack = ServerFrame::Ack(ServerAck { room: name("fanout", RoomName::new)?, entries });
        Ok(Self::frame(&serde_json::to_vec(&ack)?))
    }

    /// An unmasked text frame around `payload`.
    fn frame(payload: &[u8]) -> Self {
        let mut framed = Vec::with_capacity(payload.len() + 10);
        framed.push(0x81);
        match payload.len() {
            len @ 0..=125 => framed.push(len as u8),
            len @ 126..=0xFFFF => {
                framed.push(126);
                framed.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                framed.push(127);
                framed.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let head = framed.len();
        framed.extend_from_slice(payload);
        Self { framed: framed.into(), head }
    }

    /// The frame, head and payload.
    pub(crate) fn framed(&self) -> Bytes {
        self.framed.clone()
    }

    /// The payload alone, for libraries that make the head themselves.
    pub(crate) fn payload(&self) -> Bytes {
        self.framed.slice(self.head..)
    }
}

/// An entry of the size that real ones have: a ULID for an id, a time.
fn entry(slot: u64) -> io::Result<Entry> {
    Ok(Entry {
        slot,
        author: name("ada", Author::new)?,
        id: name(&format!("01JD9Z{slot:020}"), EntryId::new)?,
        body: body(BODY).into(),
        committed_at: 1_763_796_120_123 + slot,
        sent_at: None,
        kind: Kind::default(),
        reference: None,
        meta: None,
    })
}

fn name<T>(text: &str, make: fn(&str) -> Result<T, NameError>) -> io::Result<T> {
    make(text).map_err(io::Error::other)
}
