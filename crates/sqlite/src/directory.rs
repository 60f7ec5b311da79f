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

use roomlog_core::{
    Identity,
    archive::ArchiveError,
    journal::{Journal, JournalError, Position},
};
use thiserror::Error;

use crate::{
    JOURNAL_BYTES, SqliteArchive, SqliteJournal, frozen, node_file, pragma, restore,
    start::{self, Found, Holds, Opened},
};

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
    /// Something else is in the directory, and nothing of ours.
    #[error(
        "{path} is not empty and holds no log: {file} in it is not Roomlog's; name an empty directory or a \
         new one with --data, such as {}",
        path.join("roomlog-data").display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of the names in it.
        file: String,
    },
    /// A directory was to be restored that is no backup.
    #[error(
        "{path} is no backup: a backup holds archive.db and manifest.json, as `roomlog backup` wrote them, \
         and no journal.db"
    )]
    NoBackup {
        /// The directory.
        path: PathBuf,
    },
    /// A backup was to be restored into a directory that holds something.
    #[error("{path} is not empty; name an empty directory or a new one")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The archive is there and the journal is not.
    #[error(
        "{path} holds archive.db, at position {applied}, but no journal.db, and no manifest.json that \
         would make it a backup: part of it was moved or lost; bring journal.db back, with its -wal, or \
         restore a backup; a node of a cluster is started with --journal"
    )]
    JournalMissing {
        /// The directory.
        path: PathBuf,
        /// What the archive has taken in.
        applied: Position,
    },
    /// The journal was trimmed and the archive is not there.
    #[error(
        "{path} holds journal.db, positions {first} to {head}, but no archive.db, and what stood before \
         {first} was in the archive alone; bring archive.db back, with its -wal, or put archive.db and \
         manifest.json of a backup beside journal.db"
    )]
    ArchiveMissing {
        /// The directory.
        path: PathBuf,
        /// The journal's oldest block.
        first: Position,
        /// Where the journal ends.
        head: Position,
    },
    /// The journal ends before what the archive has taken in.
    #[error(
        "{path}: archive.db is at position {applied} and journal.db ends at {head}: the journal is an \
         older copy or lost blocks; bring the matching journal.db back, with its -wal. What is only in \
         the archive is not in this journal"
    )]
    JournalBehind {
        /// The directory.
        path: PathBuf,
        /// What the archive has taken in.
        applied: Position,
        /// Where the journal ends.
        head: Position,
    },
    /// The journal was trimmed beyond what the archive has taken in.
    #[error(
        "{path}: archive.db is at position {applied} and journal.db begins at {first}: the archive is an \
         older copy, and what stood between was in the newer one alone; bring the matching archive.db \
         back, with its -wal"
    )]
    ArchiveBehind {
        /// The directory.
        path: PathBuf,
        /// What the archive has taken in.
        applied: Position,
        /// The journal's oldest block.
        first: Position,
    },
    /// A WAL without its file: what it holds may be nowhere else.
    #[error(
        "{path} holds {file}-wal but no {file}: bring {file} back, as what was written last may be in its \
         -wal alone; or, where it is not wanted, move {file}-wal and {file}-shm away too"
    )]
    WalAlone {
        /// The directory.
        path: PathBuf,
        /// The file that is missing.
        file: &'static str,
    },
    /// The manifest is none, or of another archive.
    #[error(
        "{path}: manifest.json does not describe this directory: {why}; copy the backup again, whole; \
         where this is no backup, move manifest.json away"
    )]
    Manifest {
        /// The directory.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// A backup was cut off while it was written.
    #[error(
        "{path} holds {file}, of a backup that was cut off: it is not whole, and nothing can be made of it; \
         take another backup, or name another directory"
    )]
    CutOff {
        /// The directory.
        path: PathBuf,
        /// What was not finished.
        file: String,
    },
    /// A journal stands beside a backup, and is not its log's whole rest.
    #[error(
        "{path} holds a backup, at position {applied}, and a journal.db, positions {first} to {head}, that \
         cannot be shown to hold all that came after: {why}; \
         bring the journal.db and the node file that the log's server left, or move journal.db, its -wal \
         and -shm away: then a new log begins behind the backup"
    )]
    NotProven {
        /// The directory.
        path: PathBuf,
        /// What the backup holds.
        applied: Position,
        /// The journal's oldest block.
        first: Position,
        /// Where the journal ends.
        head: Position,
        /// What is missing.
        why: String,
    },
    /// The files are of different logs.
    #[error(
        "{path}: journal.db is of log {journal} and ends at position {head}, archive.db is of log {archive} \
         and at position {applied}: they do not belong together; bring the matching file back"
    )]
    LogsDiffer {
        /// The directory.
        path: PathBuf,
        /// The journal's log.
        journal: String,
        /// Where the journal ends.
        head: Position,
        /// The archive's log.
        archive: String,
        /// What the archive has taken in.
        applied: Position,
    },
    /// The directory holds a log of one node, and the journal was to be elsewhere.
    #[error(
        "{path} holds journal.db, the log of a single node, and --journal names the journal of a cluster: serve it without --journal, or name another directory with --data for this node of the cluster"
    )]
    HasJournal {
        /// The directory.
        path: PathBuf,
    },
    /// A process that held it let no other go on with it.
    #[error("{path} is frozen: {why}")]
    Frozen {
        /// The directory.
        path: PathBuf,
        /// What the node said.
        why: String,
    },
    /// The archive is of another log than the journal.
    #[error(
        "{path}: archive.db is of log {archive}, and the journal is of log {journal}: name the journal that it belongs to, or another directory with --data"
    )]
    OtherLog {
        /// The directory.
        path: PathBuf,
        /// The archive's log.
        archive: String,
        /// The journal's log.
        journal: String,
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
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; there is a file at this path, or a link that leads nowhere: name a directory"
        }
        io::ErrorKind::PermissionDenied => {
            "; give the user that runs the server the right to read and write it, or name another directory \
             with --data"
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

/// The engines of a directory, and the lock that keeps others out while they are held.
pub struct Directory {
    /// Who this node is in this start.
    pub identity: Identity,
    /// The journal.
    pub journal: Arc<SqliteJournal>,
    /// The archive.
    pub archive: Arc<SqliteArchive>,
    /// What it was found to be.
    pub opened: Opened,
    path: PathBuf,
    _lock: File,
}

/// How long a lock is waited for: a process that was just killed holds it until the system has taken
/// it apart.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often it is tried; files have no way to be told.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) const JOURNAL: &str = "journal.db";
pub(crate) const ARCHIVE: &str = "archive.db";

/// Locked while a process uses the directory.
pub(crate) const LOCK: &str = "lock";

/// The copy of the archive while a backup is made.
pub(crate) const COPY: &str = "backup.tmp";

impl Directory {
    /// Opens a directory, making it and a new log when it is not there.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_keeping(path, JOURNAL_BYTES)
    }

    /// As [`Directory::open`]; of what may be trimmed, blocks go while `journal.db` uses more than this
    /// many bytes.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub fn open_keeping(path: &Path, journal_bytes: u64) -> Result<Self, OpenError> {
        Self::open_unless(path, journal_bytes, frozen::check)
    }

    /// As [`Directory::open`], also when it is frozen: a move that was cut off at its end goes on.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub fn open_to_move(path: &Path) -> Result<Self, OpenError> {
        Self::open_unless(path, JOURNAL_BYTES, |_| Ok(()))
    }

    fn open_unless(
        path: &Path,
        journal_bytes: u64,
        refuse: fn(&Path) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        if rusqlite::version_number() < pragma::LEAST_SQLITE {
            return Err(OpenError::SqliteTooOld(rusqlite::version().into()));
        }
        let io = |error| OpenError::Io { path: path.into(), error };
        fs::create_dir_all(path).map_err(io)?;
        start::check_ours(path)?;
        let lock = lock(path, true)?;
        node_file::read(path).map_err(io)?;
        refuse(path)?;
        Self::open_locked(path, journal_bytes, lock)
    }

    /// As [`Directory::open`], of a directory whose lock the caller holds.
    pub(crate) fn open_held(path: &Path, lock: File) -> Result<Self, OpenError> {
        Self::open_locked(path, JOURNAL_BYTES, lock)
    }

    fn open_locked(path: &Path, journal_bytes: u64, lock: File) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { path: path.into(), error };
        // All that may refuse the files as they stand comes first, and changes nothing.
        let opened = match start::look(path)? {
            Found::Serve(opened) => opened,
            Found::Restore(manifest) => {
                restore::restore(path, &manifest)?;
                Opened::Restored(manifest)
            }
            Found::Continue(manifest, journal) => {
                restore::go_on(path, &manifest, &journal)?;
                Opened::Continued(manifest)
            }
        };
        for left_by_a_crash in [restore::NEW_JOURNAL, COPY] {
            restore::sweep(path, left_by_a_crash).map_err(io)?;
        }
        let journal = SqliteJournal::open_keeping(&path.join(JOURNAL), journal_bytes)?;
        let archive = SqliteArchive::open(&path.join(ARCHIVE), &journal.facts().log)?;
        let identity = node_file::begin_incarnation(path).map_err(io)?;
        let (journal, archive) = (Arc::new(journal), Arc::new(archive));
        Ok(Self { identity, journal, archive, opened, path: path.into(), _lock: lock })
    }
}

