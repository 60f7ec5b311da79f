//! `POST …/entries` of many appends, a line each.
//!
//! ```text
//!  body ──lines──► a block's worth ──► sequencer, one numbered queue ──► outcomes ──► answer
//!           └ wrong in form: final, the next line goes on
//! ```
//!
//! Enters: up to [`BATCH_APPENDS`] appends. Leaves: an outcome a line, in order. Invariants: nothing is
//! taken of a body that is too long or has too many lines; lines go without waiting for those before
//! them, and still nothing is stored behind one that was refused and may come again: the queue is
//! numbered, so that the sequencer turns away what is in hand behind a refusal, as it does for a
//! WebSocket's `seq`. What is with the sequencer is bounded by [`IN_HAND_BYTES`].

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use roomlog_core::{
    block::{BLOCK_BYTES, BLOCK_ENTRIES},
    mailbox::Mailbox,
    outcome::AppendOutcome,
    queue::{Draft, Queue},
};
use roomlog_protocol::{EntryId, ErrorCode, Refusal, RoomName, Slot, limits::BATCH_APPENDS};
use tokio::time::{Instant, timeout_at};

use super::{
    append::{members, needs_author, wait},
    body,
    content::check_beginning,
    outcomes, respond,
};
use crate::{
    clock::now_ms,
    gateway::Gateway,
    outcome::{new_id, refusal_of},
};

/// How many bytes of one batch the sequencer has at most, when it has more than one append of it: a
/// block that is written, and the next one.
const IN_HAND_BYTES: usize = 2 * BLOCK_BYTES;

const NOT_TRIED: &str = "a line before this one was not taken and comes first; send both again";

/// What became of a line.
pub(super) enum Line {
    /// It is at this slot; it was there already, or not.
    Entry { id: EntryId, slot: Slot, repeat: bool },
    /// It was refused, or nobody knows.
    Error(Box<Refusal>),
    /// The sequencer has it.
    InHand { id: EntryId, weight: usize },
}

pub(super) async fn take(
    gateway: &Arc<Gateway>,
    room: RoomName,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    if headers.contains_key("idempotency-key") {
        let message = "an Idempotency-Key names one append; in a batch each line has its own `id`";
        return Err(Refusal::new(ErrorCode::BadMessage, message));
    }
    let body =
        body::read(gateway, body, gateway.config.batch_bytes, Some(&gateway.batches)).await?;
    if let Err(unread) = check_beginning(&body.bytes) {
        return Ok(unread.answer());
    }
    let is_append = |line: &&[u8]| !line.trim_ascii().is_empty();
    let lines: Vec<_> = body.bytes.split(|byte| *byte == b'\n').filter(is_append).collect();
    if lines.len() > BATCH_APPENDS {
        let message = format!("{} appends are more than {BATCH_APPENDS}", lines.len());
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let done = Batch::new(gateway, room.clone()).run(&lines).await;
    drop(body);
    let answer = outcomes::body(gateway.clone(), room, done);
    Ok(respond(StatusCode::OK, "application/x-ndjson", answer))
}

struct Batch<'a> {
    gateway: &'a Gateway,
    room: RoomName,
    mailbox: Arc<Mailbox>,
    queue: Queue,
    received: u64,
    read: Instant,
    lines: Vec<Line>,
    /// Appends to submit together, so that they share a block: their lines are in hand.
    ready: Vec<(u64, Draft)>,
    ready_bytes: usize,
    in_hand: usize,
    in_hand_bytes: usize,
    /// A line was not taken and may come again: what follows is not tried.
    stopped: bool,
}

impl<'a> Batch<'a> {
    fn new(gateway: &'a Gateway, room: RoomName) -> Self {
        let mailbox = Arc::default();
        Self {
            gateway,
            room,
            queue: gateway.node.queue(&mailbox),
            mailbox,
            received: now_ms(),
            read: Instant::now(),
            lines: Vec::new(),
            ready: Vec::new(),
            ready_bytes: 0,
            in_hand: 0,
            in_hand_bytes: 0,
            stopped: false,
        }
    }

    /// Until when it may take.
    fn deadline(&self) -> Instant {
        self.read + self.gateway.append_for()
    }

    /// Takes the lines and waits for their outcomes; one of each.
    async fn run(mut self, lines: &[&[u8]]) -> Vec<Line> {
        for line in lines {
            let tried = self.try_line(line).await;
            if self.stopped {
                break;
            }
            if let Err(refusal) = tried {
                self.refuse(refusal);
            }
        }
        self.submit_ready();
        while self.in_hand > 0 && self.hear().await {}
        self.finish(lines.len())
    }

    /// Takes a line in hand. When one before it has stopped the batch, it is not tried.
    async fn try_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let most = self.gateway.config.limits.frame_bytes;
        if line.len() as u64 > most {
            let message = format!("the line has more than {most} bytes");
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        let mut append = members(self.gateway, &self.room, line)?;
        needs_author(&append)?;
        let id = append.id.get_or_insert_with(new_id).clone();
        let named = |refusal| Refusal { id: Some(id.clone()), ..refusal };
        if append.after.is_some() || append.reference.is_some() {
            // It may wait for one before it.
            self.submit_ready();
            let waited = timeout_at(self.deadline(), wait(self.gateway, &self.room, &append)).await;
            self.take_mail();
            if self.stopped {
                return Ok(());
            }
            waited.unwrap_or_else(|_| Err(too_slow())).map_err(named)?;
        }
        let Some(author) = append.author.clone() else { return Ok(()) };
        let draft = Draft::new(append, author, id.clone(), self.received);
        self.make_room(draft.weight()).await.map_err(named)?;
        if !self.stopped {
            self.get_ready(draft, id);
        }
        Ok(())
    }

