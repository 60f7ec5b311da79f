//! A block: the payload of one propose, in a format that only a new log may change.
//!
//! ```text
//!  0      4      8        10      12    13      29            37   45      49
//!  magic  crc32  format   rules   kind  node    incarnation   n    count   proposals …
//!         └ over all that follows
//! ```
//!
//! Integers are big-endian. Invariants: equal blocks encode to equal bytes, and altered bytes are
//! rejected ([`BlockError`]); a block takes effect at most once, identified by (node, incarnation,
//! n).

use bytes::{BufMut, Bytes, BytesMut};
use roomlog_protocol::{
    Author, Commitment, Content, EntryId, Kind, NameError, RoomName, Salt, Slot,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::model::{
    identity::NodeId,
    journal::{Durable, Position, Stamp},
    proposal::Proposal,
    rules::Rules,
};

const MAGIC: [u8; 4] = *b"RLB1";
const FORMAT: u16 = 2;
const KIND_PROPOSALS: u8 = 0;
const KIND_HISTORY: u8 = 1;
/// A replacement of an earlier block, from which texts were removed: after the header its position, time
/// and stamp, and what is left of it (docs/decisions/0008-redaction-in-the-stream.md).
const KIND_REPLACEMENT: u8 = 3;

const HAS_REF: u8 = 1;
const HAS_SENT_AT: u8 = 2;
const HAS_EXPECT: u8 = 4;
const HAS_META: u8 = 8;
/// The commitment stands alone, without salt, body and meta.
const REDACTED: u8 = 16;
/// Its author may redact entries of others.
const MAY_REMOVE: u8 = 32;
/// All flags of this version.
const FLAGS: u8 = HAS_REF | HAS_SENT_AT | HAS_EXPECT | HAS_META | REDACTED | MAY_REMOVE;

/// The most proposals in one block.
pub const BLOCK_ENTRIES: usize = 512;

/// The most bytes of proposals in a block of more than one.
pub const BLOCK_BYTES: usize = 512 * 1024;

/// The identity of a block: the n-th of a node's incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockName {
    /// Who proposed it.
    pub node: NodeId,
    /// Which start of that node, from 1.
    pub incarnation: u64,
    /// The number of the block, from 0 per partition and incarnation.
    pub n: u64,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its identity.
    pub name: BlockName,
    /// The rules that apply to it.
    pub rules: Rules,
    /// What it holds, in the order it takes effect.
    pub payload: Payload,
}

/// What a block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Proposals of authors.
    Proposals(Vec<Proposal>),
    /// Entries of another log, imported with their slots and times.
    History(Vec<PastEntry>),
}

/// What takes the place of an earlier block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement<'a> {
    /// The position of that block.
    pub of: Position,
    /// The journal's time of that block.
    pub time: u64,
    /// The stamp of that block, which is that of its replacement too.
    pub stamp: Stamp,
    /// What is left of it; empty if it was a replacement, which has no effect where it is.
    pub block: &'a [u8],
}

/// An entry that another log committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEntry {
    /// The proposal it came from.
    pub proposal: Proposal,
    /// Its slot.
    pub slot: Slot,
    /// Its time, ms since the epoch.
    pub committed_at: u64,
}

/// Why bytes cannot be decoded as a block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// Not a Roomlog block, or a corrupt one.
    #[error("a corrupt block, or one that Roomlog did not write: wrong magic or checksum")]
    Foreign,
    /// A newer version wrote it.
    #[error(
        "a block of format {format}, rules {rules}, kind {kind}, which this build of roomlog does \
         not know: a newer one wrote it. Start this node with that build; nothing in its directory has to change"
    )]
    Newer {
        /// Its format.
        format: u16,
        /// Its rules.
        rules: u16,
        /// Its kind.
        kind: u8,
    },
    /// The checksum is right but the content is malformed: a bug of the writer.
    #[error("a malformed block: {0}")]
    Broken(String),
}

impl From<NameError> for BlockError {
    fn from(error: NameError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Encodes a block of proposals.
#[must_use]
pub fn encode<'a>(
    name: BlockName,
    rules: Rules,
    proposals: impl ExactSizeIterator<Item = &'a Proposal> + Clone,
) -> Bytes {
    let weight: usize = proposals.clone().map(Proposal::weight).sum();
    let mut bytes = begin(KIND_PROPOSALS, name, rules, proposals.len(), weight);
    for proposal in proposals {
        put_proposal(&mut bytes, proposal);
    }
    end(bytes)
}

/// Encodes a block of imported entries; rules do not apply to them.
#[must_use]
pub fn encode_history(name: BlockName, history: &[PastEntry]) -> Bytes {
    let weight = history.iter().map(|past| past.proposal.weight() + 16).sum();
    let mut bytes = begin(KIND_HISTORY, name, Rules::FIRST, history.len(), weight);
    for PastEntry { proposal, slot, committed_at } in history {
        bytes.put_u64(*slot);
        bytes.put_u64(*committed_at);
        put_proposal(&mut bytes, proposal);
    }
    end(bytes)
}

impl Replacement<'_> {
    /// Encodes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let none = BlockName { node: NodeId([0; 16]), incarnation: 0, n: 0 };
        let mut bytes =
            begin(KIND_REPLACEMENT, none, Rules::FIRST, 0, REPLACEMENT_BYTES + self.block.len());
        bytes.put_u64(self.of.0);
        bytes.put_u64(self.time);
        bytes.put_u64(self.stamp.0);
        bytes.put_slice(self.block);
        end(bytes)
    }
}

