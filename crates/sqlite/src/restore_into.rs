//! A restore into another directory; the backup itself is only read.
//!
//! ```text
//!  BACKUP/archive.db, manifest.json ──copy──► DIR.part ──restore──► DIR.part ──rename──► DIR
//! ```
//!
//! Enters: a backup and a target. Leaves: a directory with a new log that continues the backup.
//! Invariants: the backup does not change; `DIR` appears complete or not at all; what a crash left
//! in `DIR.part` is removed by the next attempt.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use roomlog_core::journal::Journal;
use roomlog_protocol::{MANIFEST_FILE, Manifest, PART};

use crate::{
    directory::{Directory, lock},
    error::OpenError,
    files::{self, ARCHIVE, LOCK, has_journal, is_ours, with_suffix},
    guard,
    journal::JOURNAL_BYTES,
    private::{self, if_exists},
    start,
};

/// A restored backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup's manifest.
    pub manifest: Manifest,
    /// The new log.
    pub log: String,
}

impl Directory {
    /// Whether a directory is a backup: an archive with its manifest, and no journal.
    ///
    /// # Errors
    /// Its manifest cannot be read, or a link is in the place of a file.
    pub fn is_backup(path: &Path) -> Result<bool, OpenError> {
        guard::check_files(path).map_err(OpenError::io(path))?;
        Ok(!has_journal(path) && start::manifest(path)?.is_some())
    }

    /// Restores a backup into `to`, which must be missing or empty, and compares it with its
    /// manifest, byte by byte.
    ///
    /// # Errors
    /// [`OpenError::NoBackup`] if `backup` is none, [`OpenError::NotEmpty`] if `to` is not empty,
    /// [`OpenError::Manifest`] if the backup does not match its manifest, [`OpenError::Io`] if the
    /// system refuses. `to` is then unchanged.
    pub fn restore(backup: &Path, to: &Path) -> Result<Restored, OpenError> {
        guard::check_files(backup).map_err(OpenError::io(backup))?;
        let manifest = start::manifest(backup)?;
        start::not_cut_off(backup, manifest.as_ref())?;
        let manifest = manifest.filter(|_| !has_journal(backup));
        let manifest = manifest.ok_or_else(|| OpenError::NoBackup { path: backup.into() })?;
        let io = OpenError::io(to);
        if !is_empty(to).map_err(io)? {
            return Err(OpenError::NotEmpty { path: to.into() });
        }
        let to = &resolved(to).map_err(io)?;
        let part = with_suffix(to, PART);
        make_part(&part).map_err(io)?;
        start::check_ours(&part)?;
        guard::check_files(&part).map_err(io)?;
        let held = lock(&part, true)?;
        remove_ours(&part).map_err(io)?;
        let log = fill(backup, &part, &held);
        let log = log.inspect_err(|_| {
            let _or_the_next_attempt_does = remove_ours(&part)
                .and_then(|()| fs::remove_file(part.join(LOCK)))
                .and_then(|()| fs::remove_dir(&part));
        })?;
        put(&part, to).map_err(io)?;
        Ok(Restored { manifest, log })
    }
}

/// Makes the directory to restore into. What an earlier attempt left is used again: not what is
/// someone else's, who could read or change what is put there.
fn make_part(part: &Path) -> io::Result<()> {
    if let Some(parent) = part.parent() {
        private::create_dir_all(parent)?;
    }
    match private::create_dir(part) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => guard::check_own(part),
        made => made,
    }
}

/// Copies the backup and restores the copy; returns the new log.
fn fill(backup: &Path, part: &Path, held: &File) -> Result<String, OpenError> {
    let io = OpenError::io(part);
    if !backup.join(ARCHIVE).exists() {
        return Err(OpenError::no_archive(backup));
    }
    for file in [ARCHIVE, MANIFEST_FILE] {
        private::copy(&backup.join(file), &part.join(file)).map_err(io)?;
    }
    let held = held.try_clone().map_err(io)?;
    let directory =
        Directory::open_locked(part, JOURNAL_BYTES, held).map_err(|error| match error {
            // What is wrong with the copy is wrong with the backup.
            OpenError::Manifest { why, .. } => OpenError::manifest(backup, why),
            other => other,
        })?;
    Ok(directory.journal.facts().log.clone())
}

/// The path without links, `.` and a trailing slash, so that its directory can be made beside it.
fn resolved(to: &Path) -> io::Result<PathBuf> {
    if to.exists() {
        return to.canonicalize();
    }
    // A path without a name, such as `..`, exists.
    let to = std::path::absolute(to)?;
    match (to.parent(), to.file_name()) {
        (Some(parent), Some(name)) if !to.is_symlink() => Ok(parent.join(name)),
        _ => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// Whether a path is missing or an empty directory.
fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(if_exists(fs::read_dir(path))?.is_none_or(|mut entries| entries.next().is_none()))
}

/// Removes what an earlier attempt left, and nothing else.
fn remove_ours(part: &Path) -> io::Result<()> {
    for entry in fs::read_dir(part)? {
        let entry = entry?;
        if is_ours(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn put(part: &Path, to: &Path) -> io::Result<()> {
    files::sync(part)?;
    // An empty directory is replaced.
    fs::rename(part, to)?;
    files::sync_parent(to)
}
