//! The directory of a node whose journal is elsewhere: an archive that can be made again, and who the
//! node is.
//!
//! Enters: a path and the name of the journal's log. Leaves: the archive, and the lock on it. Invariants:
//! one process at a time; an archive of another log, and a directory that holds a log of its own, are
//! refused and nothing in them is changed; a backup of another node of the same log is taken as it is.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use roomlog_core::{Identity, archive::ArchiveError, journal::Position};

use crate::{
    SqliteArchive, SqliteBackup,
    directory::{ARCHIVE, COPY, JOURNAL, OpenError, lock},
    frozen, node_file, peek,
    pragma::Sync,
    restore,
    start::{self, Opened},
    wal,
};

/// The archive of such a directory, and the lock that keeps others out while it is held.
pub struct Derived {
    /// Who this node is in this start.
    pub identity: Identity,
    /// The archive.
    pub archive: Arc<SqliteArchive>,
    /// What the directory was found to be.
    pub opened: Opened,
    path: PathBuf,
    _lock: File,
}

impl Derived {
    /// Refuses a directory that no node of a cluster may use; before anything is made elsewhere for it.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn may_be_used(path: &Path) -> Result<(), OpenError> {
        frozen::check(path)?;
        if path.join(JOURNAL).exists() {
            return Err(OpenError::HasJournal { path: path.into() });
        }
        Ok(())
    }

    /// Opens a directory for a log, making it when it is not there.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn open(path: &Path, log: &str) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { path: path.into(), error };
        fs::create_dir_all(path).map_err(io)?;
        let lock = lock(path, true)?;
        node_file::read(path).map_err(io)?;
        let opened = look(path, log)?;
        if let Opened::Continued(manifest) = &opened {
            restore::adopt(path, manifest)?;
        }
        restore::sweep(path, COPY).map_err(io)?;
        let archive = Arc::new(SqliteArchive::open(&path.join(ARCHIVE), log)?);
        let identity = node_file::begin_incarnation(path).map_err(io)?;
        Ok(Self { identity, archive, opened, path: path.into(), _lock: lock })
    }

    /// Lets no start go on with this archive, and says why to who tries.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn freeze(&self, why: &str) -> io::Result<()> {
        frozen::freeze(&self.path, why)
    }

    /// Makes this the directory of a log of one node: an empty journal that goes on behind a position, which
    /// the archive must have come to, of the same log. The next start may serve it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn become_one_node(&self, log: &str, position: Position) -> Result<(), OpenError> {
        restore::begin_same_journal(&self.path, log, position)
    }

    /// What makes backups of this directory while it is served. One at a time.
    #[must_use]
    pub fn backup(&self) -> SqliteBackup {
        SqliteBackup::of_derived(self.path.clone(), self.archive.clone())
    }
}

fn look(path: &Path, log: &str) -> Result<Opened, OpenError> {
    Derived::may_be_used(path)?;
    let file = path.join(ARCHIVE);
    if !file.exists() && peek::has_wal(&file) {
        return Err(OpenError::WalAlone { path: path.into(), file: ARCHIVE });
    }
    let manifest = start::manifest(path)?;
    start::not_cut_off(path, manifest.as_ref())?;
    wal::scan(&file, Sync::Normal).map_err(|why| ArchiveError::Failed(why.to_string()))?;
    match (peek::archive(&file)?, manifest) {
        (None, None) => Ok(Opened::New),
        (None, Some(_)) => Err(OpenError::Manifest {
            path: path.into(),
            why: "there is no archive.db beside it".into(),
        }),
        (Some(archive), _) if archive.log != log => Err(OpenError::OtherLog {
            path: path.into(),
            archive: archive.log,
            journal: log.into(),
        }),
        (Some(_), None) => Ok(Opened::Whole),
        (Some(_), Some(manifest)) => Ok(Opened::Continued(manifest)),
    }
}
