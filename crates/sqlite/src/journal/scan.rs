//! Where the journal ends: the scan of its last segment.
//!
//! A block is written once the one before it is on stable storage, so a crash or a power cut tears only the
//! last one, which was never acked; and it tears it by sectors, of which those that did not reach the disk
//! are zeros, as they were made. The scan tells this from damage:
//!
//! | found after the last intact record | cause | verdict |
//! |---|---|---|
//! | zeros | nothing was written | the end |
//! | a record of which a sector is zeros | it was torn | the end; the rest is zeroed before the next block |
//! | a record without such a sector, or the header of one | a block that was acked and has changed | damage |
//! | the header of a later record | the record before it was acked | damage |
//! | an end before the position that the segment had reached | records are missing | damage |
//!
//! Enters: the bytes of a segment. Leaves: its last position, and where the next record begins. Invariant:
//! what a crash or a power cut can leave is never refused. Not detected: the last block, acked, with a
//! complete sector of zeros: it looks torn. If the archive had applied it, the start refuses by the
//! positions.

use roomlog_core::journal::JournalError;

use super::format::{Header, Reached, RecordHeader, SECTOR, is_blank};
use crate::files::segment_name;

/// Where a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Its last position; that before its first if it has no record.
    pub(super) head: u64,
    /// The time of the last block.
    pub(super) time: u64,
    /// Where the last record begins; if there is none, where the next one does.
    pub(super) last: u64,
    /// Where the next record begins.
    pub(super) at: u64,
    /// Whether all after that is zeros.
    pub(super) is_clean: bool,
}

/// Finds the end of a segment, of which these are all bytes.
pub(super) fn end(header: &Header, reached: Reached, bytes: &[u8]) -> Result<End, JournalError> {
    let (head, time, at) = (header.first - 1, header.time, header.at);
    let mut end = End { head, time, last: at, at, is_clean: true };
    let mut rest = usize::try_from(end.at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    while let Some(record) = whole(rest, header.salt, end.head + 1) {
        let room = usize::try_from(record.room()).unwrap_or(usize::MAX);
        let (head, time, at) = (record.position, record.time, end.at + record.room());
        end = End { head, time, last: end.at, at, is_clean: true };
        rest = rest.get(room..).unwrap_or_default();
    }
    end.is_clean = is_blank(rest);
    let damage = |what: String| {
        Err(JournalError(format!(
            "{} is damaged at byte {}: {what}; positions up to {} are intact; restore a backup of the \
             whole directory. Nothing was changed",
            segment_name(header.number),
            end.at,
            end.head
        )))
    };
    if let Some(later) = later(rest, header.salt, end.head + 1) {
        return damage(format!(
            "position {} is not what was written, and position {later} follows",
            end.head + 1
        ));
    }
    if !end.is_clean && !is_torn(rest, header.salt, end.head + 1) {
        return damage(format!("position {} is not what was written", end.head + 1));
    }
    if reached.position > end.head {
        return damage(format!("it had reached position {}", reached.position));
    }
    Ok(end)
}

fn record(bytes: &[u8], salt: u64, position: u64) -> Option<RecordHeader> {
    RecordHeader::decode(bytes, salt).filter(|header| header.position == position)
}

fn whole(bytes: &[u8], salt: u64, position: u64) -> Option<RecordHeader> {
    let header = record(bytes, salt, position)?;
    let (_, rest) = bytes.split_at_checked(RecordHeader::BYTES)?;
    header.block(rest, salt).map(|_| header)
}

/// The position of a record after a bad one.
fn later(bytes: &[u8], salt: u64, position: u64) -> Option<u64> {
    let sectors = bytes.chunks(SECTOR);
    let possible = position + 1..position + sectors.len() as u64;
    let mut headers = sectors.filter_map(|sector| RecordHeader::decode(sector, salt));
    headers.find(|header| possible.contains(&header.position)).map(|header| header.position)
}

/// Whether a record is one of which not all sectors were written.
fn is_torn(bytes: &[u8], salt: u64, position: u64) -> bool {
    let sectors = match record(bytes, salt, position) {
        Some(header) => usize::try_from(header.room()).unwrap_or(usize::MAX) / SECTOR,
        None => 1,
    };
    let mut sectors = bytes.chunks(SECTOR).take(sectors);
    // One bit in a sector of zeros was flipped there, and no record.
    sectors.any(|sector| sector.iter().map(|byte| byte.count_ones()).sum::<u32>() <= 1)
}
