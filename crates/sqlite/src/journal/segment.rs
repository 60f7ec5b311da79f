//! One file of the journal: it is made of zeros, and then filled.
//!
//! Enters: a place and a length. Leaves: a file whose blocks are all allocated and written once, so that a
//! later write changes neither its length nor where it is on the disk, and its fsync syncs data only.
//! Invariant: a segment that is no longer used is zeros before its space is used for anything else.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use roomlog_core::journal::JournalError;
use rustix::fs::FallocateFlags;

use super::format::{BadSector, FORMAT, Header, RECORDS, Reached, SECTOR, is_blank};
use crate::{
    error::{check_format, is_disk_full, remedy},
    files::{self, BLANK, segment_name},
    private::{self, if_exists},
};

/// The longest segment that is not made for one long block, in bytes. A journal is trimmed by segments.
const MOST_BYTES: u64 = 16 << 20;

/// The first one's bytes: a log that stays small takes little space. Each one is twice as long as the one
/// before it.
const FIRST_BYTES: u64 = 256 << 10;

/// The fewest bytes of a segment.
const LEAST_BYTES: u64 = 4 << 10;

/// How many segments of full length the bytes are that are kept.
const SEGMENTS_KEPT: u64 = 16;

/// The longest segment, in bytes: a block is shorter.
const LARGEST_BYTES: u64 = 1 << 30;

/// The largest number and position. No log comes there.
const LARGEST: u64 = 1 << 62;

/// How many zeros are written between two syncs: a longer one would delay those of the blocks.
const ZEROS: usize = 1 << 20;

/// The length of a segment, in bytes.
pub(super) struct Lengths {
    /// A longer one, of an earlier setting, counts as full when this much of it is used.
    pub(super) most: u64,
}

impl Lengths {
    /// For a journal that keeps this many bytes.
    pub(super) fn keeping(bytes: u64) -> Self {
        Self { most: (bytes / SEGMENTS_KEPT).clamp(LEAST_BYTES, MOST_BYTES) }
    }

    pub(super) fn first(&self) -> u64 {
        self.most.min(FIRST_BYTES)
    }

    /// That of the segment after one of `before` bytes.
    pub(super) fn next(&self, before: u64) -> u64 {
        (before * 2).min(self.most)
    }
}

/// An error of the system as one of a file of the journal.
pub(super) fn failed(file: &str, what: &str, error: &io::Error) -> JournalError {
    JournalError(format!("{file}: {what}: {error}{}", remedy(error)))
}

/// What is known of the blank segment.
#[derive(Default)]
pub(super) struct Blank {
    /// It is there, and zeros on the disk.
    pub(super) is_zeros: bool,
}

/// Makes a segment of zeros, or uses the blank one again, if that is as long and zeros.
pub(super) fn make(
    directory: &Path,
    known: &mut Blank,
    number: u64,
    bytes: u64,
) -> io::Result<File> {
    let (path, blank) = (directory.join(segment_name(number)), directory.join(BLANK));
    if_exists(fs::remove_file(&path))?;
    let is_as_long = fs::symlink_metadata(&blank).is_ok_and(|blank| blank.len() == bytes);
    let is_as_long = known.is_zeros && is_as_long;
    let file = if is_as_long {
        known.is_zeros = false;
        fs::rename(&blank, &path)?;
        private::open_to_write(&path)?
    } else {
        private::create_new(&path)?
    };
    let made = if is_as_long { Ok(()) } else { lengthen(&file, 0, bytes) };
    let made = made.and_then(|()| files::sync(directory));
    if made.is_err() {
        let _or_the_next_attempt_does = fs::remove_file(&path);
    }
    made.map(|()| file)
}

/// Fills a file with zeros behind what it has.
pub(super) fn lengthen(file: &File, from: u64, to: u64) -> io::Result<()> {
    // So that a full disk is noticed before anything is written, and the file is in one piece.
    let space = rustix::fs::fallocate(file, FallocateFlags::empty(), from, to - from);
    let filled = match space.map_err(Into::into) {
        Err(error) if is_disk_full(&error) => Err(error),
        _or_the_file_system_cannot => zero(file, from, to),
    };
    filled.and_then(|()| file.sync_all()).inspect_err(|_| {
        let _or_it_is_made_again = file.set_len(from);
    })
}

