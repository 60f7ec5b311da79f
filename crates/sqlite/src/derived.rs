//! The directory of a cluster's node: an archive that can be rebuilt, and the node's identity.
//!
//! Invariants: one process at a time; an archive of another log, and a directory with a journal of
//! its own, are refused unchanged; a backup of another node of the same log is taken as it is.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use roomlog_core::{Identity, archive::ArchiveError, journal::Position};

use crate::{
    archive::{self, SqliteArchive},
    backup::SqliteBackup,
    directory::lock,
    error::OpenError,
    files::{ARCHIVE, COPY, has_journal, remove_database},
    guard,
    pragma::Durability,
    private, restore, small_files,
    start::{self, Contents},
    wal,
};

/// The archive of such a directory, and the lock that excludes other processes.
pub struct Derived {
    /// The node, and its incarnation in this start.
    pub identity: Identity,
    /// The archive.
    pub archive: Arc<SqliteArchive>,
    /// What the directory held.
    pub found: Contents,
    path: PathBuf,
    _lock: File,
}

impl Derived {
    /// Refuses a directory that no node of a cluster may use.
    ///
    /// # Errors
    /// [`OpenError::Frozen`], [`OpenError::HasJournal`], or [`OpenError::Io`].
    pub fn check_usable(path: &Path) -> Result<(), OpenError> {
        small_files::check_not_frozen(path)?;
        if has_journal(path) {
            return Err(OpenError::HasJournal { path: path.into() });
        }
        Ok(())
    }

    /// Opens a directory for a log, and creates it if it is missing.
    ///
    /// # Errors
    /// [`OpenError`] gives the reason and a remedy.
    pub fn open(path: &Path, log: &str) -> Result<Self, OpenError> {
        let io = OpenError::io(path);
        private::create_dir_all(path).map_err(io)?;
        guard::check_files(path).map_err(io)?;
        let lock = lock(path, true)?;
        small_files::read_node(path).map_err(io)?;
        let found = look(path, log)?;
        guard::tighten(path).map_err(io)?;
        if let Contents::Backup(manifest) = &found {
            restore::adopt(path, manifest)?;
        }
        remove_database(path, COPY).map_err(io)?;
        let archive = Arc::new(SqliteArchive::open(&path.join(ARCHIVE), log)?);
        let identity = small_files::begin_incarnation(path).map_err(io)?;
        Ok(Self { identity, archive, found, path: path.into(), _lock: lock })
    }

    /// Freezes the directory: every later start is refused with this reason.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub fn freeze(&self, why: &str) -> io::Result<()> {
        small_files::freeze(&self.path, why)
    }

    /// Makes this the directory of a single node: adds an empty journal of the same log, which
    /// continues after a position that the archive has reached. The next start may serve it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn become_one_node(&self, log: &str, position: Position) -> Result<(), OpenError> {
        restore::put_journal(&self.path, log, position.0, None)
    }

    /// Backups of this directory while it is served, one at a time.
    #[must_use]
    pub fn backup(&self) -> SqliteBackup {
        SqliteBackup::new(self.path.clone(), None, self.archive.clone())
    }
}

fn look(path: &Path, log: &str) -> Result<Contents, OpenError> {
    Derived::check_usable(path)?;
    start::not_only_a_wal(path, ARCHIVE)?;
    let file = path.join(ARCHIVE);
    let manifest = start::manifest(path)?;
    start::not_cut_off(path, manifest.as_ref())?;
    wal::scan(&file, Durability::Normal).map_err(|why| ArchiveError::Failed(why.to_string()))?;
    match (archive::inspect(&file)?, manifest) {
        (None, None) => Ok(Contents::Empty),
        (None, Some(_)) => Err(OpenError::no_archive(path)),
        (Some(archive), _) if archive.log != log => Err(OpenError::OtherLog {
            path: path.into(),
            archive: archive.log,
            journal: log.into(),
        }),
        (Some(_), None) => Ok(Contents::Log),
        (Some(_), Some(manifest)) => Ok(Contents::Backup(manifest)),
    }
}
