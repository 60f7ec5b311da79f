//! A room as a pure state machine: the only place where an entry gets its slot, time and digest.
//!
//! Enters: a proposal, the journal's time, and what is known of the proposal's id. Leaves: an
//! entry, or an outcome. Invariant: equal inputs in equal order give equal logs on every node: no
//! clock, randomness, I/O or configuration.

use roomlog_protocol::{Author, Entry, ErrorCode, Latest, Refusal, Removal, RoomName, Slot};

use thiserror::Error;

use crate::model::{
    block::PastEntry,
    head::{Head, Known},
    outcome::AppendOutcome,
    proposal::{Proposal, Stored},
    rules::Rules,
};

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    pub name: RoomName,
    pub head: Head,
}

/// An imported entry does not continue the room.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "slot {slot} does not continue room {room}, which ends before slot {end} at time {committed_at}"
)]
pub(crate) struct HistoryError {
    room: RoomName,
    slot: Slot,
    end: Slot,
    committed_at: u64,
}

/// Adds an imported entry; `None` if its slot is already filled. Fails if it would leave a gap or
/// time would go back.
pub(crate) fn restore(room: &mut Room, past: &PastEntry) -> Result<Option<Stored>, HistoryError> {
    let Head { end, committed_at, .. } = room.head;
    let PastEntry { proposal, slot, committed_at: at } = past;
    if *slot < end {
        return Ok(None);
    }
    if *slot > end || *at < committed_at {
        let (room, slot) = (room.name.clone(), *slot);
        return Err(HistoryError { room, slot, end, committed_at });
    }
    Ok(Some(add(room, proposal, *at)))
}

/// Applies one proposal. `known` is the entry that already has its id, `target` the one at its `ref`, if
/// it is a removal. The error is the outcome if it adds no entry: a repeat, `IdReused`, `ExpectFailed`, or the
/// refusal of a removal.
pub(crate) fn apply(
    room: &mut Room,
    rules: Rules,
    proposal: &Proposal,
    journal_time: u64,
    known: Option<&Known>,
    target: Option<&Entry>,
) -> Result<Stored, AppendOutcome> {
    if let Some(known) = known {
        let Known { slot, committed_at, original } = *known;
        return Err(if original.is_repeated_by(proposal) {
            AppendOutcome::Committed { slot, committed_at, repeat: true }
        } else {
            AppendOutcome::IdReused { slot }
        });
    }
    if proposal.expect.is_some_and(|slot| slot != room.head.end) {
        return Err(AppendOutcome::ExpectFailed { latest: Latest::before(room.head.end) });
    }
    if let Some(removal) = proposal.removes() {
        check_removal(proposal, &removal, target)?;
    }
    let last = (room.head.end > 0).then_some(room.head.committed_at);
    let time = rules.time(last, journal_time);
    Ok(add(room, proposal, time))
}

/// Whether a proposal may remove texts; `target` is `None` if no earlier block has added the entry at its
/// `ref`.
fn check_removal(
    proposal: &Proposal,
    removal: &Removal,
    target: Option<&Entry>,
) -> Result<(), AppendOutcome> {
    let Some(target) = target else { return Err(AppendOutcome::BadRef) };
    let refuse =
        |code, message: String| Err(AppendOutcome::Invalid(Box::new(Refusal::new(code, message))));
    let may = |of: &Author| *of == proposal.author || proposal.may_remove;
    match removal {
        Removal::Entry(slot) if target.kind.removes() => refuse(
            ErrorCode::BadRef,
            format!("slot {slot} is of the kind `{}`, which cannot be redacted", target.kind),
        ),
        Removal::Entry(slot) if !may(&target.author) => refuse(
            ErrorCode::Forbidden,
            format!(
                "slot {slot} has another author; only a token with the right `redact` may redact it"
            ),
        ),
        Removal::Span { author, .. } if !author.as_ref().map_or(proposal.may_remove, may) => refuse(
            ErrorCode::Forbidden,
            "only a token with the right `admin` may erase what others wrote; name yourself in \
             `body` to erase your own entries"
                .into(),
        ),
        _ => Ok(()),
    }
}

/// Adds the room's next entry.
fn add(room: &mut Room, proposal: &Proposal, committed_at: u64) -> Stored {
    let entry = Entry {
        slot: room.head.end,
        author: proposal.author.clone(),
        id: proposal.id.clone(),
        content: proposal.content.clone(),
        committed_at,
        sent_at: proposal.sent_at,
        kind: proposal.kind.clone(),
        reference: proposal.reference,
    };
    let digest = room.head.digest.then_committed(&entry, &proposal.commitment);
    room.head = Head { end: entry.slot + 1, committed_at: entry.committed_at, digest };
    Stored { entry, digest }
}

#[cfg(test)]
#[path = "tests/room.rs"]
mod tests;
