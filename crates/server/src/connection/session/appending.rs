//! How a session takes an append: whether it is allowed, and its place in the lane of its room.
//!
//! Enters: `append` frames, good or refused. Leaves: arrivals at the lanes, or the answer. Invariant: an
//! append with a number uses that up in its room, also if it is refused. While one is delayed by
//! backpressure, nothing is read from the client.

use std::time::Instant;

use roomlog_core::{lane::Arrival, outcome::AppendOutcome, queue::Draft};
use roomlog_protocol::{ClientAppend, EntryId, ErrorCode, Refusal, RoomName};

use super::{super::login::login_required, Session};
use crate::{
    admission::Backpressure,
    auth::rights::check_create,
    outcome::{draft, new_id, now_ms, refusal_of},
};

/// An append that waits for room in the budget.
pub(super) struct Delayed {
    append: Box<ClientAppend>,
    wait: Backpressure,
}

impl Session {
    pub(super) fn append(&mut self, append: ClientAppend, over: Option<Refusal>) {
        self.try_append(append, over, None);
    }

    /// When the delayed append is to be tried again; `None` if none is.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.delayed.as_ref().map(|delayed| delayed.wait.retry_at)
    }

    /// Tries the delayed append again, if there is one.
    pub(super) fn retry_append(&mut self) {
        let Some(Delayed { append, wait }) = self.delayed.take() else { return };
        // Nothing was read meanwhile, whatever the client sent.
        self.note_heard();
        self.try_append(*append, None, Some(wait));
    }

    /// `wait` is how long it has been delayed before.
    fn try_append(
        &mut self,
        mut append: ClientAppend,
        over: Option<Refusal>,
        wait: Option<Backpressure>,
    ) {
        let entry_id = append.id.clone().unwrap_or_else(new_id);
        let Some(author) = append.author.as_ref().or(self.author.as_ref()).cloned() else { return };
        let mut opened = None;
        let admitted = over.map_or_else(|| self.check_append(&append, &author), Err);
        let admitted = admitted.and_then(|()| {
            // One that cannot be opened is refused where it arrives.
            opened = self.open(&append.room).ok();
            let Some(key) = opened else { return Ok(()) };
            if let Some(tail) = self.turn.rooms.tail(key) {
                // All appends share one copy of the name, which is in a cache.
                append.room.clone_from(tail.room());
            }
            self.admit(&append.room, key)
        });
        let admitted = admitted.map_err(|refusal| AppendOutcome::Invalid(Box::new(refusal)));
        let (client, now) = (&self.turn.client, self.turn.now);
        let read = wait.as_ref().map_or(now, |wait| wait.since);
        let in_time = now < read + self.turn.gateway.config.limits.append_for;
        let charged = match admitted {
            Err(outcome) => Err(outcome),
            Ok(()) => match client.charge_or_wait(&append, wait, now) {
                Err(Some(wait)) if in_time && self.draining.is_none() => {
                    self.delayed = Some(Delayed { append: Box::new(append), wait });
                    return;
                }
                charged => charged.map_err(|_| AppendOutcome::Busy),
            },
        };
        let place = (append.room.clone(), Some(entry_id.clone()), append.req);
        let arrival = Arrival {
            token: 0,
            seq: append.seq,
            id: append.id.clone(),
            entry_id: entry_id.clone(),
            after: append.after,
            reference: append.reference,
            work: charged.map(|charge| {
                let (access, whose) = (&self.turn.access, (author, entry_id));
                draft(access, append, whose, now_ms(), charge)
            }),
        };
        self.arrive(read, place, arrival, opened);
    }

    /// Checks whether one more room may be made, if this one has no entry.
    fn admit(&mut self, room: &RoomName, key: u32) -> Result<(), Refusal> {
        if !self.turn.rooms.is_written(key) && !self.turn.rooms.is_begun(key) {
            check_create(&self.turn.access, room)?;
            self.turn.client.admit_room(&self.turn.gateway)?;
            self.turn.rooms.begin(key);
        }
        Ok(())
    }

    /// Takes an append that was refused on input. If it has a number, it uses that up, in its turn.
    pub(super) fn refused_append(&mut self, place: Option<(RoomName, u64)>, refusal: Refusal) {
        let Some((room, seq)) = place else { return self.turn.refuse_append(refusal) };
        if self.author.is_none() {
            let Refusal { code, message, .. } = login_required();
            return self.turn.refuse_append(Refusal { code, message, ..refusal });
        }
        let bare = Refusal::new(refusal.code, refusal.message);
        let arrival = Arrival {
            token: 0,
            seq: Some(seq),
            id: refusal.id.clone(),
            entry_id: refusal.id.clone().unwrap_or_else(new_id),
            after: None,
            reference: None,
            work: Err(AppendOutcome::Invalid(Box::new(bare))),
        };
        self.arrive(self.turn.now, (room, refusal.id, refusal.req), arrival, None);
    }

    /// `opened` is the key of the room, if it is known to be open.
    fn arrive(
        &mut self,
        read: Instant,
        place: (RoomName, Option<EntryId>, Option<i64>),
        arrival: Arrival<Draft>,
        opened: Option<u32>,
    ) {
        let (room, id, req) = &place;
        let named = |refusal| Refusal { id: id.clone(), req: *req, ..refusal };
        // A refused append uses up its number in its room; one without opens no room for that.
        if arrival.seq.is_none()
            && opened.is_none()
            && self.turn.rooms.key(room).is_none()
            && let Err(outcome) = &arrival.work
            && let Some(refusal) = refusal_of(outcome)
        {
            let refusal = Refusal { room: Some(room.clone()), ..refusal };
            return self.turn.refuse_append(named(refusal));
        }
        let key = match opened.map_or_else(|| self.open(room), Ok) {
            Ok(key) => key,
            Err(refusal) => return self.turn.refuse_append(named(refusal)),
        };
        if arrival.seq.is_some() && !self.counts(key) && self.is_full() {
            let message = "this connection has as many rooms as it may; use another connection";
            let refusal = Refusal::new(ErrorCode::TooLarge, message);
            self.turn.refuse_append(named(refusal));
        } else {
            self.appends.arrive(&mut self.turn, (key, read), place, arrival);
        }
        self.release_unless_written(Some(key));
    }
}
