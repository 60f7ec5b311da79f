//! A run: consecutive entries of a room, as the bytes of one row.
//!
//! ```text
//!  0       1      2     10     18      50
//!  format  count  room  first  before  ends: u32 × count  entries …
//!                              └ the digest before the first entry
//! ```
//!
//! An entry: flags, `committed_at`, the digest after it, author, id, then those of kind, ref and
//! `sent_at` that the flags name; then the salt, the meta that the flags name, and the body to the
//! entry's end, or the commitment alone if the entry is redacted. Integers are
//! big-endian; names have their length before them in one byte, a meta in four. Invariant: a
//! changed run is detected: it names its room and first slot, and each entry's digest must follow
//! from the one before it.

use std::ops::RangeInclusive;

use bytes::BufMut;
use roomlog_core::{proposal::Stored, removals::Removals};
use roomlog_protocol::{
    Author, Commitment, Content, Digest, Entry, EntryId, Kind, NameError, Salt, Slot,
};

use super::sql::key;

/// The most entries in a run: a page reads few rows, an append rewrites few entries.
pub(super) const RUN_ENTRIES: usize = 64;

/// A run of this many bytes takes no more entries.
const RUN_BYTES: usize = 16 << 10;

const FORMAT: u8 = 2;
const HEAD: usize = 50;

const HAS_KIND: u8 = 1;
const HAS_REF: u8 = 2;
const HAS_SENT_AT: u8 = 4;
const HAS_META: u8 = 8;
const REDACTED: u8 = 16;

/// What is wrong with the bytes of a run or of an entry.
type Problem = String;

pub(super) struct Run<'a> {
    pub(super) first: Slot,
    /// The digest before its first entry.
    pub(super) before: Digest,
    ends: &'a [u8],
    entries: &'a [u8],
}

impl<'a> Run<'a> {
    /// Reads the run that starts at a slot of a room.
    pub(super) fn read(bytes: &'a [u8], number: i64, first: Slot) -> Result<Self, Problem> {
        let mut input = Input(bytes);
        let ([format], [count]) = (input.array()?, input.array()?);
        let (room, slot, before) = (input.u64()?, input.u64()?, Digest(input.array()?));
        if format != FORMAT || room != number.cast_unsigned() || slot != first {
            return Err("it is not the run that it should be".into());
        }
        let ends = input.bytes(usize::from(count) * 4)?;
        let run = Self { first, before, ends, entries: input.0 };
        if count == 0 || run.span(usize::from(count) - 1)?.end != run.entries.len() {
            return Err("its run ends where it should not".into());
        }
        Ok(run)
    }

    /// The slot after its last entry.
    pub(super) fn end(&self) -> Slot {
        self.first + self.count() as u64
    }

    /// The stored digest after its last entry.
    pub(super) fn digest(&self) -> Result<Digest, Problem> {
        digest_of(self.bytes(self.count() - 1)?)
    }

    /// Whether it takes more entries.
    pub(super) fn is_open(&self) -> bool {
        self.count() < RUN_ENTRIES && self.entries.len() < RUN_BYTES
    }

    /// Whether it holds just this entry at the entry's slot, or one of them is the other one redacted: a
    /// journal that is read again has no text that was removed meanwhile.
    pub(super) fn holds(&self, stored: &Stored) -> bool {
        let slot = stored.entry.slot;
        let held = self.index(slot).and_then(|index| self.bytes(index));
        held.is_ok_and(|held| {
            let redacted = |mut stored: Stored| {
                stored.entry.redact();
                encoded(&stored)
            };
            match (self.is_redacted(slot), stored.entry.content.is_redacted()) {
                (true, false) => held == redacted(stored.clone()),
                (false, true) => {
                    self.entry(slot).is_ok_and(|held| redacted(held) == encoded(stored))
                }
                _ => held == encoded(stored),
            }
        })
    }

    /// Whether it holds an entry at a slot that is redacted.
    pub(super) fn is_redacted(&self, slot: Slot) -> bool {
        let held = self.index(slot).and_then(|index| self.bytes(index));
        held.is_ok_and(|held| held.first().is_some_and(|flags| flags & REDACTED != 0))
    }

    /// Whether removals cover the entry at a slot. Reads neither its text nor its digest.
    fn is_covered(&self, slot: Slot, removals: &Removals) -> Result<bool, Problem> {
        let (author, kind, ..) = names(&mut Input(self.bytes(self.index(slot)?)?))?;
        Ok(removals.covers_slot(slot, &author) && !kind.removes())
    }

