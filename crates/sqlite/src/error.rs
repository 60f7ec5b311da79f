//! Why a directory or a file cannot be used, each with a remedy.

use std::{io, path::Path, path::PathBuf};

use roomlog_core::{
    archive::ArchiveError,
    journal::{JournalError, Position},
};
use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

/// Why a directory was not opened; nothing in it was changed. `path` is the directory, `applied`
/// the archive's position; `first` and `head` are those of the journal's oldest and newest block.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are named above, or by their sentence")]
pub enum OpenError {
    /// Another process serves it.
    #[error(
        "{0} is in use: another process holds its lock; stop that process, or give this one \
         another directory with --data"
    )]
    Locked(PathBuf),
    /// The operating system refused.
    #[error("cannot use {path}: {error}{}", remedy(error))]
    Io { path: PathBuf, error: io::Error },
    /// It holds files, and none of them is Roomlog's.
    #[error(
        "{path} is not empty and holds no log: {file} in it is not Roomlog's; name an empty \
         directory or a new one with --data, such as {}",
        path.join("roomlog-data").display()
    )]
    NotOurs { path: PathBuf, file: String },
    /// It was to be restored and is no backup.
    #[error(
        "{path} is no backup: a backup holds archive.db and manifest.json, as `roomlog backup` \
         wrote them, and no journal"
    )]
    NoBackup { path: PathBuf },
    /// A backup was to be restored into it.
    #[error("{path} is not empty; name an empty directory or a new one")]
    NotEmpty { path: PathBuf },
    /// An archive without its journal.
    #[error(
        "{path} holds archive.db, at position {applied}, but no journal, and no manifest.json \
         that would make it a backup: part of it was moved or lost; bring the files journal-… \
         back, or restore a backup; a node of a cluster is started with --journal"
    )]
    JournalMissing { path: PathBuf, applied: Position },
    /// A trimmed journal without its archive.
    #[error(
        "{path} holds a journal, positions {first} to {head}, but no archive.db, and what came \
         before {first} was only in the archive; bring archive.db back, with its -wal, or put \
         archive.db and manifest.json of a backup beside the journal"
    )]
    ArchiveMissing { path: PathBuf, first: Position, head: Position },
    /// The journal ends before the archive's position.
    #[error(
        "{path}: archive.db is at position {applied} and the journal ends at {head}: it is an \
         older copy or lost blocks; bring the matching files journal-… back. What is only in the \
         archive is not in this journal"
    )]
    JournalBehind { path: PathBuf, applied: Position, head: Position },
    /// The journal was trimmed beyond the archive's position.
    #[error(
        "{path}: archive.db is at position {applied} and the journal begins at {first}: the \
         archive is an older copy, and what lies between was only in the newer one; bring the \
         matching archive.db back, with its -wal"
    )]
    ArchiveBehind { path: PathBuf, applied: Position, first: Position },
    /// A WAL without its database, which may hold what is nowhere else.
    #[error(
        "{path} holds {file}-wal but no {file}: bring {file} back, as the latest commits may be \
         only in its -wal; or, if it is not wanted, move {file}-wal and {file}-shm away too"
    )]
    WalAlone { path: PathBuf, file: &'static str },
    /// The manifest cannot be read, or describes another archive.
    #[error(
        "{path}: manifest.json does not describe this directory: {why}; copy the complete backup \
         again; if this is no backup, move manifest.json away"
    )]
    Manifest { path: PathBuf, why: String },
    /// A backup that was interrupted.
    #[error(
        "{path} holds {file}, of a backup that was cut off: it is incomplete and cannot be used; \
         take another backup, or name another directory"
    )]
    CutOff { path: PathBuf, file: String },
    /// A journal beside a backup that cannot be shown to continue it without a gap.
    #[error(
        "{path} holds a backup, at position {applied}, and a journal, positions {first} to \
         {head}, that cannot be shown to hold all that came after: {why}; bring the files \
         journal-… and the node file that the log's server left, or move the files journal-… \
         away: then a new log begins after the backup"
    )]
    NotProven { path: PathBuf, applied: Position, first: Position, head: Position, why: String },
    /// Journal and archive are of different logs.
    #[error(
        "{path}: the journal is of log {journal} and ends at position {head}, archive.db is of log \
         {archive} and at position {applied}: they do not belong together; bring the matching \
         file back"
    )]
    LogsDiffer {
        path: PathBuf,
        journal: String,
        head: Position,
        archive: String,
        applied: Position,
    },
    /// A single node's directory, opened for a node of a cluster.
    #[error(
        "{path} holds a journal, the log of a single node, and --journal names the journal of a \
         cluster: serve it without --journal, or name another directory with --data for this node \
         of the cluster"
    )]
    HasJournal { path: PathBuf },
    /// An earlier process froze it.
    #[error("{path} is frozen: {why}")]
    Frozen { path: PathBuf, why: String },
    /// The archive of a cluster's node is of another log than the journal.
    #[error(
        "{path}: archive.db is of log {archive}, and the journal is of log {journal}: name the \
         journal that it belongs to, or another directory with --data"
    )]
    OtherLog { path: PathBuf, archive: String, journal: String },
    /// The SQLite library has a known bug that loses commits.
    #[error("SQLite {0} can lose commits; 3.51.3 or newer is needed")]
    SqliteTooOld(String),
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The archive could not be opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl OpenError {
    /// What makes an error of the operating system one of this directory.
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |error| Self::Io { path: path.into(), error }
    }

    pub(crate) fn manifest(path: &Path, why: impl Into<String>) -> Self {
        Self::Manifest { path: path.into(), why: why.into() }
    }

    pub(crate) fn no_archive(path: &Path) -> Self {
        Self::manifest(path, "there is no archive.db beside it")
    }
}

pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free disk space in its file system, then start again: nothing is lost"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; there is a file at this path, or a link that leads nowhere: name a directory"
        }
        io::ErrorKind::PermissionDenied => {
            "; the user that runs the server must own it (chown -R), or name another directory with \
             --data"
        }
        io::ErrorKind::ResourceBusy => {
            "; it is a mount point, which cannot be replaced: name a new directory below it"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; its file system is mounted read-only: name another directory with --data"
        }
        _ => "",
    }
}

/// Whether the file system is full. The transaction leaves nothing behind once it is rolled back.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    let busy = [Some(ErrorCode::DatabaseBusy), Some(ErrorCode::DatabaseLocked)];
    busy.contains(&error.sqlite_error_code())
}

/// Whether there was no space for the index of the WAL. The commit may be in the WAL.
pub(crate) fn is_index_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().map(|error| error.extended_code) == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// The error of SQLite and what to do about it; an error of the disk names the call that failed.
pub(crate) fn sentence(error: &rusqlite::Error) -> String {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "free disk space in its file system; nothing is lost",
        _ if is_index_full(error) => "free disk space in its file system, then start again",
        Some(ErrorCode::SystemIoFailure) => {
            let call = ffi::code_to_str(code);
            return format!(
                "{error} ({call}); look at the disk, then start again: what was acked is there"
            );
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "it is damaged; restore a backup of the whole directory"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check the permissions of the directory and of the files in it, and the free disk space \
             in its file system"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {remedy}")
}

/// A file, or a setting, that cannot be used.
pub(crate) fn refused(why: String) -> rusqlite::Error {
    let code = ffi::Error::new(ffi::SQLITE_ERROR);
    rusqlite::Error::SqliteFailure(code, Some(why))
}

/// An error of the system as one of SQLite, which [`sentence`] gives the same remedies.
pub(crate) fn of_system(error: &io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ffi::SQLITE_FULL,
        io::ErrorKind::InvalidInput => ffi::SQLITE_ERROR,
        _ => ffi::SQLITE_CANTOPEN,
    };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(error.to_string()))
}

/// Refuses a file of another format than the known one.
pub(crate) fn check_format(found: i64, known: i64) -> Result<(), String> {
    if found == known {
        return Ok(());
    }
    let remedy = if found < known {
        "an older version wrote it, from before the first release: serve it with that version, \
         `roomlog export` its rooms, and `roomlog import` them into a new directory"
    } else {
        "a newer version wrote it: serve it with that version"
    };
    Err(format!("format {found} is not known to this version, which writes {known}; {remedy}"))
}