impl Directory {
    /// Lets no start go on with this directory, and says why to who tries.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn freeze(&self, why: &str) -> io::Result<()> {
        frozen::freeze(&self.path, why)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The files of a directory that hold the log, for those who copy it: with their WALs, where a process
/// was killed; and those that say what it is.
pub const FILES: [&str; 6] =
    ["journal.db", "journal.db-wal", "archive.db", "archive.db-wal", "node", "manifest.json"];

impl Directory {
    /// Keeps servers out of a stopped server's directory as long as the result is held; writes nothing.
    /// There is nothing to hold in a backup, which was never served.
    ///
    /// # Errors
    /// When it is no data directory, or a process serves it.
    pub fn lock_stopped(path: &Path) -> Result<Option<File>, OpenError> {
        if !path.join(LOCK).exists() && start::manifest(path)?.is_some() {
            return Ok(None);
        }
        lock(path, false).map(Some)
    }

    /// What a stopped directory holds; changes nothing, and refuses what a start would refuse.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn look(path: &Path) -> Result<Holds, OpenError> {
        match start::look(path)? {
            Found::Serve(Opened::New) => Ok(Holds::Nothing),
            Found::Serve(_) => Ok(Holds::Log),
            Found::Restore(_) if path.join(JOURNAL).exists() => Ok(Holds::Unfinished),
            Found::Restore(manifest) => {
                restore::compare(path, &manifest)?;
                Ok(Holds::Backup { manifest, journal: false })
            }
            Found::Continue(manifest, journal) => {
                restore::compare(path, &manifest)?;
                restore::has_no_hole(path, &manifest, &journal)?;
                Ok(Holds::Backup { manifest, journal: true })
            }
        }
    }
}

/// Takes the lock of a directory; without `create`, of one that a server has made.
pub(crate) fn lock(path: &Path, create: bool) -> Result<File, OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    let mut options = OpenOptions::new();
    options.read(true).write(create).create(create);
    let file = options.open(path.join(LOCK)).map_err(io)?;
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
