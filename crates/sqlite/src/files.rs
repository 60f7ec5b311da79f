//! The files of a data directory: their names, and the crash-safe operations on them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use roomlog_protocol::MANIFEST_FILE;

use crate::private::{self, if_exists};

pub(crate) const JOURNAL: &str = "journal.db";
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

/// The files that hold a log and say what it is: what a copy of a directory consists of. The WALs
/// exist only where a process was killed.
pub const FILES: [&str; 6] =
    ["journal.db", "journal.db-wal", "archive.db", "archive.db-wal", "node", "manifest.json"];

/// Whether Roomlog writes a file of this name; not the lock, which other programs have too.
pub(crate) fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // Small files are written under this name and renamed.
    let renamed = name.strip_suffix(".new").unwrap_or(&name);
    [JOURNAL, ARCHIVE, MANIFEST_FILE].iter().any(|ours| name.starts_with(ours))
        || [NEW_JOURNAL, COPY, RESTORED].contains(&&*name)
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
