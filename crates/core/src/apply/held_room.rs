//! A room in the applier's memory, and how one proposal is applied to it.
//!
//! Enters: a proposal, and what the archive knows of its id. Leaves: its outcome; an entry is fresh until
//! its block is committed. Invariant: an entry that is redacted is known as such, whether the archive has
//! its redaction yet or not.

use std::{collections::HashMap, sync::Arc};

use roomlog_protocol::{Entry, RoomName, Slot};

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
    /// Whether an entry is redacted that the archive may have as it was.
    fn is_redacted(&self, slot: Slot) -> bool {
        self.tail.is_redacted(slot)
            || self.fresh.iter().any(|stored| stored.entry.redacts() == Some(slot))
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
    held: &'a mut HashMap<RoomName, HeldRoom>,
    rooms: &Rooms,
    room: &RoomName,
) -> Result<&'a mut HeldRoom, ArchiveError> {
    if !held.contains_key(room) {
        let tail = rooms.open(room)?;
        let state = Room { name: room.clone(), head: tail.head() };
        let (recent, fresh, is_noted) = (0, Vec::new(), false);
        held.insert(room.clone(), HeldRoom { room: state, recent, fresh, tail, is_noted });
    }
    Ok(held.get_mut(room).unwrap_or_else(|| unreachable!("it was put in above")))
}

/// Returns the outcome, and the entry that already has the proposal's id. Fails if the archive, which may
/// hold the entry that a redaction is about, cannot be read.
pub(super) fn apply_one(
    held: &mut HeldRoom,
    ids: &mut RecentIds,
    rooms: &Rooms,
    (rules, journal_time): (Rules, u64),
    proposal: &Proposal,
    archived: Option<&Known>,
) -> Result<(AppendOutcome, Option<Known>), ArchiveError> {
    let id = ids.hash(&proposal.room, &proposal.author, &proposal.id);
    // A row at or past the end is from a fold that a crash interrupted: its block is applied again.
    let archived = archived.filter(|known| known.slot < held.room.head.end);
    let archived = archived.map(|known| match held.is_redacted(known.slot) {
        true => Known { original: known.original.redacted(), ..*known },
        false => *known,
    });
    let known = ids.get(id).copied().or(archived);
    let target = match proposal.redacts().filter(|_| known.is_none()) {
        Some(slot) => rooms.entry(&held.tail, slot)?.map(|stored| stored.entry),
        None => None,
    };
    let applied =
        room::apply(&mut held.room, rules, proposal, journal_time, known.as_ref(), target.as_ref());
    let outcome = match applied {
        Ok(stored) => {
            let (slot, committed_at) = (stored.entry.slot, stored.entry.committed_at);
            if let Some(Entry { author, id, .. }) = &target {
                let redacted = ids.hash(&proposal.room, author, id);
                ids.redact(redacted);
            }
            held.add(ids, id, proposal, stored);
            AppendOutcome::Committed { slot, committed_at, repeat: false }
        }
        Err(outcome) => outcome,
    };
    Ok((outcome, known))
}
