//! Checks the rooms of an archive, from slot 0: by chaining digests, or against a replayed journal; and
//! that exactly the texts are gone that were removed.

use std::{collections::BTreeMap, ops::Range};

use roomlog_core::{
    archive::{Archive, ArchiveError, IdKey, Keep},
    head::Head,
    proposal::Stored,
};
use roomlog_jetstream::MAX_PARTITIONS;
use roomlog_protocol::{Digest, RoomName, Slot};
use roomlog_sqlite::SqliteArchive;

use super::{
    report::{Checked, Wrong, right},
    texts::Texts,
};
use crate::{
    commands::replayed::{Replayed, all_rooms, pages},
    failure::Failure,
};

pub(super) const NOT_IN_JOURNAL: &str = "it is in the archive but not in the journal";

/// All rooms of an archive, or only this one.
pub(super) fn rooms(
    archive: &SqliteArchive,
    only: Option<&RoomName>,
) -> Result<BTreeMap<RoomName, Head>, Failure> {
    let Some(room) = only else { return all_rooms(|range, limit| archive.rooms(range, limit)) };
    let head = archive.head(room).map_err(Failure::other)?;
    Ok(head.map(|head| (room.clone(), head)).into_iter().collect())
}

/// Checks that the entries of a room chain to its head, and that exactly the removed texts are gone.
pub(super) fn checked(archive: &SqliteArchive, room: &RoomName, head: &Head) -> Checked {
    let mut texts = Texts::default();
    let right = chained(archive, room, head, &mut texts)?;
    check_texts(archive, room, head, &texts)?;
    Ok(right)
}

/// Checks that the entries of a room chain to its head; notes in `texts` what to check besides.
pub(super) fn chained(
    archive: &SqliteArchive,
    room: &RoomName,
    head: &Head,
    texts: &mut Texts,
) -> Checked {
    let mut digest = Digest::start(room);
    for (first, end) in pages(head.end) {
        for stored in page(archive, room, first, end)? {
            digest = digest.then(&stored.entry);
            if digest != stored.digest {
                let why = "the digest of the entry is not the stored one";
                return Err(Wrong::at(stored.entry.slot, why));
            }
            texts.note(&stored.entry);
        }
    }
    compare_head(head, digest)
}

/// Compares a room with the replayed journal, which has this `journal_head`.
pub(super) async fn same_as(
    replayed: &Replayed,
    archive: &SqliteArchive,
    room: &RoomName,
    journal_head: &Head,
) -> Checked {
    let Some(head) = archive.head(room).map_err(Failure::other)? else {
        return Ok(right(journal_head));
    };
    let (mut digest, mut texts) = (Digest::start(room), Texts::default());
    for (first, end) in pages(head.end) {
        let ours = page(archive, room, first, end)?;
        if end > journal_head.end {
            return Err(Wrong::at(journal_head.end, NOT_IN_JOURNAL));
        }
        let theirs = replayed.page(room, first).await?;
        // One of them may lack a redaction that the other has; the digests of both were computed.
        let mut pairs = ours.iter().zip(&theirs);
        if let Some((ours, theirs)) = pairs.find(|(ours, theirs)| ours.digest != theirs.digest) {
            let (archive, journal) = (ours.digest, theirs.digest);
            let why = format!("the archive has digest {archive}, the journal gives {journal}");
            return Err(Wrong::at(ours.entry.slot, why));
        }
        digest = ours.last().map_or(digest, |last| last.digest);
        ours.iter().for_each(|stored| texts.note(&stored.entry));
    }
    // A fold that a crash cut off has removed texts, and lacks what removes them.
    note_removals(replayed, room, head.end, journal_head.end, &mut texts).await?;
    check_texts(archive, room, &head, &texts)?;
    compare_head(&head, digest)?;
    Ok(right(journal_head))
}

/// Notes what the replayed entries of these slots remove.
pub(super) async fn note_removals(
    replayed: &Replayed,
    room: &RoomName,
    mut from: Slot,
    end: Slot,
    texts: &mut Texts,
) -> Result<(), Failure> {
    while from < end {
        let page = replayed.page(room, from).await?;
        let Some(last) = page.last() else { break };
        from = last.entry.slot + 1;
        page.iter().for_each(|stored| texts.note_removal(&stored.entry));
    }
    Ok(())
}

/// Reads again what is redacted or should be.
pub(super) fn check_texts(
    archive: &SqliteArchive,
    room: &RoomName,
    head: &Head,
    texts: &Texts,
) -> Result<(), Wrong> {
    for slots in texts.to_read(head.end) {
        for Stored { entry, .. } in read(archive, room, slots)? {
            if !(texts.is_stray(&entry) && may_lack_removals(archive)?) {
                texts.check(&entry)?;
            }
        }
    }
    Ok(())
}

/// Whether it is of a cluster's node: one that catches up reads blocks without the texts that later ones
/// removed, and its backup may end between them.
fn may_lack_removals(archive: &SqliteArchive) -> Result<bool, Failure> {
    for partition in 0..MAX_PARTITIONS {
        if archive.applied(partition).map_err(Failure::other)?.chain.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compare_head(head: &Head, digest: Digest) -> Checked {
    if digest == head.digest {
        return Ok(right(head));
    }
    Err(Wrong::at(head.end - 1, "the room's head has another digest"))
}

/// A page whose entries are as they were stored, and are found by their ids.
fn page(
    archive: &SqliteArchive,
    room: &RoomName,
    first: Slot,
    end: Slot,
) -> Result<Vec<Stored>, Wrong> {
    let page = read(archive, room, first..end)?;
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
        return Err(Wrong::at(entry.slot, wrong));
    }
    Ok(page)
}

fn read(
    archive: &SqliteArchive,
    room: &RoomName,
    slots: Range<Slot>,
) -> Result<Vec<Stored>, Wrong> {
    archive.page(room, slots.start, slots.end, usize::MAX, Keep::Oldest).map_err(|why| match why {
        ArchiveError::Damaged { slot, problem, .. } => Wrong::at(slot, problem),
        other => Failure::other(other).into(),
    })
}
