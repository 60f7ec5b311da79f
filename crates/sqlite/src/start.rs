//! The start-up table: what the files of a directory say together, and what follows from it.
//!
//! ```text
//!  journal   archive   manifest
//!  –         –         –          a new log
//!  yes       yes       –          serve, when log and positions fit: first − 1 ≤ applied ≤ head
//!  yes       –         –          rebuild the archive, when nothing was trimmed
//!  –         yes       –          refused
//!  –         yes       yes        a backup: restore it, as a new log
//!  yes       yes       yes        a restore that was cut off: finish it; or the backup's own journal: the
//!                                 same log, when nothing is missing
//!  …         –         yes        refused
//! ```
//!
//! Enters: facts that were read without a change. Leaves: what to do, or a refusal with the positions and
//! the way out. Invariant: nothing is repaired by guessing.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use roomlog_core::{
    archive::ArchiveError,
    journal::{JournalError, Position},
};
use roomlog_protocol::{MANIFEST_FILE, Manifest, PART};

use crate::{
    directory::{ARCHIVE, COPY, JOURNAL, LOCK, OpenError},
    frozen::FROZEN,
    node_file,
    peek::{self, ArchiveFacts, JournalFacts},
    pragma::Sync,
    restore::{NEW_JOURNAL, RESTORED},
    wal,
};

/// What a directory was found to be, for those who say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Nothing was there: a new log.
    New,
    /// As the last process left it.
    Whole,
    /// The archive was missing and is made again from a journal that was never trimmed.
    Rebuilt,
    /// A backup: a new log goes on behind it.
    Restored(Manifest),
    /// A backup, and beside it the journal of its log with all that came after: the same log goes on.
    Continued(Manifest),
}

/// What a stopped directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// No log.
    Nothing,
    /// A log, as it is served.
    Log,
    /// A backup that is what its manifest says, byte by byte; a journal beside it holds what came after.
    Backup {
        /// The manifest.
        manifest: Manifest,
        /// Whether a journal stands beside it.
        journal: bool,
    },
    /// A restore that was cut off: the next start finishes it.
    Unfinished,
}

/// What is to be done with a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Serve it.
    Serve(Opened),
    /// Restore a backup, or finish that.
    Restore(Manifest),
    /// Serve a backup with its own journal, once it is shown that this has no hole.
    Continue(Manifest, JournalFacts),
}

/// Reads the facts of a directory and judges them; changes nothing.
pub(crate) fn look(path: &Path) -> Result<Found, OpenError> {
    let manifest = manifest(path)?;
    for file in [JOURNAL, ARCHIVE] {
        let whole = path.join(file);
        if !whole.exists() && peek::has_wal(&whole) {
            return Err(OpenError::WalAlone { path: path.into(), file });
        }
    }
    not_cut_off(path, manifest.as_ref())?;
    wal::scan(&path.join(JOURNAL), Sync::Full).map_err(|why| JournalError(why.to_string()))?;
    wal::scan(&path.join(ARCHIVE), Sync::Normal)
        .map_err(|why| ArchiveError::Failed(why.to_string()))?;
    let journal = peek::journal(&path.join(JOURNAL))?;
    let archive = peek::archive(&path.join(ARCHIVE))?;
    let files = Files { path };
    match manifest {
        None => files.without_manifest(journal, archive).map(Found::Serve),
        Some(manifest) => files.with_manifest(journal, archive, manifest),
    }
}

/// Refuses what is left of a backup that was not finished.
pub(crate) fn not_cut_off(path: &Path, manifest: Option<&Manifest>) -> Result<(), OpenError> {
    for file in [MANIFEST_FILE, ARCHIVE].map(|file| format!("{file}{PART}")) {
        if manifest.is_none() && !path.join(JOURNAL).exists() && path.join(&file).exists() {
            return Err(OpenError::CutOff { path: path.into(), file });
        }
    }
    Ok(())
}

/// Refuses a directory that has something in it, and nothing that Roomlog wrote: it was named by mistake.
/// Hidden files and `lost+found`, which file systems and tools put into empty directories, do not count.
pub(crate) fn check_ours(path: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    let mut other = None;
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if is_ours(&name) {
            return Ok(());
        }
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "lost+found" && name != LOCK {
            other = Some(name);
        }
    }
    match other {
        Some(file) => Err(OpenError::NotOurs { path: path.into(), file }),
        None => Ok(()),
    }
}

