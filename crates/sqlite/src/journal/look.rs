//! What the segments of a stopped directory hold.
//!
//! Enters: the files `journal-…`, which are only read. Leaves: the segments in order, and where the log
//! ends; or why it cannot be used. Invariants: segments follow each other without a gap, and are of one log;
//! only the last one may be torn, and only after it one may be there that was never begun.

use std::path::Path;

use roomlog_core::journal::{Durable, JournalError, Position};

use super::{
    format::{Header, RECORDS, Reached},
    records::Records,
    scan::{self, End},
    segment::{self, changed, failed},
};
use crate::{
    files::{self, segment_name},
    private,
};

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalFile {
    pub(crate) log: String,
    /// The position of the oldest block; one past the head if there is none.
    pub(crate) first: Position,
    pub(crate) head: Position,
    /// The log and the position of the backup that a restore made it continue.
    pub(crate) continues: Option<(String, Position)>,
}

/// The segments of a log.
pub(super) struct Found {
    /// Oldest first; there is at least one.
    pub(super) segments: Vec<(Header, Reached)>,
    pub(super) last: Header,
    pub(super) end: End,
    /// The number of one that was never begun.
    pub(super) unused: Option<u64>,
}

/// Reads what a journal holds, and changes nothing; `None` if there is no log.
pub(crate) fn inspect(directory: &Path) -> Result<Option<JournalFile>, JournalError> {
    let Some(Found { segments, end, .. }) = look(directory)? else { return Ok(None) };
    Ok(segments.into_iter().next().map(|(oldest, _)| JournalFile {
        log: oldest.log,
        first: Position(oldest.first),
        head: Position(end.head),
        continues: oldest.continues.map(|log| (log, Position(oldest.first - 1))),
    }))
}

/// Reads all blocks, each of which must be there; gives the newest, `None` if none is kept.
pub(crate) fn newest(directory: &Path) -> Result<Option<Durable>, JournalError> {
    let Some(found) = look(directory)? else { return Ok(None) };
    let mut newest = None;
    for (n, (header, _)) in found.segments.iter().enumerate() {
        let after = found.segments.get(n + 1).map_or(found.end.head + 1, |(next, _)| next.first);
        let mut records = Records::open(directory, header)?;
        while records.next < after {
            newest = Some(records.read()?);
        }
    }
    Ok(newest)
}

/// Looks at all segments; `None` if none was begun.
pub(super) fn look(directory: &Path) -> Result<Option<Found>, JournalError> {
    let numbers = files::segments(directory);
    let numbers = numbers.map_err(|error| failed("the journal", "cannot be read", &error))?;
    let (mut segments, mut unused) = (Vec::new(), None);
    for (n, number) in numbers.iter().enumerate() {
        match segment::read(directory, *number)? {
            Some(read) => segments.push(read),
            None if n + 1 == numbers.len() => unused = Some(*number),
            None => return Err(changed(&segment_name(*number), "its header")),
        }
    }
    check_order(&segments)?;
    let Some((last, reached)) = segments.last().cloned() else {
        return match unused {
            Some(number) if has_records(directory, number)? => {
                Err(changed(&segment_name(number), "its header"))
            }
            _ => Ok(None),
        };
    };
    let next = last.number + 1;
    match reached.is_followed {
        true if unused == Some(next) => return Err(changed(&segment_name(next), "its header")),
        true => return Err(missing(next, "positions before it were acked, and it followed")),
        false => {}
    }
    let end = scan::end(&last, reached, &read_whole(directory, &last)?)?;
    Ok(Some(Found { segments, last, end, unused }))
}

fn missing(number: u64, why: &str) -> JournalError {
    JournalError(format!(
        "{} is missing: {why}; bring it back, or restore a backup of the whole directory. Nothing was \
         changed",
        segment_name(number)
    ))
}

fn check_order(segments: &[(Header, Reached)]) -> Result<(), JournalError> {
    for pair in segments.windows(2) {
        let [(before, reached), (after, _)] = pair else { continue };
        if after.number != before.number + 1 {
            return Err(missing(before.number + 1, "the journal goes on after it"));
        }
        let name = segment_name(after.number);
        if after.log != before.log {
            let why = format!(
                "{name} is of log {}, and the one before it of log {}",
                after.log, before.log
            );
            return Err(JournalError(format!(
                "{why}; bring the right file back. Nothing was changed"
            )));
        }
        let ends_there = reached.position + 1 == after.first || !reached.is_followed;
        if after.first < before.first || reached.position >= after.first || !ends_there {
            return Err(changed(&name, "its first position, or the last one before it,"));
        }
    }
    Ok(())
}

/// Whether anything was written where a segment has its records.
fn has_records(directory: &Path, number: u64) -> Result<bool, JournalError> {
    let name = segment_name(number);
    let is_clear = || segment::is_clear(&private::open(&directory.join(&name))?, RECORDS as u64);
    is_clear().map(|is_clear| !is_clear).map_err(|error| failed(&name, "cannot be read", &error))
}

fn read_whole(directory: &Path, header: &Header) -> Result<Vec<u8>, JournalError> {
    let name = segment_name(header.number);
    let read = || files::read_part(&private::open(&directory.join(&name))?, 0, header.bytes);
    read().map_err(|error| failed(&name, "cannot be read", &error))
}
