//! `roomlog verify --data DIR`: the directory of a stopped server, without a server.
//!
//! ```text
//!  DIR ──copy──► archive: every page from slot 0, chained ─────────┐
//!        └─────► journal: every block applied anew, from the first ─┴─► the same digests?
//!
//!  trimmed: archive: every page from slot 0, chained ──► journal: every block read; those behind the
//!           archive applied on top of it
//!  backup:  manifest.json and archive.db, byte by byte ──► archive: every page from slot 0, chained
//! ```
//!
//! Enters: a directory. Leaves: for each room the digest at its latest slot, or the first slot that is
//! wrong. Invariants: nothing is written to the directory: what a killed server left in a WAL is
//! brought into a copy; where the journal has everything, its digests are computed here with no use of
//! the archive; where it was trimmed, the archive is the truth for what went, and has to be whole.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use roomlog_core::{
    archive::{Archive, ArchiveError, IdKey, Keep},
    head::Head,
    journal::{Journal, Position},
    proposal::Stored,
};
use roomlog_protocol::{Digest, RoomName, Slot, latest_of};
use roomlog_sqlite::{Directory, Holds, SqliteArchive, SqliteJournal, directory::FILES};

use super::{
    output::Output,
    replayed::{NOBODY, Replayed, said},
    verify_archive,
};
use crate::{
    failure::{DIFFERS, Failure},
    say,
};

/// How many entries are looked at at once.
pub(super) const PAGE_ENTRIES: u64 = 4_096;

/// How many rooms are listed at once.
pub(super) const ROOMS: usize = 1_000;

/// Checks the rooms in a directory, or this one alone; writes nothing to it.
///
/// # Errors
/// Why it cannot be checked.
pub(crate) async fn verify_directory(
    dir: &Path,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    let _kept_from_servers = Directory::lock_stopped(dir).map_err(said)?;
    let copy = tempfile::tempdir().map_err(|why| Failure::file(std::env::temp_dir(), why))?;
    copy_files(dir, copy.path())?;
    match Directory::look(copy.path()).map_err(said)? {
        Holds::Nothing => {
            Err(Failure::said(format!("{} holds no log: it is no data directory", dir.display())))
        }
        Holds::Unfinished => Err(Failure::said(format!(
            "{}: a restore was cut off; `roomlog serve` finishes it",
            dir.display()
        ))),
        Holds::Backup { manifest, journal: false } => {
            say!("a backup of log {}, up to position {}", manifest.log, manifest.position);
            verify_archive::backup(copy.path(), &manifest.log, room).await
        }
        Holds::Backup { .. } | Holds::Log => {
            let journal = SqliteJournal::open(&copy.path().join("journal.db")).map_err(said)?;
            let journal = Arc::new(journal);
            let archive = &copy.path().join("archive.db");
            let archive = SqliteArchive::open(archive, &journal.facts().log).map_err(said)?;
            if journal.first(0).map_err(said)? > Position(1) {
                verify_archive::trimmed(Arc::new(archive), journal, room).await
            } else {
                whole(copy.path(), journal, &archive, room).await
            }
        }
    }
}

/// A journal that has everything, against the archive.
async fn whole(
    copy: &Path,
    journal: Arc<SqliteJournal>,
    archive: &SqliteArchive,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    say!("applying the journal anew");
    let anew =
        SqliteArchive::open(&copy.join("replayed.db"), &journal.facts().log).map_err(said)?;
    let replayed = Replayed::new(NOBODY, Arc::new(anew), journal).await?;
    let rooms = replayed.rooms(room)?;
    let stray: Vec<_> =
        rooms_of(archive, room)?.into_keys().filter(|room| !rooms.contains_key(room)).collect();
    let mut output = Output::new(false);
    let mut wrong = stray.len();
    for room in &stray {
        output
            .line(format_args!("{room}\t0\twrong: the archive has it and the journal does not"))?;
    }
    for (room, head) in &rooms {
        let latest = latest_of(head.end);
        match check(archive, &replayed, room, head).await? {
            None => output.line(format_args!("{room}\t{latest}\t{}\tok", head.digest))?,
            Some((slot, why)) => {
                wrong += 1;
                output.line(format_args!("{room}\t{slot}\twrong: {why}"))?;
            }
        }
        output.flush()?;
    }
    // It was only read from: how it ends says nothing more.
    let _ended = replayed.end().await;
    summed_up(rooms.len() + stray.len(), wrong, room)
}