/// A block as a replacement; `None` if it is none. Its checksum was checked.
#[must_use]
pub fn replacement(bytes: &[u8]) -> Option<Replacement<'_>> {
    let is_one = bytes.len() >= HEAD_BYTES + REPLACEMENT_BYTES
        && bytes[..4] == MAGIC
        && bytes[8..10] == FORMAT.to_be_bytes()
        && bytes[12] == KIND_REPLACEMENT
        && crc32fast::hash(&bytes[8..]).to_be_bytes() == bytes[4..8];
    let mut cursor = Cursor(bytes.get(HEAD_BYTES..).filter(|_| is_one)?);
    let mut number = || cursor.u64().ok();
    let (of, time, stamp) = (Position(number()?), number()?, Stamp(number()?));
    Some(Replacement { of, time, stamp, block: cursor.0 })
}

/// Decodes what takes effect at a position: the block there, or what is left of it in its replacement.
/// `None` for a replacement of another block.
///
/// # Errors
/// As [`decode`].
pub fn decode_at(at: Position, bytes: &[u8], knows: Rules) -> Result<Option<Block>, BlockError> {
    match replacement(bytes) {
        None => decode(bytes, knows).map(Some),
        Some(Replacement { of, block, .. }) if of == at && !block.is_empty() => {
            decode(block, knows).map(Some)
        }
        Some(_) => Ok(None),
    }
}

/// Whether a durable block is this one, as it was proposed or in its replacement.
#[must_use]
pub fn is_same(durable: &Durable, block: &Bytes) -> bool {
    // Most journals return the same buffer: compare pointers first.
    let is_one = durable.block.as_ptr() == block.as_ptr() && durable.block.len() == block.len();
    let is_replaced = || {
        let replacement = replacement(&durable.block);
        replacement.is_some_and(|it| {
            it.of == durable.position && !it.block.is_empty() && it.stamp == stamp(block)
        })
    };
    is_one || durable.block == *block || is_replaced()
}