    /// Waits until the sequencer has room for as much of this batch, or the batch is stopped.
    async fn make_room(&mut self, weight: usize) -> Result<(), Refusal> {
        if self.ready.len() >= BLOCK_ENTRIES || self.ready_bytes + weight > BLOCK_BYTES {
            self.submit_ready();
        }
        let full = |batch: &Self| {
            batch.in_hand > 0 && batch.in_hand_bytes + batch.ready_bytes + weight > IN_HAND_BYTES
        };
        while !self.stopped && full(self) {
            if !self.hear().await {
                return Err(too_slow());
            }
        }
        Ok(())
    }

    fn get_ready(&mut self, draft: Draft, id: EntryId) {
        let (token, weight) = (self.lines.len() as u64, draft.weight());
        self.ready.push((token, draft.numbered(token)));
        self.ready_bytes += weight;
        self.lines.push(Line::InHand { id, weight });
    }

    /// Submits what is ready; if the batch is stopped, it is not tried any more.
    fn submit_ready(&mut self) {
        self.ready_bytes = 0;
        let mut rest = std::mem::take(&mut self.ready);
        if !self.stopped {
            let weights: Vec<_> = rest.iter().map(|(_, draft)| draft.weight()).collect();
            let (outcome, not_taken) = match self.queue.append_all(rest) {
                Ok(()) => (None, Vec::new()),
                Err((outcome, not_taken)) => (Some(outcome), not_taken),
            };
            rest = not_taken;
            let taken = weights.len() - rest.len();
            self.in_hand += taken;
            self.in_hand_bytes += weights[..taken].iter().sum::<usize>();
            if let (Some(outcome), false) = (outcome, rest.is_empty()) {
                let (token, draft) = rest.remove(0);
                self.settle(token, draft.id().clone(), &outcome);
            }
        }
        for (token, draft) in rest {
            let refusal = Refusal::new(ErrorCode::OutOfOrder, NOT_TRIED);
            let outcome = AppendOutcome::Invalid(Box::new(refusal));
            self.settle(token, draft.id().clone(), &outcome);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if !refusal.code.is_final() {
            // What stands before it goes all the same, and may stop the batch before it.
            self.submit_ready();
            self.stopped = true;
        }
        let refusal = Refusal { room: Some(self.room.clone()), ..refusal };
        self.lines.push(Line::Error(Box::new(refusal)));
    }

    /// Waits for outcomes; `false` when none came in time.
    async fn hear(&mut self) -> bool {
        let heard = timeout_at(self.deadline(), self.mailbox.wait()).await.is_ok();
        self.take_mail();
        heard
    }

    fn take_mail(&mut self) {
        for (token, outcome) in self.mailbox.take().outcomes {
            let at = usize::try_from(token).unwrap_or(usize::MAX);
            let Some(Line::InHand { id, weight }) = self.lines.get(at) else { continue };
            let id = id.clone();
            self.in_hand -= 1;
            self.in_hand_bytes -= *weight;
            self.settle(token, id, &outcome);
        }
    }

    /// Notes the outcome of a line that was in hand.
    fn settle(&mut self, token: u64, id: EntryId, outcome: &AppendOutcome) {
        let line = match (outcome, refusal_of(outcome)) {
            (_, Some(refusal)) => {
                self.stopped |= !refusal.code.is_final();
                let room = Some(self.room.clone());
                Line::Error(Box::new(Refusal { room, id: Some(id), ..refusal }))
            }
            (AppendOutcome::Committed { slot, repeat, .. }, None) => {
                self.gateway.config.metrics.appended(*repeat, self.read.elapsed());
                Line::Entry { id, slot: *slot, repeat: *repeat }
            }
            (_, None) => return,
        };
        let at = usize::try_from(token).unwrap_or(usize::MAX);
        if let Some(there) = self.lines.get_mut(at) {
            *there = line;
        }
    }

    /// Gives each line its outcome: what is still in hand has none that is known, and what stands
    /// behind a line that may come again, and is not stored, comes after it.
    fn finish(mut self, count: usize) -> Vec<Line> {
        let room = Some(self.room.clone());
        let error = |refusal: Refusal, id: Option<EntryId>| {
            Line::Error(Box::new(Refusal { room: room.clone(), id, ..refusal }))
        };
        let not_tried = || Refusal::new(ErrorCode::OutOfOrder, NOT_TRIED);
        let mut broken = false;
        for line in &mut self.lines {
            if let Line::InHand { id, .. } = line {
                let id = Some(id.clone());
                *line = error(refusal_of(&AppendOutcome::Unknown).unwrap_or_else(not_tried), id);
            }
            let Line::Error(refusal) = line else { continue };
            let known_to_be_nothing = refusal.code != ErrorCode::UnknownOutcome;
            if broken && !refusal.code.is_final() && known_to_be_nothing {
                *line = error(not_tried(), refusal.id.clone());
            } else {
                broken |= !refusal.code.is_final();
            }
        }
        let rest = count.saturating_sub(self.lines.len());
        let rest: Vec<_> = std::iter::repeat_with(|| error(not_tried(), None)).take(rest).collect();
        self.lines.extend(rest);
        for line in &self.lines {
            if let Line::Error(refusal) = line {
                self.gateway.config.metrics.refused(refusal.code);
            }
        }
        self.lines
    }
}

fn too_slow() -> Refusal {
    let message = "the batch has taken as long as an append may; send this line and the rest again";
    Refusal::new(ErrorCode::Busy, message)
}
