//! The bytes of a segment, which is one file of the journal.
//!
//! ```text
//!  sector 0   header: magic, format, log, number, salt, first position, where its record begins, time
//!  sector 1   the position that the segment has reached, and whether another segment follows
//!  sector 2…  records, each from the beginning of a sector; then zeros, to the end of the file
//!
//!  header   0 magic · 8 format · 12 log · 38 continues · 64 number · 72 salt · 80 first · 88 at
//!           96 time · 104 bytes of the file · 508 checksum
//!  reached  512 position · 520 1 if another segment follows · 1020 checksum
//!  record   0 position · 8 time · 16 length · 20 checksum · 24 block · then the block's checksum
//! ```
//!
//! Numbers are big-endian; a checksum is the CRC-32 of what is before it in its sector, or of its record,
//! continued from the salt and the position where there are any. `log` and `continues` are ULIDs as text, or
//! zeros. Invariants: bytes of a client never form a record, because its checksums begin with a salt that
//! no client knows; a write changes no sector of a block that was acked.

use bytes::Bytes;
use roomlog_core::journal::{Durable, Position};
use ulid::Ulid;

/// The bytes that a disk writes as a whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Where the records of a new segment begin.
pub(super) const RECORDS: usize = 2 * SECTOR;

/// The bytes of a record besides its block.
const RECORD_HEADER: usize = 24;
const RECORD_TRAILER: usize = 4;

/// The format of the journal. Up to 3 it was a SQLite file.
pub(super) const FORMAT: u32 = 4;

const MAGIC: [u8; 8] = *b"rlogjrnl";
const ULID: usize = 26;
/// Where the checksum of a sector is.
const SUM: usize = SECTOR - 4;

/// What a segment says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The log.
    pub(super) log: String,
    /// The log up to the position before `first`, if it is another one: that of a restored backup.
    pub(super) continues: Option<String>,
    /// The segment's number: 1, 2, 3, …
    pub(super) number: u64,
    /// Random; the checksums of its records begin with it.
    pub(super) salt: u64,
    /// The position of its first record.
    pub(super) first: u64,
    /// Where that record begins, in bytes.
    pub(super) at: u64,
    /// The time of the block before it, ms since the epoch.
    pub(super) time: u64,
    /// The length of the file, in bytes.
    pub(super) bytes: u64,
}

/// Why a sector is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadSector {
    /// Nothing was written to it.
    Blank,
    /// It was changed, or is another file's.
    Changed,
    /// Another version wrote it.
    Format(u32),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(8, &FORMAT.to_be_bytes());
        put(12, self.log.as_bytes());
        put(38, self.continues.as_deref().unwrap_or_default().as_bytes());
        let numbers = [self.number, self.salt, self.first, self.at, self.time, self.bytes];
        for (n, number) in numbers.iter().enumerate() {
            put(64 + 8 * n, &number.to_be_bytes());
        }
        with_sum(sector)
    }

    pub(super) fn decode(sector: &[u8; SECTOR]) -> Result<Self, BadSector> {
        check(sector)?;
        if sector[..8] != MAGIC {
            return Err(BadSector::Changed);
        }
        let format = u32_at(sector, 8);
        if format != FORMAT {
            return Err(BadSector::Format(format));
        }
        let ulid = |at: usize| {
            let text = str::from_utf8(&sector[at..at + ULID]).ok()?;
            Ulid::from_string(text).is_ok().then(|| text.to_owned())
        };
        Ok(Self {
            log: ulid(12).ok_or(BadSector::Changed)?,
            continues: ulid(38),
            number: u64_at(sector, 64),
            salt: u64_at(sector, 72),
            first: u64_at(sector, 80),
            at: u64_at(sector, 88),
            time: u64_at(sector, 96),
            bytes: u64_at(sector, 104),
        })
    }
}

/// What the second sector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// A position that the segment had at least; one before its first if it had none.
    pub(super) position: u64,
    /// Whether another segment follows: then this one ends with that position.
    pub(super) is_followed: bool,
}

