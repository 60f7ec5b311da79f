//! The files of a data directory: their names, and the crash-safe operations on them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use roomlog_protocol::MANIFEST_FILE;

use crate::private::{self, if_exists};

/// The journal of format 3.
pub(crate) const OLD_JOURNAL: &str = "journal.db";
/// What the names of segments begin with, before their numbers.
pub(crate) const SEGMENT: &str = "journal-";
/// A retired segment, which is zeros.
pub(crate) const BLANK: &str = "journal.blank";
pub(crate) const ARCHIVE: &str = "archive.db";
pub(crate) const LOCK: &str = "lock";
/// The operators' socket, which a killed server leaves.
pub(crate) const ADMIN: &str = "admin.sock";
pub(crate) const NODE: &str = "node";
/// Why no start may use the directory.
pub(crate) const FROZEN: &str = "frozen";
/// The copy of the archive during a backup.
pub(crate) const COPY: &str = "backup.tmp";
/// A journal that is not complete yet.
pub(crate) const NEW_JOURNAL: &str = "journal.new";
/// The manifest, once its backup was restored.
pub(crate) const RESTORED: &str = "restored.json";

/// The files that hold a log and say what it is, besides the segments of its journal: what a copy of a
/// directory consists of. The WALs exist only where a process was killed, `journal.db` only where an earlier
/// version was.
pub(crate) const FILES: [&str; 6] =
    ["archive.db", "archive.db-wal", "journal.db", "journal.db-wal", "node", "manifest.json"];

/// The name of a segment of the journal.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{SEGMENT}{number:08}")
}

fn segment_number(name: &OsStr) -> Option<u64> {
    let number = name.to_str()?.strip_prefix(SEGMENT)?.parse().ok()?;
    (segment_name(number) == name.to_str()?).then_some(number)
}

/// The numbers of the segments in a directory, in order.
pub(crate) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        numbers.extend(segment_number(&entry?.file_name()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether a directory has a journal of its own, of whatever format.
pub(crate) fn has_journal(directory: &Path) -> bool {
    directory.join(OLD_JOURNAL).exists()
        || segments(directory).is_ok_and(|segments| !segments.is_empty())
}

/// The paths of the files that hold a log and say what it is: what a copy of a directory consists of.
///
/// # Errors
/// The directory cannot be read.
pub fn log_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = FILES.iter().map(|name| directory.join(name)).collect();
    files.retain(|file| file.exists());
    let segments = segments(directory)?;
    files.extend(segments.into_iter().map(|number| directory.join(segment_name(number))));
    Ok(files)
}

/// The bytes of each of [`log_files`] by its name; those of the segments together, as `journal`.
///
/// # Errors
/// The directory cannot be read.
pub fn file_sizes(directory: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for file in log_files(directory)? {
        // It may have been removed since.
        let Ok(there) = fs::symlink_metadata(&file) else { continue };
        let name = file.file_name().unwrap_or_default();
        let name =
            if segment_number(name).is_some() { "journal".into() } else { name.to_string_lossy() };
        *sizes.entry(name.into_owned()).or_default() += there.len();
    }
    Ok(sizes)
}

/// Whether Roomlog writes a file of this name; not the lock, which other programs have too.
pub(crate) fn is_ours(name: &OsStr) -> bool {
    let is_segment = segment_number(name).is_some();
    let name = name.to_string_lossy();
    // Small files are written under this name and renamed.
    let renamed = name.strip_suffix(".new").unwrap_or(&name);
    is_segment
        || [OLD_JOURNAL, ARCHIVE, MANIFEST_FILE].iter().any(|ours| name.starts_with(ours))
        || [NEW_JOURNAL, BLANK, COPY, RESTORED].contains(&&*name)
        || [NODE, FROZEN].contains(&renamed)
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

pub(crate) fn wal_of(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

/// Whether a database file has a WAL that is not empty.
pub(crate) fn has_wal(path: &Path) -> bool {
    fs::symlink_metadata(wal_of(path)).is_ok_and(|wal| wal.len() > 0)
}

/// How many bytes [`write_again`] holds at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// Writes a part of a file again as it is. After a sync that failed, what was not written is in memory only, as if it
/// were on the disk, and no other sync writes it.
pub(crate) fn write_again(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let end = to.min(at + CHUNK_BYTES);
        file.write_all_at(&read_part(file, at, end)?, at)?;
        at = end;
    }
    Ok(())
}

/// Reads a part of a file.
pub(crate) fn read_part(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// Replaces a small file by rename; it is on stable storage when this returns.
pub(crate) fn replace(directory: &Path, file: &str, text: &str) -> io::Result<()> {
    let new = directory.join(format!("{file}.new"));
    // A crash left it, or somebody else's link is in its place.
    if_exists(fs::remove_file(&new))?;
    let mut written = private::create_new(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, directory.join(file))?;
    sync(directory)
}

/// The ends of the names of a database: the file, its WAL, its index, its rollback journal.
pub(crate) const DATABASE_PARTS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Removes all files of a database.
pub(crate) fn remove_database(directory: &Path, file: &str) -> io::Result<()> {
    for suffix in DATABASE_PARTS {
        if_exists(fs::remove_file(directory.join(format!("{file}{suffix}"))))?;
    }
    Ok(())
}

pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))
}
