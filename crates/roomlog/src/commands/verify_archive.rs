//! An archive that is the truth for what no journal has any more: of a trimmed directory, of a backup.
//!
//! Enters: the archive, and the journal behind it where there is one. Leaves: for each room the digest at
//! its latest slot, or the first slot that is wrong. Invariant: every digest printed as right was chained
//! from slot 0.

use std::{collections::BTreeMap, path::Path, process::ExitCode, sync::Arc};

use roomlog_core::{
    archive::Archive,
    block,
    head::Head,
    journal::{Journal, Position},
    rules::Rules,
};
use roomlog_protocol::{Digest, RoomName, Slot, latest_of};
use roomlog_sqlite::{SqliteArchive, SqliteJournal};

use super::{
    output::Output,
    replayed::{NOBODY, Replayed, said},
    verify_directory::{PAGE_ENTRIES, page, rooms_of, summed_up},
};
use crate::{failure::Failure, say};

/// A backup: nothing is behind the archive.
pub(super) async fn backup(
    copy: &Path,
    log: &str,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    let archive = SqliteArchive::open(&copy.join("archive.db"), log).map_err(said)?;
    let rooms = rooms_of(&archive, room)?;
    let wrong = wrong_rooms(&archive, &rooms)?;
    print(&rooms, &wrong)?;
    summed_up(rooms.len(), wrong.len(), room)
}

/// An archive with a trimmed journal behind it. The archive is written to: it is a copy.
pub(super) async fn trimmed(
    archive: Arc<SqliteArchive>,
    journal: Arc<SqliteJournal>,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    let first = journal.first(0).map_err(said)?;
    let applied = archive.applied(0).map_err(said)?.position;
    say!(
        "the journal begins at position {first}; chaining the archive, which has all up to {applied}"
    );
    let wrong = wrong_rooms(&archive, &rooms_of(&archive, room)?)?;
    read_blocks(&journal, first, applied).await?;
    let replayed = Replayed::new(NOBODY, archive, journal).await?;
    let rooms = replayed.rooms(room)?;
    // It was only read from: how it ends says nothing more.
    let _ended = replayed.end().await;
    print(&rooms, &wrong)?;
    summed_up(rooms.len(), wrong.len(), room)
}

/// Reads the blocks that both have: each is as it was written.
async fn read_blocks(
    journal: &SqliteJournal,
    first: Position,
    applied: Position,
) -> Result<(), Failure> {
    let mut follow = journal.follow(0, Position(first.0.saturating_sub(1)).into());
    for position in first.0..=applied.0 {
        let durable = follow.next().await.map_err(said)?;
        block::decode(&durable.block, Rules::NEWEST).map_err(|problem| {
            Failure::said(format!("position {position} of the journal holds {problem}"))
        })?;
    }
    Ok(())
}

type Wrong = BTreeMap<RoomName, (Slot, String)>;

fn print(rooms: &BTreeMap<RoomName, Head>, wrong: &Wrong) -> Result<(), Failure> {
    let mut output = Output::new(false);
    for (room, head) in rooms {
        match wrong.get(room) {
            None => {
                let latest = latest_of(head.end);
                output.line(format_args!("{room}\t{latest}\t{}\tok", head.digest))?;
            }
            Some((slot, why)) => output.line(format_args!("{room}\t{slot}\twrong: {why}"))?,
        }
    }
    output.flush()
}

/// The rooms whose entries do not chain from slot 0 to their head, each with the first wrong slot.
fn wrong_rooms(
    archive: &SqliteArchive,
    rooms: &BTreeMap<RoomName, Head>,
) -> Result<Wrong, Failure> {
    let mut wrong = Wrong::new();
    for (room, head) in rooms {
        if let Some(found) = first_wrong(archive, room, head)? {
            wrong.insert(room.clone(), found);
        }
    }
    Ok(wrong)
}

fn first_wrong(
    archive: &SqliteArchive,
    room: &RoomName,
    head: &Head,
) -> Result<Option<(Slot, String)>, Failure> {
    let (mut next, mut digest) = (0, Digest::start(room));
    while next < head.end {
        let end = (next + PAGE_ENTRIES).min(head.end);
        let page = match page(archive, room, next, end)? {
            Ok(page) => page,
            Err(wrong) => return Ok(Some(wrong)),
        };
        for stored in &page {
            digest = digest.then(&stored.entry);
            if digest != stored.digest {
                let why = "the entry does not have the digest it was given".into();
                return Ok(Some((stored.entry.slot, why)));
            }
        }
        next = end;
    }
    let head_is_wrong = digest != head.digest;
    Ok(head_is_wrong.then(|| (head.end - 1, "the room's head has another digest".into())))
}
