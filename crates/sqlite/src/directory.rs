//! The data directory: two files, one unit, one process.
//!
//! Enters: a path. Leaves: the engines, opened together, and the lock on them. Invariants: one process
//! at a time; journal and archive carry the same log's id; a directory that is not whole is refused
//! and nothing in it is changed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use roomlog_core::{Identity, archive::ArchiveError, journal::JournalError};
use thiserror::Error;

use crate::{SqliteArchive, SqliteJournal, node_file, pragma};

/// Why a directory was not opened. Nothing was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process serves it.
    #[error(
        "{0} is in use: another process holds its lock; stop that process, or give this one \
         another directory with --data"
    )]
    Locked(PathBuf),
    /// The operating system refused.
    #[error("cannot use the data directory {path}: {error}{}", way_out(error))]
    Io {
        /// The directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The archive is there and the journal is not.
    #[error(
        "{0} holds archive.db but no journal.db: part of it was moved or lost; bring journal.db \
         back, or restore a backup of the whole directory"
    )]
    JournalMissing(PathBuf),
    /// The files are of different logs.
    #[error(
        "{path}: journal.db is of log {journal} and archive.db of log {archive}: they do not \
         belong together; bring the matching file back"
    )]
    LogsDiffer {
        /// The directory.
        path: PathBuf,
        /// The journal's log.
        journal: String,
        /// The archive's log.
        archive: String,
    },
    /// The SQLite library is too old to be trusted with commits.
    #[error("SQLite {0} can lose commits; 3.51.3 or newer is needed")]
    SqliteTooOld(String),
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The archive could not be opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room in its file system, then start again: nothing is lost"
        }
        _ => "",
    }
}

/// The engines of a directory, and the lock that keeps others out while they are held.
pub struct Directory {
    /// Who this node is in this start.
    pub identity: Identity,
    /// The journal.
    pub journal: Arc<SqliteJournal>,
    /// The archive.
    pub archive: Arc<SqliteArchive>,
    _lock: File,
}

/// How long a lock is waited for: a process that was just killed holds it until the system has taken
/// it apart.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often it is tried; files have no way to be told.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) const JOURNAL: &str = "journal.db";
pub(crate) const ARCHIVE: &str = "archive.db";

impl Directory {
    /// Opens a directory, making it and a new log when it is not there.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if rusqlite::version_number() < pragma::LEAST_SQLITE {
            return Err(OpenError::SqliteTooOld(rusqlite::version().into()));
        }
        let io = |error| OpenError::Io { path: path.into(), error };
        fs::create_dir_all(path).map_err(io)?;
        let lock = lock(path, true)?;
        let (journal, archive) = (path.join(JOURNAL), path.join(ARCHIVE));
        let has_journal = journal.try_exists().map_err(io)?;
        let has_archive = archive.try_exists().map_err(io)?;
        if has_archive && !has_journal {
            return Err(OpenError::JournalMissing(path.into()));
        }
        let journal = SqliteJournal::open(&journal)?;
        let log = roomlog_core::journal::Journal::log(&journal).to_owned();
        let archive = SqliteArchive::open(&archive, &log)?;
        if archive.log() != log {
            return Err(OpenError::LogsDiffer {
                path: path.into(),
                journal: log,
                archive: archive.log().into(),
            });
        }
        let identity = node_file::begin_incarnation(path).map_err(io)?;
        Ok(Self { identity, journal: Arc::new(journal), archive: Arc::new(archive), _lock: lock })
    }
}

/// The files of a directory that hold the log, for those who copy it: with their WALs, where a process
/// was killed.
pub const FILES: [&str; 4] = ["journal.db", "journal.db-wal", "archive.db", "archive.db-wal"];

impl Directory {
    /// Keeps servers out of a stopped server's directory as long as the result is held; writes nothing.
    ///
    /// # Errors
    /// When it is no data directory, or a process serves it.
    pub fn lock_stopped(path: &Path) -> Result<File, OpenError> {
        lock(path, false)
    }
}

/// Takes the lock of a directory; without `create`, of one that a server has made.
pub(crate) fn lock(path: &Path, create: bool) -> Result<File, OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    let mut options = OpenOptions::new();
    options.read(true).write(create).create(create);
    let file = options.open(path.join("lock")).map_err(io)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_AGAIN);
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(path.into())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}
