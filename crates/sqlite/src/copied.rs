//! A backup becomes a data directory elsewhere; the backup itself is only read.
//!
//! ```text
//!  BACKUP/archive.db, manifest.json ──copy──► DIR.part ──restore──► DIR.part ──rename──► DIR
//! ```
//!
//! Enters: a backup, and where its log is to be served. Leaves: a directory with a new log that goes on
//! behind the backup. Invariants: no byte of the backup changes; `DIR` appears whole or not at all; what a
//! crash left in `DIR.part` is removed by the next try.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use roomlog_core::journal::Journal;
use roomlog_protocol::{MANIFEST_FILE, Manifest, PART};

use crate::{
    Directory, OpenError,
    directory::{ARCHIVE, JOURNAL, LOCK, lock},
    start,
};

/// A backup that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// The new log.
    pub log: String,
}

impl Directory {
    /// Whether a directory is a backup: an archive with its manifest, and no journal.
    ///
    /// # Errors
    /// When its manifest cannot be read.
    pub fn is_backup(path: &Path) -> Result<bool, OpenError> {
        Ok(!path.join(JOURNAL).exists() && start::manifest(path)?.is_some())
    }

    /// Restores a backup into `to`, which must not exist or be empty. Every byte is compared with the
    /// manifest on the way.
    ///
    /// # Errors
    /// [`OpenError::NoBackup`] when `backup` is none, [`OpenError::NotEmpty`] when `to` has something in it,
    /// [`OpenError::Manifest`] when the backup is not what its manifest says, [`OpenError::Io`] when the
    /// system refuses. `to` is then as it was.
    pub fn restore(backup: &Path, to: &Path) -> Result<Restored, OpenError> {
        let manifest = start::manifest(backup)?;
        start::not_cut_off(backup, manifest.as_ref())?;
        let manifest = manifest.filter(|_| !backup.join(JOURNAL).exists());
        let manifest = manifest.ok_or_else(|| OpenError::NoBackup { path: backup.into() })?;
        let io = |error| OpenError::Io { path: to.into(), error };
        if !is_empty(to).map_err(io)? {
            return Err(OpenError::NotEmpty { path: to.into() });
        }
        let to = &resolved(to).map_err(io)?;
        let part = beside(to);
        fs::create_dir_all(&part).map_err(io)?;
        start::check_ours(&part)?;
        let held = lock(&part, true)?;
        sweep(&part).map_err(io)?;
        let log = fill(backup, &part, &held);
        let log = log.inspect_err(|_| {
            // The next try removes what is left.
            let _removed = sweep(&part)
                .and_then(|()| fs::remove_file(part.join(LOCK)))
                .and_then(|()| fs::remove_dir(&part));
        })?;
        put(&part, to).map_err(io)?;
        Ok(Restored { manifest, log })
    }
}

/// Copies the backup and restores the copy; the name of the new log.
fn fill(backup: &Path, part: &Path, held: &File) -> Result<String, OpenError> {
    let io = |error| OpenError::Io { path: part.into(), error };
    if !backup.join(ARCHIVE).exists() {
        let why = "there is no archive.db beside it".into();
        return Err(OpenError::Manifest { path: backup.into(), why });
    }
    for file in [ARCHIVE, MANIFEST_FILE] {
        let copy = part.join(file);
        fs::copy(backup.join(file), &copy).map_err(io)?;
        // A backup may be read-only, and a copy takes over the mode.
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).map_err(io)?;
    }
    let held = held.try_clone().map_err(io)?;
    let directory = Directory::open_held(part, held).map_err(|why| of_backup(why, backup))?;
    Ok(directory.journal.facts().log.clone())
}

/// What is wrong with the copy is wrong with the backup.
fn of_backup(why: OpenError, backup: &Path) -> OpenError {
    match why {
        OpenError::Manifest { why, .. } => OpenError::Manifest { path: backup.into(), why },
        other => other,
    }
}

/// The path without links, `.` and a slash at its end: the directory is made beside it and renamed.
fn resolved(to: &Path) -> io::Result<PathBuf> {
    if to.exists() {
        return to.canonicalize();
    }
    // A path without a name, such as `..`, exists, and so does not come here.
    let to = std::path::absolute(to)?;
    match (to.parent(), to.file_name()) {
        (Some(parent), Some(name)) if !to.is_symlink() => Ok(parent.join(name)),
        _ => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// Where a directory is made.
fn beside(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(PART);
    name.into()
}

/// Whether there is nothing at a path, or an empty directory.
fn is_empty(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(why) => Err(why),
    }
}

/// Removes what a try left, and nothing else.
fn sweep(part: &Path) -> io::Result<()> {
    for entry in fs::read_dir(part)? {
        let entry = entry?;
        if start::is_ours(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Puts the whole directory in its place.
fn put(part: &Path, to: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    // An empty directory is replaced.
    fs::rename(part, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
