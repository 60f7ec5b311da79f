//! How a journal is begun, and how it goes on after an earlier process.
//!
//! Enters: a directory, whose segments were looked at. Leaves: the writer, at the end of the last segment.
//! Invariant: what an earlier process left is on stable storage before anything is shown or written; what a
//! crash cut off (a torn record, a wipe, a segment that was being made) is finished or removed.

use std::{fs, fs::File, io, path::Path, sync::Arc};

use roomlog_core::journal::JournalError;
use ulid::Ulid;

use super::{
    format::{Header, RECORDS, Reached},
    look::{Found, look},
    segment::{self, Lengths, failed},
    shared::Shared,
    writer::{BlockWriter, new_salt},
};
use crate::{
    files::{self, BLANK, segment_name},
    private::{self, if_exists},
};

/// Begins a new log.
pub(super) fn new_log(directory: &Path, keep: u64) -> Result<Found, JournalError> {
    let log = Ulid::generate().to_string();
    create(&directory.join(segment_name(1)), &log, (0, 0), None, keep)
        .and_then(|()| files::sync(directory))
        .map_err(|error| failed("the journal", "cannot be made", &error))?;
    look_again(directory)
}

/// Looks at a journal that was just made.
pub(super) fn look_again(directory: &Path) -> Result<Found, JournalError> {
    look(directory)?.ok_or_else(|| JournalError("the journal: it holds no log".into()))
}

/// Makes the one segment of a log that was elsewhere up to a position, as the log `continues` if that is
/// given, in a file of its own; it is on stable storage when this returns. `time` is that of the block before.
pub(crate) fn create(
    path: &Path,
    log: &str,
    (position, time): (u64, u64),
    continues: Option<&str>,
    keep: u64,
) -> io::Result<()> {
    let header = Header {
        log: log.into(),
        continues: continues.map(Into::into),
        number: 1,
        salt: new_salt(),
        first: position + 1,
        at: RECORDS as u64,
        time,
        bytes: Lengths::keeping(keep).first(),
    };
    // Left by a crash: it was never begun.
    if_exists(fs::remove_file(path))?;
    let file = private::create_new(path)?;
    segment::lengthen(&file, 0, header.bytes)?;
    segment::begin(&file, &header)?;
    file.sync_all()
}

/// Goes on where the segments end; gives the log too.
pub(super) fn go_on(
    directory: &Path,
    found: &Found,
    keep: u64,
) -> Result<(String, BlockWriter), JournalError> {
    let Found { segments, last, end, .. } = found;
    let file = settle(directory, found)
        .map_err(|error| failed(&segment_name(last.number), "cannot be written", &error))?;
    let all = segments.iter().map(|(header, _)| header.clone()).collect();
    let shared = Arc::new(Shared::new(directory.into(), all, keep));
    Ok((last.log.clone(), BlockWriter::new(shared, keep, (last.clone(), file), *end)))
}

/// Brings the segments into the state that the writer goes on from; gives the file of the last one.
fn settle(directory: &Path, found: &Found) -> io::Result<File> {
    let open =
        |header: &Header| private::open_to_write(&directory.join(segment_name(header.number)));
    let (last, end) = (&found.last, &found.end);
    let file = open(last)?;
    // What a killed process has written last may be in memory only, after a failed sync even as if it were
    // on the disk: it is written again. Nothing may say that it is there before it is.
    let was_stopped = found.segments.last().is_some_and(|(_, it)| it.position == end.head);
    let clear = if was_stopped { segment::clear } else { segment::zero };
    clear(&file, end.at, last.bytes)?;
    files::write_again(&file, 0, RECORDS as u64)?;
    files::write_again(&file, end.last, end.at)?;
    file.sync_all()?;
    files::sync(directory)?;
    if let Some(number) = found.unused {
        segment::erase(&directory.join(segment_name(number)))?;
    }
    segment::erase(&directory.join(BLANK))?;
    for (n, (header, reached)) in found.segments.iter().enumerate() {
        let file = open(header)?;
        if header.at > RECORDS as u64 {
            // What a wipe that was cut off has left.
            segment::rewrite(&file, header)?;
            clear(&file, RECORDS as u64, header.at)?;
        }
        if let Some((next, _)) = found.segments.get(n + 1)
            && !reached.is_followed
        {
            segment::set_reached(&file, Reached { position: next.first - 1, is_followed: true })?;
            file.sync_data()?;
        }
    }
    segment::set_reached(&file, Reached { position: end.head, is_followed: false })?;
    file.sync_data()?;
    files::sync(directory)?;
    Ok(file)
}
