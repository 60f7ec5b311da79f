//! The start-up table: which files a directory holds, and what follows.
//!
//! ```text
//!  journal   archive   manifest
//!  –         –         –          a new log
//!  yes       yes       –          serve, if log and positions match: first − 1 ≤ applied ≤ head
//!  yes       –         –          rebuild the archive, if nothing was trimmed
//!  –         yes       –          refuse
//!  –         yes       yes        a backup: restore it as a new log
//!  yes       yes       yes        an interrupted restore: finish it; or a backup with its own
//!                                 journal: the same log continues, if nothing is missing
//!  …         –         yes        refuse
//! ```
//!
//! Enters: the files, which are only read. Leaves: what to do, or a refusal with the positions and
//! a remedy. Invariant: nothing is repaired by guessing.

use std::{fs, path::Path};

use roomlog_core::{archive::ArchiveError, journal::Position};
use roomlog_protocol::{MANIFEST_FILE, Manifest, PART};

use crate::{
    archive::{self, ArchiveFile},
    error::OpenError,
    files::{ADMIN, ARCHIVE, LOCK, OLD_JOURNAL, has_journal, has_wal, is_ours, segments},
    journal::{self, JournalFile},
    pragma::Durability,
    private, restore, wal,
};

/// What a stopped directory holds, and so what a start makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// No log: a new one begins.
    Empty,
    /// A log, as the last process left it.
    Log,
    /// A journal that was never trimmed, without its archive, which is rebuilt from it.
    JournalOnly,
    /// A backup that matches its manifest, byte by byte; a new log continues it.
    Backup(Manifest),
    /// An interrupted restore of a backup, which the next start finishes.
    PartlyRestored(Manifest),
    /// Such a backup beside the complete journal of its log, which continues.
    BackupWithJournal(Manifest),
}

impl Contents {
    /// What a stopped directory holds; changes nothing, and refuses what a start would refuse.
    ///
    /// # Errors
    /// [`OpenError`] gives the reason and a remedy.
    pub fn of(path: &Path) -> Result<Self, OpenError> {
        let manifest = manifest(path)?;
        not_only_a_wal(path, ARCHIVE)?;
        // With segments, what is left of it was copied into them.
        if segments(path).map_err(OpenError::io(path))?.is_empty() {
            not_only_a_wal(path, OLD_JOURNAL)?;
        }
        not_cut_off(path, manifest.as_ref())?;
        if path.join(OLD_JOURNAL).exists() {
            journal::scan_wal(path)?;
        }
        wal::scan(&path.join(ARCHIVE), Durability::Normal)
            .map_err(|why| ArchiveError::Failed(why.to_string()))?;
        let journal = journal::inspect(path)?;
        let archive = archive::inspect(&path.join(ARCHIVE))?;
        match manifest {
            None => without_manifest(path, journal, archive),
            Some(manifest) => with_manifest(path, journal, archive, manifest),
        }
    }
}

pub(crate) fn not_only_a_wal(path: &Path, file: &'static str) -> Result<(), OpenError> {
    let database = path.join(file);
    if !database.exists() && has_wal(&database) {
        return Err(OpenError::WalAlone { path: path.into(), file });
    }
    Ok(())
}

/// Refuses what an interrupted backup left.
pub(crate) fn not_cut_off(path: &Path, manifest: Option<&Manifest>) -> Result<(), OpenError> {
    for file in [MANIFEST_FILE, ARCHIVE].map(|file| format!("{file}{PART}")) {
        if manifest.is_none() && !has_journal(path) && path.join(&file).exists() {
            return Err(OpenError::CutOff { path: path.into(), file });
        }
    }
    Ok(())
}

/// Refuses a directory with files of which none is Roomlog's: it was named by mistake. Hidden files
/// and `lost+found`, which file systems and tools create in empty directories, do not count.
pub(crate) fn check_ours(path: &Path) -> Result<(), OpenError> {
    let io = OpenError::io(path);
    let mut other = None;
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if is_ours(&name) {
            return Ok(());
        }
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "lost+found" && ![LOCK, ADMIN].contains(&&*name) {
            other = Some(name);
        }
    }
    match other {
        Some(file) => Err(OpenError::NotOurs { path: path.into(), file }),
        None => Ok(()),
    }
}

pub(crate) fn manifest(path: &Path) -> Result<Option<Manifest>, OpenError> {
    let text = private::read_small(&path.join(MANIFEST_FILE)).map_err(OpenError::io(path))?;
    let manifest = text.map(|text| Manifest::from_json(&text));
    manifest.transpose().map_err(|why| OpenError::manifest(path, why))
}

fn without_manifest(
    path: &Path,
    journal: Option<JournalFile>,
    archive: Option<ArchiveFile>,
) -> Result<Contents, OpenError> {
    match (journal, archive) {
        (None, None) => Ok(Contents::Empty),
        (Some(journal), None) if journal.first == Position(1) => Ok(Contents::JournalOnly),
        (Some(JournalFile { first, head, .. }), None) => {
            Err(OpenError::ArchiveMissing { path: path.into(), first, head })
        }
        (None, Some(ArchiveFile { applied, .. })) => {
            Err(OpenError::JournalMissing { path: path.into(), applied })
        }
        (Some(journal), Some(archive)) => {
            check_match(path, &journal, &archive).map(|()| Contents::Log)
        }
    }
}

/// Refuses a journal and an archive of different logs, or with a gap between them.
fn check_match(path: &Path, journal: &JournalFile, archive: &ArchiveFile) -> Result<(), OpenError> {
    let (path, applied) = (path.into(), archive.applied);
    let &JournalFile { first, head, .. } = journal;
    if journal.log != archive.log {
        let (journal, archive) = (journal.log.clone(), archive.log.clone());
        return Err(OpenError::LogsDiffer { path, journal, head, archive, applied });
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
    path: &Path,
    journal: Option<JournalFile>,
    archive: Option<ArchiveFile>,
    manifest: Manifest,
) -> Result<Contents, OpenError> {
    let differs = |why: String| Err(OpenError::manifest(path, why));
    let Some(archive) = archive else { return Err(OpenError::no_archive(path)) };
    let ArchiveFile { log, applied } = &archive;
    if applied.0 != manifest.position {
        let says = manifest.position;
        return differs(format!(
            "it says position {says}, and archive.db is at position {applied}"
        ));
    }
    let is_begun = journal.as_ref().is_some_and(|journal| {
        journal.continues == Some((manifest.log.clone(), Position(manifest.position)))
            && journal.head.0 == manifest.position
            && (*log == journal.log || *log == manifest.log)
    });
    if is_begun {
        return Ok(Contents::PartlyRestored(manifest));
    }
    if *log != manifest.log {
        return differs(format!("it is of log {}, and archive.db of log {log}", manifest.log));
    }
    restore::check_no_wal(path)?;
    if let Some(journal) = &journal {
        check_match(path, journal, &archive).map_err(|why| OpenError::NotProven {
            path: path.into(),
            applied: archive.applied,
            first: journal.first,
            head: journal.head,
            why: why.to_string(),
        })?;
    }
    restore::compare(path, &manifest)?;
    let Some(journal) = journal else { return Ok(Contents::Backup(manifest)) };
    restore::check_no_gap(path, &manifest, &journal)?;
    Ok(Contents::BackupWithJournal(manifest))
}
