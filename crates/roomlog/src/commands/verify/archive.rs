//! Checks the rooms of an archive, from slot 0: by chaining digests, or against a replayed journal.

use std::collections::BTreeMap;

use roomlog_core::{
    archive::{Archive, ArchiveError, IdKey, Keep},
    head::Head,
    proposal::Stored,
};
use roomlog_protocol::{Digest, RoomName, Slot};
use roomlog_sqlite::SqliteArchive;

use crate::{
    commands::replayed::{ROOMS, Replayed, pages},
    failure::Failure,
};

/// A slot and what is wrong with it.
pub(super) type Finding = (Slot, String);

/// All rooms of an archive, or only this one.
pub(super) fn rooms(
    archive: &SqliteArchive,
    only: Option<&RoomName>,
) -> Result<BTreeMap<RoomName, Head>, Failure> {
    let mut rooms = BTreeMap::new();
    if let Some(room) = only {
        rooms.extend(archive.head(room).map_err(Failure::other)?.map(|head| (room.clone(), head)));
        return Ok(rooms);
    }
    loop {
        let more = archive.rooms(rooms.keys().next_back(), ROOMS).map_err(Failure::other)?;
        if more.is_empty() {
            return Ok(rooms);
        }
        rooms.extend(more);
    }
}

/// The first wrong slot of a room whose entries must chain to its head.
pub(super) fn chained(
    archive: &SqliteArchive,
    room: &RoomName,
    head: &Head,
) -> Result<Option<Finding>, Failure> {
    let mut digest = Digest::start(room);
    for (first, end) in pages(head.end) {
        let page = match page(archive, room, first, end)? {
            Ok(page) => page,
            Err(finding) => return Ok(Some(finding)),
        };
        for stored in &page {
            digest = digest.then(&stored.entry);
            if digest != stored.digest {
                let why = "the digest of the entry is not the stored one".into();
                return Ok(Some((stored.entry.slot, why)));
            }
        }
    }
    Ok(wrong_head(head, digest))
}

/// The first slot of a room that differs from the replayed journal, which has this `journal_head`.
pub(super) async fn same_as(
    replayed: &Replayed,
    archive: &SqliteArchive,
    room: &RoomName,
    journal_head: &Head,
) -> Result<Option<Finding>, Failure> {
    let Some(head) = archive.head(room).map_err(Failure::other)? else { return Ok(None) };
    let mut digest = Digest::start(room);
    for (first, end) in pages(head.end) {
        let ours = match page(archive, room, first, end)? {
            Ok(page) => page,
            Err(finding) => return Ok(Some(finding)),
        };
        if end > journal_head.end {
            let why = "it is in the archive but not in the journal".into();
            return Ok(Some((journal_head.end, why)));
        }
        let theirs = replayed.page(room, first).await?;
        if let Some((ours, theirs)) = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs)
        {
            let (archive, journal) = (ours.digest, theirs.digest);
            let why = format!("the archive has digest {archive}, the journal gives {journal}");
            return Ok(Some((ours.entry.slot, why)));
        }
        digest = ours.last().map_or(digest, |last| last.digest);
    }
    Ok(wrong_head(&head, digest))
}

fn wrong_head(head: &Head, digest: Digest) -> Option<Finding> {
    (digest != head.digest).then(|| (head.end - 1, "the room's head has another digest".into()))
}

/// A page, or its damaged slot: an entry that was changed, or whose id does not lead to it.
fn page(
    archive: &SqliteArchive,
    room: &RoomName,
    first: Slot,
    end: Slot,
) -> Result<Result<Vec<Stored>, Finding>, Failure> {
    let page = match archive.page(room, first, end, usize::MAX, Keep::Oldest) {
        Ok(page) => page,
        Err(ArchiveError::Damaged { slot, problem, .. }) => return Ok(Err((slot, problem))),
        Err(other) => return Err(Failure::other(other)),
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