impl Reached {
    pub(super) fn encode(self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(&self.position.to_be_bytes());
        sector[8] = self.is_followed.into();
        with_sum(sector)
    }

    pub(super) fn decode(sector: &[u8; SECTOR]) -> Result<Self, BadSector> {
        check(sector)?;
        Ok(Self { position: u64_at(sector, 0), is_followed: sector[8] != 0 })
    }
}

fn with_sum(mut sector: [u8; SECTOR]) -> [u8; SECTOR] {
    let sum = crc32fast::hash(&sector[..SUM]);
    sector[SUM..].copy_from_slice(&sum.to_be_bytes());
    sector
}

fn check(sector: &[u8; SECTOR]) -> Result<(), BadSector> {
    if crc32fast::hash(&sector[..SUM]) == u32_at(sector, SUM) {
        return Ok(());
    }
    Err(if is_blank(sector) { BadSector::Blank } else { BadSector::Changed })
}

pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What the beginning of a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) position: u64,
    pub(super) time: u64,
    length: u32,
}

impl RecordHeader {
    /// The bytes of a record's header.
    pub(super) const BYTES: usize = RECORD_HEADER;

    /// Reads it; `None` if it is not one of this segment.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER] = bytes.first_chunk()?;
        let sum = u32_at(bytes, 20);
        let header =
            Self { position: u64_at(bytes, 0), time: u64_at(bytes, 8), length: u32_at(bytes, 16) };
        (header.sum(salt) == sum).then_some(header)
    }

    /// How many bytes its record takes in the file, up to the next sector.
    pub(super) fn room(&self) -> u64 {
        room(self.length as usize)
    }

    /// The block after this header, as `bytes` hold it with its checksum; `None` if it is not what was
    /// written.
    pub(super) fn block<'a>(&self, bytes: &'a [u8], salt: u64) -> Option<&'a [u8]> {
        let (block, rest) = bytes.split_at_checked(self.length as usize)?;
        let sum = u32::from_be_bytes(*rest.first_chunk()?);
        (self.sum_of_block(block, salt) == sum).then_some(block)
    }

    /// How many bytes [`Self::block`] needs.
    pub(super) fn rest(&self) -> usize {
        self.length as usize + RECORD_TRAILER
    }

    fn sum(&self, salt: u64) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&salt.to_be_bytes());
        crc.update(&self.position.to_be_bytes());
        crc.update(&self.time.to_be_bytes());
        crc.update(&self.length.to_be_bytes());
        crc.finalize()
    }

    fn sum_of_block(&self, block: &[u8], salt: u64) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&salt.to_be_bytes());
        crc.update(&self.position.to_be_bytes());
        crc.update(block);
        crc.finalize()
    }
}

/// How many bytes the record of a block takes in the file.
pub(super) fn room(block: usize) -> u64 {
    (RECORD_HEADER + block + RECORD_TRAILER).next_multiple_of(SECTOR) as u64
}

/// Writes the record of a block; `None` if it is too long, which is from 4 GiB.
pub(super) fn encode_record(buffer: &mut Vec<u8>, durable: &Durable, salt: u64) -> Option<()> {
    let Durable { position: Position(position), time, block } = durable;
    let length = u32::try_from(block.len()).ok()?;
    let header = RecordHeader { position: *position, time: *time, length };
    buffer.clear();
    buffer.extend_from_slice(&position.to_be_bytes());
    buffer.extend_from_slice(&time.to_be_bytes());
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(&header.sum(salt).to_be_bytes());
    buffer.extend_from_slice(block);
    buffer.extend_from_slice(&header.sum_of_block(block, salt).to_be_bytes());
    Some(())
}

/// A block as it was proposed.
pub(super) fn durable(header: &RecordHeader, block: &[u8]) -> Durable {
    Durable {
        position: Position(header.position),
        time: header.time,
        block: Bytes::copy_from_slice(block),
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |number| u64::from_be_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |number| u32::from_be_bytes(*number))
}