    /// The entry at a slot; its digest was checked.
    pub(super) fn entry(&self, slot: Slot) -> Result<Stored, Problem> {
        let index = self.index(slot)?;
        let before = match index.checked_sub(1) {
            None => self.before,
            Some(index) => digest_of(self.bytes(index)?)?,
        };
        let stored = stored(slot, self.bytes(index)?)?;
        if before.then(&stored.entry) == stored.digest {
            Ok(stored)
        } else {
            Err("the entry does not have the digest it was given".into())
        }
    }

    /// The entry at a slot, of a run whose digests were checked.
    pub(super) fn unchecked(&self, slot: Slot) -> Result<Stored, Problem> {
        stored(slot, self.bytes(self.index(slot)?)?)
    }

    /// How many entries it has.
    pub(super) fn count(&self) -> usize {
        self.ends.len() / 4
    }

    fn index(&self, slot: Slot) -> Result<usize, Problem> {
        let index = slot.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        index.filter(|index| *index < self.count()).ok_or_else(|| "the entry is missing".into())
    }

    fn span(&self, index: usize) -> Result<std::ops::Range<usize>, Problem> {
        let end_of = |index: usize| Input(&self.ends[index * 4..]).u32().map(|end| end as usize);
        let begin = if index == 0 { 0 } else { end_of(index - 1)? };
        let end = end_of(index)?;
        if begin <= end && end <= self.entries.len() {
            Ok(begin..end)
        } else {
            Err("its run ends where it should not".into())
        }
    }

    fn bytes(&self, index: usize) -> Result<&'a [u8], Problem> {
        Ok(&self.entries[self.span(index)?])
    }
}

pub(super) struct RunBuilder {
    number: i64,
    first: Slot,
    before: Digest,
    ends: Vec<u32>,
    entries: Vec<u8>,
}

impl RunBuilder {
    pub(super) fn new(number: i64, first: Slot, before: Digest) -> Self {
        Self { number, first, before, ends: Vec::new(), entries: Vec::new() }
    }

    /// A stored run, to be extended.
    pub(super) fn after(number: i64, run: &Run<'_>) -> Self {
        let ends = run.ends.chunks_exact(4).filter_map(|end| Input(end).u32().ok()).collect();
        let (first, before, entries) = (run.first, run.before, run.entries.to_vec());
        Self { number, first, before, ends, entries }
    }

    /// The entries of a stored run before a slot.
    pub(super) fn before(number: i64, run: &Run<'_>, end: Slot) -> Self {
        let mut cut = Self::after(number, run);
        let count = usize::try_from(end.saturating_sub(run.first)).unwrap_or(usize::MAX);
        cut.ends.truncate(count);
        cut.entries.truncate(cut.ends.last().map_or(0, |end| *end as usize));
        cut
    }

    /// A stored run without the texts that these removals cover in a span of slots, and `committed_at` of the
    /// first that had one; `None` if it has none of them.
    pub(super) fn without(
        number: i64,
        run: &Run<'_>,
        (span, removals): (&RangeInclusive<Slot>, &Removals),
    ) -> Result<Option<(Self, u64)>, Problem> {
        let (mut without, mut oldest) = (Self::new(number, run.first, run.before), None);
        for (index, slot) in (run.first..run.end()).enumerate() {
            let is_text = span.contains(&slot) && !run.is_redacted(slot);
            if is_text && run.is_covered(slot, removals)? {
                let mut stored = run.entry(slot)?;
                stored.entry.redact();
                put_entry(&mut without.entries, &stored);
                oldest.get_or_insert(stored.entry.committed_at);
            } else {
                without.entries.extend_from_slice(run.bytes(index)?);
            }
            without.end_entry();
        }
        Ok(oldest.map(|oldest| (without, oldest)))
    }