/// Whether Roomlog writes a file of this name into a data directory. The lock says nothing: other
/// programs have one too.
pub(crate) fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // Small files are written under this name and renamed.
    let whole = name.strip_suffix(".new").unwrap_or(&name);
    [JOURNAL, ARCHIVE, MANIFEST_FILE].iter().any(|ours| name.starts_with(ours))
        || [NEW_JOURNAL, COPY, RESTORED].contains(&&*name)
        || [node_file::FILE, FROZEN].contains(&whole)
}

/// The manifest of a directory, where there is one.
pub(crate) fn manifest(path: &Path) -> Result<Option<Manifest>, OpenError> {
    match fs::read_to_string(path.join(MANIFEST_FILE)) {
        Ok(text) => Manifest::from_json(&text)
            .map(Some)
            .map_err(|why| OpenError::Manifest { path: path.into(), why }),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Io { path: path.into(), error }),
    }
}

struct Files<'a> {
    path: &'a Path,
}

impl Files<'_> {
    fn path(&self) -> PathBuf {
        self.path.into()
    }

    fn without_manifest(
        &self,
        journal: Option<JournalFacts>,
        archive: Option<ArchiveFacts>,
    ) -> Result<Opened, OpenError> {
        match (journal, archive) {
            (None, None) => Ok(Opened::New),
            (Some(journal), None) if journal.first == Position(1) => Ok(Opened::Rebuilt),
            (Some(JournalFacts { first, head, .. }), None) => {
                Err(OpenError::ArchiveMissing { path: self.path(), first, head })
            }
            (None, Some(archive)) => {
                Err(OpenError::JournalMissing { path: self.path(), applied: archive.applied })
            }
            (Some(journal), Some(archive)) => self.fit(&journal, &archive).map(|()| Opened::Whole),
        }
    }

    /// Whether journal and archive are of one log and leave no hole between them.
    fn fit(&self, journal: &JournalFacts, archive: &ArchiveFacts) -> Result<(), OpenError> {
        let (path, applied) = (self.path(), archive.applied);
        let &JournalFacts { first, head, .. } = journal;
        if journal.log != archive.log {
            return Err(OpenError::LogsDiffer {
                path,
                journal: journal.log.clone(),
                head,
                archive: archive.log.clone(),
                applied,
            });
        }
        if applied > head {
            return Err(OpenError::JournalBehind { path, applied, head });
        }
        if applied.0 + 1 < first.0 {
            return Err(OpenError::ArchiveBehind { path, applied, first });
        }
        Ok(())
    }

    fn with_manifest(
        &self,
        journal: Option<JournalFacts>,
        archive: Option<ArchiveFacts>,
        manifest: Manifest,
    ) -> Result<Found, OpenError> {
        let differs = |why: String| OpenError::Manifest { path: self.path(), why };
        let archive = archive.ok_or_else(|| differs("there is no archive.db beside it".into()))?;
        let ArchiveFacts { log, applied } = &archive;
        if applied.0 != manifest.position {
            return Err(differs(format!(
                "it says position {}, and archive.db is at position {applied}",
                manifest.position
            )));
        }
        let begun = journal.as_ref().is_some_and(|journal| {
            journal.continues == Some((manifest.log.clone(), Position(manifest.position)))
                && journal.head.0 == manifest.position
                && (*log == journal.log || *log == manifest.log)
        });
        if begun {
            return Ok(Found::Restore(manifest));
        }
        if *log != manifest.log {
            return Err(differs(format!(
                "it is of log {}, and archive.db of log {log}",
                manifest.log
            )));
        }
        if peek::has_wal(&self.path.join(ARCHIVE)) {
            return Err(differs(
                "archive.db-wal is there, which is of another archive.db: a backup has none; move \
                 archive.db-wal and archive.db-shm away"
                    .into(),
            ));
        }
        let Some(journal) = journal else { return Ok(Found::Restore(manifest)) };
        match self.fit(&journal, &archive) {
            Ok(()) => Ok(Found::Continue(manifest, journal)),
            Err(why) => Err(OpenError::NotProven {
                path: self.path(),
                applied: archive.applied,
                first: journal.first,
                head: journal.head,
                why: why.to_string(),
            }),
        }
    }
}
