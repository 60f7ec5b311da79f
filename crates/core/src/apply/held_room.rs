//! A room in the applier's memory, and how one proposal is applied to it.
//!
//! Enters: a proposal, and what the archive knows of its id. Leaves: its outcome; an entry is fresh until
//! its block is committed. Invariant: an entry whose text is removed is known as such, whether the archive
//! has removed it yet or not.

use std::{hash::RandomState, sync::Arc};

use hashbrown::hash_map::{EntryRef, HashMap};
use roomlog_protocol::{Author, Removal, RoomName, Slot};

use crate::{
    apply::{
        ids::{IdHash, RecentIds},
        room::{self, Room},
    },
    model::{
        archive::ArchiveError,
        head::Known,
        outcome::AppendOutcome,
        proposal::{Original, Proposal, Stored},
        rules::Rules,
    },
    read::{rooms::Rooms, tail::Tail},
};

/// The rooms in memory.
pub(super) type HeldRooms = HashMap<RoomName, HeldRoom, RandomState>;

/// A room in memory: from its first block until all of it is folded.
pub(super) struct HeldRoom {
    pub(super) room: Room,
    /// Its entries whose ids are in memory, because the archive may not have them yet.
    pub(super) recent: usize,
    pub(super) fresh: Vec<Stored>,
    pub(super) tail: Arc<Tail>,
    /// It is among those with entries that the archive may lack.
    pub(super) is_noted: bool,
}

impl HeldRoom {
    /// Whether the text of an entry is removed that the archive may still have.
    pub(super) fn is_removed(&self, slot: Slot, author: &Author) -> bool {
        let removed = |stored: &Stored| stored.entry.removes();
        self.tail.is_removed(slot, author)
            || self.fresh.iter().filter_map(removed).any(|it| it.covers_slot(slot, author))
    }

    pub(super) fn add(
        &mut self,
        ids: &mut RecentIds,
        id: IdHash,
        proposal: &Proposal,
        stored: Stored,
    ) {
        let (slot, committed_at) = (stored.entry.slot, stored.entry.committed_at);
        ids.add(id, Known { slot, committed_at, original: Original::of_proposal(proposal) });
        self.recent += 1;
        self.fresh.push(stored);
    }
}

/// The room, held from now on. Fails if the archive cannot be read.
pub(super) fn hold<'a>(
    held: &'a mut HeldRooms,
    rooms: &Rooms,
    room: &RoomName,
) -> Result<&'a mut HeldRoom, ArchiveError> {
    match held.entry_ref(room) {
        EntryRef::Occupied(held) => Ok(held.into_mut()),
        EntryRef::Vacant(place) => {
            let tail = rooms.open(room)?;
            let state = Room { name: room.clone(), head: tail.head() };
            let (recent, fresh, is_noted) = (0, Vec::new(), false);
            Ok(place.insert(HeldRoom { room: state, recent, fresh, tail, is_noted }))
        }
    }
}

/// Where the journal holds what is removed.
pub(super) enum Removed {
    /// In the block of the proposal, again.
    Here,
    /// In earlier blocks: `committed_at` of the first entry that the removal may concern.
    Since(u64),
}

/// Returns the outcome, and whether the journal then holds texts that are removed. Fails if the archive,
/// which may hold the entry that a removal names, cannot be read.
pub(super) fn apply_one(
    held: &mut HeldRoom,
    ids: &mut RecentIds,
    rooms: &Rooms,
    (rules, journal_time): (Rules, u64),
    proposal: &Proposal,
    archived: Option<&Known>,
) -> Result<(AppendOutcome, Option<Removed>), ArchiveError> {
    let id = ids.hash(&proposal.room, &proposal.author, &proposal.id);
    // A row at or past the end is from a fold that a crash interrupted: its block is applied again.
    let archived = archived.filter(|known| known.slot < held.room.head.end);
    let archived = archived.map(|known| match held.is_removed(known.slot, &proposal.author) {
        true => Known { original: known.original.redacted(), ..*known },
        false => *known,
    });
    let known = ids.get(id).copied().or(archived);
    let removal = proposal.removes().filter(|_| known.is_none());
    let entry = |slot: Slot| Ok(rooms.entry(&held.tail, slot)?.map(|stored| stored.entry));
    let target = proposal.reference.filter(|_| removal.is_some()).map_or(Ok(None), entry)?;
    let oldest = match &removal {
        Some(span @ Removal::Span { .. }) if target.is_some() => entry(*span.slots().start())?,
        _ => target.clone(),
    };
    let applied =
        room::apply(&mut held.room, rules, proposal, journal_time, known.as_ref(), target.as_ref());
    let outcome = match applied {
        Ok(stored) => {
            let (slot, committed_at) = (stored.entry.slot, stored.entry.committed_at);
            for (author, id) in removal.map_or(Vec::new(), |removal| held.tail.covered(&removal)) {
                let removed = ids.hash(&proposal.room, &author, &id);
                ids.redact(removed);
            }
            held.add(ids, id, proposal, stored);
            let removed = oldest.map(|entry| Removed::Since(entry.committed_at));
            (AppendOutcome::Committed { slot, committed_at, repeat: false }, removed)
        }
        Err(outcome) => {
            let is_here = known.is_some_and(|known| known.original.is_redacted());
            (outcome, is_here.then_some(Removed::Here))
        }
    };
    Ok(outcome)
}
