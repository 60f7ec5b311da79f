//! Verifies the directory of a stopped server, or a backup.
//!
//! ```text
//!  DIR ──copy──► archive: every page from slot 0, chained ──────────────┐
//!        └─────► journal: every block replayed from the first ──────────┴─► the same digests?
//!
//!  trimmed: archive: every page from slot 0, chained ──► journal: every block read; those that are
//!           not in the archive applied on top of it
//!  backup:  archive.db: every page from slot 0, chained
//! ```
//!
//! Nothing is written to the directory: a WAL that a killed server left is applied to a copy. If
//! the journal has every block, its digests are computed without the archive; if it was trimmed,
//! the archive is the only source of the trimmed blocks and must be intact.

use std::{collections::BTreeMap, path::Path, process::ExitCode, sync::Arc};

use roomlog_core::{
    archive::Archive,
    block,
    journal::{Journal, Position},
    rules::Rules,
};
use roomlog_protocol::RoomName;
use roomlog_sqlite::{
    Contents, Directory, SegmentJournal, SqliteArchive, directory::log_files, private,
};

use super::{
    archive::{NOT_IN_JOURNAL, chained, check_texts, checked, note_removals, rooms, same_as},
    report::{Report, Wrong, right},
    texts::Texts,
};
use crate::{
    commands::replayed::{NOBODY, Replayed},
    failure::Failure,
    stderr::message,
};

/// Checks all rooms in a directory, or only this one.
pub(super) async fn verify(dir: &Path, room: Option<&RoomName>) -> Result<ExitCode, Failure> {
    let _lock_against_servers = Directory::lock_stopped(dir).map_err(Failure::other)?;
    let copy = tempfile::tempdir().map_err(Failure::reading(std::env::temp_dir()))?;
    copy_files(dir, copy.path())?;
    let archive = |log: &str| SqliteArchive::open(&copy.path().join("archive.db"), log);
    match Contents::of(copy.path()).map_err(Failure::other)? {
        Contents::Empty => Err(Failure::other(format!(
            "{} is not a data directory: it holds no log",
            dir.display()
        ))),
        Contents::PartlyRestored(_) => Err(Failure::other(format!(
            "a restore into {} was interrupted; `roomlog serve` finishes it",
            dir.display()
        ))),
        Contents::Backup(manifest) => {
            message!("a backup of log {}, up to position {}", manifest.log, manifest.position);
            backup(&archive(&manifest.log).map_err(Failure::other)?, room)
        }
        Contents::BackupWithJournal(_) | Contents::Log | Contents::JournalOnly => {
            let journal = SegmentJournal::open(copy.path()).map_err(Failure::other)?;
            let archive = archive(&journal.facts().log).map_err(Failure::other)?;
            if journal.first(0).map_err(Failure::other)? > Position(1) {
                trimmed(Arc::new(archive), Arc::new(journal), room).await
            } else {
                complete(copy.path(), Arc::new(journal), &archive, room).await
            }
        }
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    for file in log_files(from).map_err(Failure::reading(from))? {
        let name = file.file_name().unwrap_or_default();
        private::copy(&file, &to.join(name)).map_err(Failure::reading(&file))?;
    }
    Ok(())
}

fn backup(archive: &SqliteArchive, room: Option<&RoomName>) -> Result<ExitCode, Failure> {
    let mut report = Report::new();
    for (name, head) in rooms(archive, room)? {
        report.checked(&name, checked(archive, &name, &head))?;
    }
    report.finish(room)
}

/// A journal that has every block, against the archive.
async fn complete(
    copy: &Path,
    journal: Arc<SegmentJournal>,
    archive: &SqliteArchive,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    message!("replaying the journal");
    let scratch = SqliteArchive::open(&copy.join("replayed.db"), &journal.facts().log)
        .map_err(Failure::other)?;
    let replayed = Replayed::new(NOBODY, Arc::new(scratch), journal).await?;
    let in_journal = replayed.rooms(room)?;
    let mut report = Report::new();
    for stray in rooms(archive, room)?.keys().filter(|name| !in_journal.contains_key(*name)) {
        report.checked(stray, Err(Wrong::at(0, NOT_IN_JOURNAL)))?;
    }
    for (name, head) in &in_journal {
        report.checked(name, same_as(&replayed, archive, name, head).await)?;
    }
    // It was only read from, so a failure at its end does not matter.
    let _ended = replayed.finish().await;
    report.finish(room)
}

/// An archive with a trimmed journal. The archive is written to: it is a copy.
async fn trimmed(
    archive: Arc<SqliteArchive>,
    journal: Arc<SegmentJournal>,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    let first = journal.first(0).map_err(Failure::other)?;
    let applied = archive.applied(0).map_err(Failure::other)?.position;
    message!(
        "the journal begins at position {first}; checking the archive, which has everything up to \
         {applied}"
    );
    let (mut wrong, mut unchecked) = (BTreeMap::new(), Vec::new());
    for (name, head) in rooms(&archive, room)? {
        let mut texts = Texts::default();
        match chained(&archive, &name, &head, &mut texts) {
            Ok(_) if texts.is_empty() => {}
            Ok(_) => unchecked.push((name, head, texts)),
            Err(Wrong::Failed(failure)) => return Err(failure),
            Err(at) => drop(wrong.insert(name, at)),
        }
    }
    read_blocks(&journal, first, applied).await?;
    let replayed = Replayed::new(NOBODY, archive.clone(), journal).await?;
    replayed.fold().await?;
    // Now that a fold which a crash cut off is complete.
    for (name, head, mut texts) in unchecked {
        let now = replayed.head(&name)?;
        note_removals(&replayed, &name, head.end, now.end, &mut texts).await?;
        match check_texts(&archive, &name, &head, &texts) {
            Ok(()) => {}
            Err(Wrong::Failed(failure)) => return Err(failure),
            Err(at) => drop(wrong.insert(name, at)),
        }
    }
    let mut report = Report::new();
    for (name, head) in replayed.rooms(room)? {
        report.checked(&name, wrong.remove(&name).map_or(Ok(right(&head)), Err))?;
    }
    // It was only read from, so a failure at its end does not matter.
    let _ended = replayed.finish().await;
    report.finish(room)
}

/// Reads the blocks that both have: each must be as it was written.
async fn read_blocks(
    journal: &SegmentJournal,
    first: Position,
    applied: Position,
) -> Result<(), Failure> {
    let mut follow = journal.follow(0, Position(first.0.saturating_sub(1)).into());
    for position in first.0..=applied.0 {
        let durable = follow.next().await.map_err(Failure::other)?;
        block::decode(&durable.block, Rules::NEWEST).map_err(|problem| {
            Failure::other(format!("position {position} of the journal holds {problem}"))
        })?;
    }
    Ok(())
}