    fn end_entry(&mut self) {
        // An entry has at most some 200 KiB by `Limits`, and a run RUN_BYTES before its last.
        self.ends.push(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
    }

    /// Adds entries until it is full; returns the others.
    pub(super) fn fill<'a>(&mut self, mut entries: &'a [&'a Stored]) -> &'a [&'a Stored] {
        while let Some((stored, rest)) = entries.split_first() {
            if self.ends.len() >= RUN_ENTRIES || self.entries.len() >= RUN_BYTES {
                break;
            }
            put_entry(&mut self.entries, stored);
            self.end_entry();
            entries = rest;
        }
        entries
    }

    /// The row: its key and its bytes.
    pub(super) fn row(&self) -> (i64, Vec<u8>) {
        let mut bytes = Vec::with_capacity(HEAD + self.ends.len() * 4 + self.entries.len());
        bytes.put_u8(FORMAT);
        // At most RUN_ENTRIES.
        bytes.put_u8(u8::try_from(self.ends.len()).unwrap_or(u8::MAX));
        bytes.put_u64(self.number.cast_unsigned());
        bytes.put_u64(self.first);
        bytes.put_slice(&self.before.0);
        self.ends.iter().for_each(|end| bytes.put_u32(*end));
        bytes.put_slice(&self.entries);
        (key(self.number, self.first), bytes)
    }
}

fn put_entry(bytes: &mut Vec<u8>, stored: &Stored) {
    let Stored { entry, digest } = stored;
    let flag = |bit: u8, on: bool| if on { bit } else { 0 };
    bytes.put_u8(
        flag(HAS_KIND, !entry.kind.is_text())
            | flag(HAS_REF, entry.reference.is_some())
            | flag(HAS_SENT_AT, entry.sent_at.is_some())
            | flag(HAS_META, entry.meta().is_some())
            | flag(REDACTED, entry.content.is_redacted()),
    );
    bytes.put_u64(entry.committed_at);
    bytes.put_slice(&digest.0);
    put_name(bytes, &entry.author);
    put_name(bytes, &entry.id);
    if !entry.kind.is_text() {
        put_name(bytes, &entry.kind);
    }
    [entry.reference, entry.sent_at].into_iter().flatten().for_each(|number| bytes.put_u64(number));
    match &entry.content {
        Content::Said { body, meta, salt } => {
            bytes.put_slice(&salt.0);
            if let Some(meta) = meta {
                // A meta has at most 64 KiB by `Limits`.
                bytes.put_u32(u32::try_from(meta.len()).unwrap_or(u32::MAX));
                bytes.put_slice(meta.as_bytes());
            }
            bytes.put_slice(body.as_bytes());
        }
        Content::Redacted(commitment) => bytes.put_slice(&commitment.0),
    }
}

fn encoded(stored: &Stored) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_entry(&mut bytes, stored);
    bytes
}

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    // Authors, ids and kinds have at most 64 bytes.
    bytes.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    bytes.put_slice(name.as_bytes());
}

fn digest_of(entry: &[u8]) -> Result<Digest, Problem> {
    let mut input = Input(entry);
    input.bytes(9)?;
    Ok(Digest(input.array()?))
}

fn stored(slot: Slot, bytes: &[u8]) -> Result<Stored, Problem> {
    let mut input = Input(bytes);
    let (author, kind, id, (flags, committed_at, digest)) = names(&mut input)?;
    let id = EntryId::new(id).map_err(|error| error.to_string())?;
    let mut number = |bit: u8| if flags & bit == 0 { Ok(None) } else { input.u64().map(Some) };
    let (reference, sent_at) = (number(HAS_REF)?, number(HAS_SENT_AT)?);
    let content = input.content(flags)?;
    let entry = Entry { slot, author, id, content, committed_at, sent_at, kind, reference };
    Ok(Stored { entry, digest })
}

/// What an entry begins with: its author, kind and id; its flags, time and digest.
type Names<'a> = (Author, Kind, &'a str, (u8, u64, Digest));

fn names<'a>(input: &mut Input<'a>) -> Result<Names<'a>, Problem> {
    let [flags] = input.array()?;
    let (committed_at, digest) = (input.u64()?, Digest(input.array()?));
    let wrong = |error: NameError| error.to_string();
    let author = Author::stored(input.name()?).map_err(wrong)?;
    let id = input.name()?;
    let kind = match flags & HAS_KIND {
        0 => Kind::default(),
        _ => Kind::new(input.name()?).map_err(wrong)?,
    };
    Ok((author, kind, id, (flags, committed_at, digest)))
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8".into())
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_be_bytes)
    }

    fn content(mut self, flags: u8) -> Result<Content, Problem> {
        if flags & REDACTED != 0 {
            let commitment = Commitment(self.array()?);
            // No text hides in a redacted entry.
            return match flags & HAS_META == 0 && self.0.is_empty() {
                true => Ok(Content::Redacted(commitment)),
                false => Err("it is redacted and has a text".into()),
            };
        }
        let salt = Salt(self.array()?);
        let meta = match flags & HAS_META {
            0 => None,
            _ => {
                let length = self.u32()? as usize;
                Some(text(self.bytes(length)?)?.into())
            }
        };
        Ok(Content::Said { body: text(self.0)?.into(), meta, salt })
    }

    fn name(&mut self) -> Result<&'a str, Problem> {
        let [length] = self.array()?;
        text(self.bytes(usize::from(length))?)
    }
}