/// Overwrites a file with zeros; they are on stable storage when this returns.
pub(super) fn overwrite(path: &Path) -> io::Result<()> {
    let file = private::open_to_write(path)?;
    zero(&file, 0, file.metadata()?.len())
}

/// Removes a file, of which nothing stays on the disk, as far as the file system lets that be; does nothing
/// if there is none.
pub(super) fn erase(path: &Path) -> io::Result<()> {
    match if_exists(overwrite(path)) {
        // A file system that copies on write has no space for the zeros.
        Err(error) if !is_disk_full(&error) => Err(error),
        Ok(None) => Ok(()),
        _ => fs::remove_file(path),
    }
}

/// As [`zero`]; writes only where there is something.
pub(super) fn clear(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let end = to.min(at + ZEROS as u64);
        if !is_blank(&files::read_part(file, at, end)?) {
            zero(file, at, end)?;
        }
        at = end;
    }
    Ok(())
}

/// Whether a file has nothing but zeros from a place on.
pub(super) fn is_clear(file: &File, from: u64) -> io::Result<bool> {
    let (mut at, to) = (from, file.metadata()?.len());
    while at < to {
        let end = to.min(at + ZEROS as u64);
        if !is_blank(&files::read_part(file, at, end)?) {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

/// Overwrites a part of a file with zeros; they are on stable storage when this returns.
pub(super) fn zero(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS.min(usize::try_from(to - from).unwrap_or(ZEROS))];
    let mut at = from;
    while at < to {
        let step = zeros.len().min(usize::try_from(to - at).unwrap_or(ZEROS));
        file.write_all_at(&zeros[..step], at)?;
        file.sync_data()?;
        at += step as u64;
    }
    Ok(())
}

/// Begins a segment, which was zeros until now; not synced.
pub(super) fn begin(file: &File, header: &Header) -> io::Result<()> {
    let reached = Reached { position: header.first - 1, is_followed: false };
    file.write_all_at(&[header.encode(), reached.encode()].concat(), 0)
}

/// Writes the header again; it is on stable storage when this returns.
pub(super) fn rewrite(file: &File, header: &Header) -> io::Result<()> {
    file.write_all_at(&header.encode(), 0).and_then(|()| file.sync_data())
}

/// Writes what a segment has reached; not synced.
pub(super) fn set_reached(file: &File, reached: Reached) -> io::Result<()> {
    file.write_all_at(&reached.encode(), SECTOR as u64)
}

/// Reads what a segment says about itself; `None` if it was never begun.
pub(super) fn read(
    directory: &Path,
    number: u64,
) -> Result<Option<(Header, Reached)>, JournalError> {
    let name = segment_name(number);
    let cannot = |error: io::Error| failed(&name, "cannot be read", &error);
    let file = private::open(&directory.join(&name)).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    if length < RECORDS as u64 {
        // It was being made.
        return Ok(None);
    }
    let mut sectors = [[0; SECTOR]; 2];
    file.read_exact_at(sectors.as_flattened_mut(), 0).map_err(cannot)?;
    let header = match Header::decode(&sectors[0]) {
        Ok(header) => header,
        Err(BadSector::Blank) => return Ok(None),
        Err(BadSector::Format(format)) => {
            let why = check_format(format.into(), FORMAT.into());
            return Err(JournalError(format!("{name}: {}", why.err().unwrap_or_default())));
        }
        Err(BadSector::Changed) => return Err(changed(&name, "its header")),
    };
    let is_of_file = header.number == number && header.bytes == length && length <= LARGEST_BYTES;
    let is_in_file =
        (RECORDS as u64..=length).contains(&header.at) && header.at % SECTOR as u64 == 0;
    let are_possible = number < LARGEST && (1..LARGEST).contains(&header.first);
    if !is_of_file || !is_in_file || !are_possible {
        return Err(changed(&name, "its number, its length or its first position"));
    }
    let reached = match Reached::decode(&sectors[1]) {
        Ok(reached) if reached.position < LARGEST => reached,
        // It is written with the header, and a power cut can come between them.
        Err(BadSector::Blank) => Reached { position: header.first - 1, is_followed: false },
        _ => return Err(changed(&name, "the position that it had reached")),
    };
    Ok(Some((header, reached)))
}

/// What was changed by something else than Roomlog.
pub(super) fn changed(file: &str, what: &str) -> JournalError {
    JournalError(format!(
        "{file}: {what} is not what was written; restore a backup of the whole directory. Nothing was \
         changed"
    ))
}
