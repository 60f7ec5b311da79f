//! The data directory: its files as one unit, used by one process.
//!
//! Enters: a path. Leaves: journal and archive, and the lock on them. Invariants: one process at a
//! time; both carry the same log's id; an incomplete directory is refused unchanged.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use roomlog_core::{Identity, journal::Journal};

pub use crate::files::{file_sizes, log_files};
use crate::{
    archive::SqliteArchive,
    backup::SqliteBackup,
    error::OpenError,
    files::{ARCHIVE, COPY, LOCK, NEW_JOURNAL, NODE, remove_database},
    guard,
    journal::{JOURNAL_BYTES, SegmentJournal},
    pragma,
    private::{self, if_exists},
    restore, small_files,
    start::{self, Contents},
};

/// How long to wait for the lock: the system takes a while to clean up after a killed process.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often the lock is tried; a file lock cannot be awaited with a timeout.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// The engines of a directory, and the lock that excludes other processes.
pub struct Directory {
    /// The node, and its incarnation in this start.
    pub identity: Identity,
    /// The journal.
    pub journal: Arc<SegmentJournal>,
    /// The archive.
    pub archive: Arc<SqliteArchive>,
    /// What the directory held.
    pub found: Contents,
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Opens a directory; if it is missing, creates it with a new log.
    ///
    /// # Errors
    /// [`OpenError`] gives the reason and a remedy.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_keeping(path, JOURNAL_BYTES)
    }

    /// As [`Directory::open`]; blocks that may be trimmed are trimmed while the journal takes
    /// more than `journal_bytes` bytes.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub fn open_keeping(path: &Path, journal_bytes: u64) -> Result<Self, OpenError> {
        let lock = Self::lock_to_open(path)?;
        small_files::check_not_frozen(path)?;
        Self::open_locked(path, journal_bytes, lock)
    }

    /// As [`Directory::open`], also if it is frozen: for a move that was interrupted at its end.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub fn open_to_move(path: &Path) -> Result<Self, OpenError> {
        let lock = Self::lock_to_open(path)?;
        Self::open_locked(path, JOURNAL_BYTES, lock)
    }

    fn lock_to_open(path: &Path) -> Result<File, OpenError> {
        if rusqlite::version_number() < pragma::LEAST_SQLITE {
            return Err(OpenError::SqliteTooOld(rusqlite::version().into()));
        }
        let io = OpenError::io(path);
        private::create_dir_all(path).map_err(io)?;
        start::check_ours(path)?;
        guard::check_files(path).map_err(io)?;
        let lock = lock(path, true)?;
        small_files::read_node(path).map_err(OpenError::io(&path.join(NODE)))?;
        Ok(lock)
    }

    /// As [`Directory::open_keeping`], of a directory that the caller has locked.
    pub(crate) fn open_locked(
        path: &Path,
        journal_bytes: u64,
        lock: File,
    ) -> Result<Self, OpenError> {
        let io = OpenError::io(path);
        // Everything that can refuse the directory comes first, and changes nothing.
        let found = Contents::of(path)?;
        guard::tighten(path).map_err(io)?;
        match &found {
            Contents::Empty | Contents::Log | Contents::JournalOnly => {}
            Contents::Backup(manifest) | Contents::PartlyRestored(manifest) => {
                restore::restore(path, manifest)?;
            }
            Contents::BackupWithJournal(manifest) => restore::put_manifest_away(path, manifest)?,
        }
        // Left by a crash.
        if_exists(fs::remove_file(path.join(NEW_JOURNAL))).map_err(io)?;
        remove_database(path, COPY).map_err(io)?;
        let journal = SegmentJournal::open_keeping(path, journal_bytes)?;
        let archive = SqliteArchive::open(&path.join(ARCHIVE), &journal.facts().log)?;
        let identity = small_files::begin_incarnation(path).map_err(io)?;
        let (journal, archive) = (Arc::new(journal), Arc::new(archive));
        Ok(Self { identity, journal, archive, found, path: path.into(), _lock: lock })
    }

    /// Freezes the directory: every later start is refused with this reason.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub fn freeze(&self, why: &str) -> io::Result<()> {
        small_files::freeze(&self.path, why)
    }

    /// Refuses a directory that is frozen, or holds files of others. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Frozen`] or [`OpenError::NotOurs`]; or it cannot be read.
    pub fn check_usable(path: &Path) -> Result<(), OpenError> {
        start::check_ours(path)?;
        small_files::check_not_frozen(path)
    }

    /// Backups of this directory while it is served, one at a time.
    #[must_use]
    pub fn backup(&self) -> SqliteBackup {
        let (journal, archive) = (self.journal.clone(), self.archive.clone());
        SqliteBackup::new(self.path.clone(), Some(journal), archive)
    }

    /// Locks a stopped server's directory as long as the result is held; `None` for a backup.
    /// Writes nothing.
    ///
    /// # Errors
    /// It is no data directory, a process serves it, or a link is in the place of a file.
    pub fn lock_stopped(path: &Path) -> Result<Option<File>, OpenError> {
        guard::check_files(path).map_err(OpenError::io(path))?;
        if !path.join(LOCK).exists() && start::manifest(path)?.is_some() {
            return Ok(None);
        }
        lock(path, false).map(Some)
    }
}

/// Takes the lock of a directory; without `create`, only if its file exists.
pub(crate) fn lock(path: &Path, create: bool) -> Result<File, OpenError> {
    let io = OpenError::io(path);
    let open = if create { private::open_or_create } else { private::open };
    let file = open(&path.join(LOCK)).map_err(io)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(path.into())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}