/// The last line, and the exit code.
pub(super) fn summed_up(
    all: usize,
    wrong: usize,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    if all == 0
        && let Some(room) = room
    {
        return Err(Failure::said(format!("nothing was ever written to {room}")));
    }
    say!("{} of {all} rooms are right", all - wrong);
    Ok(if wrong > 0 { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    for file in FILES {
        let path: PathBuf = from.join(file);
        match fs::copy(&path, to.join(file)) {
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(Failure::file(path, why)),
        }
    }
    Ok(())
}

pub(super) fn rooms_of(
    archive: &SqliteArchive,
    only: Option<&RoomName>,
) -> Result<BTreeMap<RoomName, Head>, Failure> {
    if let Some(room) = only {
        let head = archive.head(room).map_err(said)?;
        return Ok(head.map(|head| (room.clone(), head)).into_iter().collect());
    }
    let mut rooms = BTreeMap::new();
    loop {
        let after = rooms.keys().next_back().cloned();
        let more = archive.rooms(after.as_ref(), ROOMS).map_err(said)?;
        if more.is_empty() {
            return Ok(rooms);
        }
        rooms.extend(more);
    }
}

/// Compares what the archive holds of a room with what the journal gave; the first slot that is wrong.
async fn check(
    archive: &SqliteArchive,
    replayed: &Replayed,
    room: &RoomName,
    whole: &Head,
) -> Result<Option<(Slot, String)>, Failure> {
    let Some(head) = archive.head(room).map_err(said)? else { return Ok(None) };
    let mut next = 0;
    let mut last = Digest::start(room);
    while next < head.end {
        let end = (next + PAGE_ENTRIES).min(head.end);
        let ours = match page(archive, room, next, end)? {
            Ok(page) => page,
            Err(wrong) => return Ok(Some(wrong)),
        };
        if end > whole.end {
            let why = "the archive has it and the journal does not".into();
            return Ok(Some((whole.end, why)));
        }
        let theirs = replayed.page(room, next).await?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if ours != theirs {
                let why = format!(
                    "the archive's digest is {}, the journal's {}",
                    ours.digest, theirs.digest
                );
                return Ok(Some((ours.entry.slot, why)));
            }
            last = ours.digest;
        }
        next = end;
    }
    let head_is_wrong = last != head.digest;
    Ok(head_is_wrong.then(|| (head.end - 1, "the room's head has another digest".into())))
}

/// A page, or the slot of it that is damaged: an entry is not what was written, or its id does not lead
/// to it.
pub(super) fn page(
    archive: &SqliteArchive,
    room: &RoomName,
    first: Slot,
    end: Slot,
) -> Result<Result<Vec<Stored>, (Slot, String)>, Failure> {
    let page = match archive.page(room, first, end, usize::MAX, Keep::Oldest) {
        Ok(page) => page,
        Err(ArchiveError::Damaged { slot, problem, .. }) => return Ok(Err((slot, problem))),
        Err(other) => return Err(said(other)),
    };
    for Stored { entry, .. } in &page {
        let (author, id) = (entry.author.clone(), entry.id.clone());
        let wrong = match archive.find(&[IdKey { room: room.clone(), author, id }]) {
            Ok(found) => match found.into_iter().flatten().next() {
                Some(known) if known.slot == entry.slot => continue,
                Some(known) => format!("its id leads to slot {}", known.slot),
                None => "its id is not found".into(),
            },
            Err(why) => format!("its id cannot be looked up: {why}"),
        };
        return Ok(Err((entry.slot, wrong)));
    }
    Ok(Ok(page))
}
