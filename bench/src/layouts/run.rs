//! A run: up to 64 consecutive entries of a room as the bytes of one row, as far as it decides speed.
//!
//! ```text
//!  0       32
//!  before  length: u32, committed_at: u64, digest, author, id, body; and again …
//! ```
//!
//! Enters: entries, bytes. Leaves: the same. Invariant: it costs what the product's form costs, and is
//! not that form: no file of it is ever kept.

use std::ops::Range;

use bytes::BufMut;
use roomlog_core::proposal::Stored;
use roomlog_protocol::{Author, Digest, Entry, EntryId, Kind, Slot};

use super::Outcome;

/// The most entries in a run.
const ENTRIES: u64 = 64;
/// A run of this many bytes takes no more entries.
const BYTES: usize = 16 << 10;
/// The bytes of the digest before the first entry.
const HEAD: usize = 32;
/// Where the digest is in an entry.
const DIGEST_AT: usize = 8;

/// A run that is being written.
pub(super) struct Writer {
    end: Slot,
    first: Slot,
    digest: Digest,
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty run, after the entry with this digest.
    pub(super) fn new(first: Slot, before: Digest) -> Self {
        Self { first, end: first, digest: before, bytes: before.0.to_vec() }
    }

    /// A run that goes on after what is stored.
    pub(super) fn after(first: Slot, bytes: Vec<u8>) -> Outcome<Self> {
        let (mut digest, mut rest) = split(&bytes)?;
        let mut end = first;
        while !rest.is_empty() {
            digest = digest_of(next(&mut rest)?)?;
            end += 1;
        }
        Ok(Self { end, first, digest, bytes })
    }

    /// The slot behind its last entry.
    pub(super) fn end(&self) -> Slot {
        self.end
    }

    /// The digest after its last entry.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether it takes more entries.
    pub(super) fn is_open(&self) -> bool {
        self.end - self.first < ENTRIES && self.bytes.len() < BYTES
    }

    /// Puts entries in until it is full; gives the others back.
    pub(super) fn fill<'a, 'b>(&mut self, mut entries: &'a [&'b Stored]) -> &'a [&'b Stored] {
        while let Some((stored, rest)) = entries.split_first()
            && self.is_open()
        {
            put(&mut self.bytes, stored);
            self.digest = stored.digest;
            self.end += 1;
            entries = rest;
        }
        entries
    }

    /// The bytes of the row.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Adds those entries of a run that are in a span to `entries`; gives the digest before the first of
/// them, or after the last of the run when there is none.
pub(super) fn read(
    bytes: &[u8],
    first: Slot,
    span: &Range<Slot>,
    entries: &mut Vec<Stored>,
) -> Outcome<Digest> {
    let (mut before, mut rest) = split(bytes)?;
    let mut slot = first;
    while !rest.is_empty() && slot < span.end {
        let entry = next(&mut rest)?;
        if span.contains(&slot) {
            entries.push(stored(slot, entry)?);
        } else {
            before = digest_of(entry)?;
        }
        slot += 1;
    }
    Ok(before)
}

fn put(bytes: &mut Vec<u8>, Stored { entry, digest }: &Stored) {
    let at = bytes.len();
    bytes.put_u32(0);
    bytes.put_u64(entry.committed_at);
    bytes.put_slice(&digest.0);
    for name in [entry.author.as_str(), entry.id.as_str()] {
        // Authors and ids have at most 64 bytes.
        bytes.put_u8(name.len() as u8);
        bytes.put_slice(name.as_bytes());
    }
    bytes.put_slice(entry.body.as_bytes());
    // Entries of this benchmark have some hundred bytes.
    let length = (bytes.len() - at - 4) as u32;
    bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn stored(slot: Slot, mut entry: &[u8]) -> Outcome<Stored> {
    let committed_at = u64::from_be_bytes(array(&mut entry)?);
    let digest = Digest(array(&mut entry)?);
    let author = Author::new(name(&mut entry)?)?;
    let id = EntryId::new(name(&mut entry)?)?;
    let body = std::str::from_utf8(entry)?.into();
    let (sent_at, kind, reference, meta) = (None, Kind::default(), None, None);
    let entry = Entry { slot, author, id, body, committed_at, sent_at, kind, reference, meta };
    Ok(Stored { entry, digest })
}

/// The digest before the first entry, and the bytes of the entries.
fn split(mut bytes: &[u8]) -> Outcome<(Digest, &[u8])> {
    Ok((Digest(array::<HEAD>(&mut bytes)?), bytes))
}

/// The bytes of the next entry.
fn next<'a>(rest: &mut &'a [u8]) -> Outcome<&'a [u8]> {
    let length = u32::from_be_bytes(array(rest)?);
    take(rest, length as usize)
}

fn digest_of(mut entry: &[u8]) -> Outcome<Digest> {
    take(&mut entry, DIGEST_AT)?;
    Ok(Digest(array(&mut entry)?))
}

fn name<'a>(entry: &mut &'a [u8]) -> Outcome<&'a str> {
    let [length] = array(entry)?;
    Ok(std::str::from_utf8(take(entry, usize::from(length))?)?)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Outcome<[u8; N]> {
    Ok(take(bytes, N)?.try_into()?)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Outcome<&'a [u8]> {
    bytes.split_off(..count).ok_or_else(|| "a run ends too early".into())
}