impl Block {
    /// Its proposals.
    pub fn proposals_mut(&mut self) -> Vec<&mut Proposal> {
        match &mut self.payload {
            Payload::Proposals(proposals) => proposals.iter_mut().collect(),
            Payload::History(history) => history.iter_mut().map(|it| &mut it.proposal).collect(),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match &self.payload {
            Payload::Proposals(proposals) => encode(self.name, self.rules, proposals.iter()),
            Payload::History(history) => encode_history(self.name, history),
        }
    }
}

fn begin(kind: u8, name: BlockName, rules: Rules, count: usize, weight: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(64 + weight);
    bytes.put_slice(&MAGIC);
    bytes.put_u32(0);
    bytes.put_u16(FORMAT);
    bytes.put_u16(rules.number());
    bytes.put_u8(kind);
    bytes.put_slice(&name.node.0);
    bytes.put_u64(name.incarnation);
    bytes.put_u64(name.n);
    // Blocks hold at most BLOCK_ENTRIES.
    bytes.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
    bytes
}

fn end(mut bytes: BytesMut) -> Bytes {
    let crc = crc32fast::hash(&bytes[8..]).to_be_bytes();
    bytes[4..8].copy_from_slice(&crc);
    bytes.freeze()
}

fn put_proposal(bytes: &mut BytesMut, proposal: &Proposal) {
    let flag = |bit: u8, on: bool| if on { bit } else { 0 };
    bytes.put_u8(
        flag(HAS_REF, proposal.reference.is_some())
            | flag(HAS_SENT_AT, proposal.sent_at.is_some())
            | flag(HAS_EXPECT, proposal.expect.is_some())
            | flag(HAS_META, proposal.content.meta().is_some())
            | flag(REDACTED, proposal.content.is_redacted())
            | flag(MAY_REMOVE, proposal.may_remove),
    );
    put_text(bytes, &proposal.room);
    put_text(bytes, &proposal.author);
    put_text(bytes, &proposal.id);
    put_text(bytes, &proposal.kind);
    for number in [proposal.reference, proposal.sent_at, proposal.expect].into_iter().flatten() {
        bytes.put_u64(number);
    }
    bytes.put_slice(&proposal.commitment.0);
    if let Content::Said { body, meta, salt } = &proposal.content {
        bytes.put_slice(&salt.0);
        put_text(bytes, body);
        meta.iter().for_each(|meta| put_text(bytes, meta));
    }
}

fn put_text(bytes: &mut BytesMut, text: &str) {
    // The longest text is a body, at most 128 KiB by `Limits`.
    bytes.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    bytes.put_slice(text.as_bytes());
}

/// Decodes a block, on a node that knows rules up to `knows`. The caller skips and counts foreign
/// bytes, and stops on a newer version.
pub fn decode(bytes: &[u8], knows: Rules) -> Result<Block, BlockError> {
    if bytes.len() < HEAD_BYTES || bytes[..4] != MAGIC {
        return Err(BlockError::Foreign);
    }
    let mut cursor = Cursor(&bytes[4..]);
    let crc = cursor.u32()?;
    if crc32fast::hash(cursor.0) != crc {
        return Err(BlockError::Foreign);
    }
    let (format, rules, kind) = (cursor.u16()?, cursor.u16()?, cursor.take::<1>()?[0]);
    if format < FORMAT {
        return Err(BlockError::Broken(format!("it has format {format}, which is no longer read")));
    }
    let newer = BlockError::Newer { format, rules, kind };
    let Some(rules) = knows.known(rules).filter(|_| format == FORMAT && kind <= KIND_HISTORY)
    else {
        return Err(newer);
    };
    let name =
        BlockName { node: NodeId(cursor.take()?), incarnation: cursor.u64()?, n: cursor.u64()? };
    let count = cursor.u32()? as usize;
    let (mut proposals, mut history) = (Vec::new(), Vec::new());
    for _ in 0..count {
        if kind == KIND_HISTORY {
            let (slot, committed_at) = (cursor.u64()?, cursor.u64()?);
            history.push(PastEntry { proposal: cursor.proposal(&newer)?, slot, committed_at });
        } else {
            proposals.push(cursor.proposal(&newer)?);
        }
    }
    if cursor.0.is_empty() {
        let payload = match kind {
            KIND_HISTORY => Payload::History(history),
            _ => Payload::Proposals(proposals),
        };
        Ok(Block { name, rules, payload })
    } else {
        Err(BlockError::Broken(format!("{} bytes follow the last proposal", cursor.0.len())))
    }
}

/// The proposal count from a block's header; 0 if it has none. Does not verify the block.
#[must_use]
pub fn proposals_in(block: &[u8]) -> usize {
    let count = block.get(45..49).and_then(|bytes| bytes.try_into().ok());
    count.map_or(0, |count| u32::from_be_bytes(count) as usize)
}

/// The size of the header.
const HEAD_BYTES: usize = 49;

/// The size of what a replacement has between its header and what is left of the block.
const REPLACEMENT_BYTES: usize = 24;

/// The stamp of a block: a hash of its length and its header, which contains the checksum of the
/// rest; or that of the block which it replaces.
#[must_use]
pub fn stamp(bytes: &[u8]) -> Stamp {
    if let Some(replacement) = replacement(bytes) {
        return replacement.stamp;
    }
    let mut hash = Sha256::new();
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(&bytes[..bytes.len().min(HEAD_BYTES)]);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    Stamp(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], BlockError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| BlockError::Broken("it is truncated".into()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, BlockError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, BlockError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, BlockError> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str, BlockError> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.bytes(length)?)
            .map_err(|_| BlockError::Broken("a text is not UTF-8".into()))
    }

    fn proposal(&mut self, newer: &BlockError) -> Result<Proposal, BlockError> {
        let [flags] = self.take()?;
        if flags & !FLAGS != 0 {
            return Err(newer.clone());
        }
        let room = RoomName::stored(self.text()?)?;
        let author = Author::stored(self.text()?)?;
        let id = EntryId::new(self.text()?)?;
        let kind = Kind::new(self.text()?)?;
        let mut number = |bit: u8| if flags & bit == 0 { Ok(None) } else { self.u64().map(Some) };
        let (reference, sent_at, expect) =
            (number(HAS_REF)?, number(HAS_SENT_AT)?, number(HAS_EXPECT)?);
        let commitment = Commitment(self.take()?);
        let content = if flags & REDACTED == 0 {
            let (salt, body) = (Salt(self.take()?), self.text()?.into());
            let meta = if flags & HAS_META == 0 { None } else { Some(self.text()?.into()) };
            Content::Said { body, meta, salt }
        } else {
            Content::Redacted(commitment)
        };
        Ok(Proposal {
            room,
            author,
            id,
            kind,
            reference,
            sent_at,
            expect,
            may_remove: flags & MAY_REMOVE != 0,
            content,
            commitment,
        })
    }
}
