//! `POST …/entries` of many appends, a line each.
//!
//! ```text
//!  body ──line by line──► sequencer, as one numbered queue ──► outcomes ──in order──► answer
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
    block::BLOCK_BYTES,
    mailbox::Mailbox,
    merge::{QueueId, merge_time},
    proposal::Proposal,
    sequencer::{Submit, Ticket},
};
use roomlog_protocol::{EntryId, ErrorCode, Refusal, RoomName, Slot, limits::BATCH_APPENDS};
use tokio::time::{Instant, timeout_at};

use super::{
    append::{members, needs_author, submit, wait},
    body, outcomes, respond, room_of,
};
use crate::{
    clock::now_ms,
    connection::{Settled, new_id},
    gateway::Gateway,
};

/// How many bytes of one batch the sequencer has at most, when it has more than one append of it: a
/// block to write, and the next one.
const IN_HAND_BYTES: usize = 2 * BLOCK_BYTES;

const NOT_TRIED: &str = "a line before this one was not taken and comes first; send both again";

const UNKNOWN: &str = "it is not known whether this was committed; send it again with the same id";

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
    room: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let room = room_of(room)?;
    if headers.contains_key("idempotency-key") {
        let message = "an Idempotency-Key names one append; in a batch each line has its own `id`";
        return Err(Refusal::new(ErrorCode::BadMessage, message));
    }
    let body =
        body::read(gateway, body, gateway.config.batch_bytes, Some(&gateway.batches)).await?;
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
    queue: QueueId,
    received: u64,
    deadline: Instant,
    lines: Vec<Line>,
    in_hand: usize,
    in_hand_bytes: usize,
    /// A line was not taken and may come again: what follows is not tried.
    stopped: bool,
}

impl<'a> Batch<'a> {
    fn new(gateway: &'a Gateway, room: RoomName) -> Self {
        Self {
            gateway,
            room,
            mailbox: Arc::default(),
            queue: gateway.next_queue(),
            received: now_ms(),
            deadline: Instant::now() + gateway.append_for(),
            lines: Vec::new(),
            in_hand: 0,
            in_hand_bytes: 0,
            stopped: false,
        }
    }

    /// Takes the lines and waits for their outcomes; one of each.
    async fn run(mut self, lines: &[&[u8]]) -> Vec<Line> {
        for line in lines {
            if let Err(refusal) = self.try_line(line).await {
                self.refuse(refusal);
            }
            if self.stopped {
                break;
            }
        }
        while self.in_hand > 0 && self.hear(self.deadline).await {}
        if self.stopped {
            // The sequencer remembers what has to come first; nothing more will.
            self.gateway.node.inbox.forget(self.queue);
        }
        self.finish(lines.len())
    }

    /// Takes a line in hand. When one before it has stopped the batch, it is not tried.
    async fn try_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.len() as u64 > self.gateway.config.limits.frame_bytes {
            let most = self.gateway.config.limits.frame_bytes;
            let message = format!("the line has more than {most} bytes");
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        let mut append = members(self.gateway, &self.room, line)?;
        needs_author(&append)?;
        let id = append.id.get_or_insert_with(new_id).clone();
        let named = |refusal| Refusal { id: Some(id.clone()), ..refusal };
        let waited = timeout_at(self.deadline, wait(self.gateway, &self.room, &append)).await;
        self.take_mail();
        if self.stopped {
            return Ok(());
        }
        waited.unwrap_or_else(|_| Err(too_slow())).map_err(named)?;
        let Some(author) = append.author.clone() else { return Ok(()) };
        let time = merge_time(append.sent_at, self.received);
        let proposal = Proposal::new(append, author, id.clone());
        let weight = proposal.weight();
        while self.in_hand > 0 && self.in_hand_bytes + weight > IN_HAND_BYTES {
            if !self.hear(self.deadline).await {
                return Err(named(too_slow()));
            }
            if self.stopped {
                return Ok(());
            }
        }
        let token = self.lines.len() as u64;
        let ticket =
            Ticket { mailbox: self.mailbox.clone(), token, queue: self.queue, seq: Some(token) };
        match submit(self.gateway, Submit { proposal, time, ticket }) {
            Ok(()) => {
                self.lines.push(Line::InHand { id, weight });
                self.in_hand += 1;
                self.in_hand_bytes += weight;
                Ok(())
            }
            Err(turned) => {
                self.settle(None, id, turned);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.stopped |= !refusal.code.is_final();
        let refusal = Refusal { room: Some(self.room.clone()), ..refusal };
        self.lines.push(Line::Error(Box::new(refusal)));
    }

    /// Waits for outcomes; `false` when none came in time.
    async fn hear(&mut self, deadline: Instant) -> bool {
        let heard = timeout_at(deadline, self.mailbox.wait()).await.is_ok();
        self.take_mail();
        heard
    }

    fn take_mail(&mut self) {
        for (token, outcome) in self.mailbox.take().outcomes {
            let line = usize::try_from(token).ok().and_then(|at| self.lines.get_mut(at));
            let Some(Line::InHand { id, weight }) = line else { continue };
            let id = id.clone();
            self.in_hand -= 1;
            self.in_hand_bytes -= *weight;
            self.settle(usize::try_from(token).ok(), id.clone(), Settled::of(outcome, id));
        }
    }

    /// Notes what settled a line that was in hand, or the next one.
    fn settle(&mut self, at: Option<usize>, id: EntryId, settled: Settled) {
        let line = match settled {
            Settled::Appended { id, slot, repeat, .. } => Line::Entry { id, slot, repeat },
            Settled::Error { code, message, slot, latest } => {
                self.stopped |= !code.is_final();
                let room = Some(self.room.clone());
                let refusal = Refusal::new(code, message);
                Line::Error(Box::new(Refusal { room, id: Some(id), slot, latest, ..refusal }))
            }
        };
        match at.and_then(|at| self.lines.get_mut(at)) {
            Some(there) => *there = line,
            None => self.lines.push(line),
        }
    }

    /// Gives each line its outcome: what is still in hand has none that is known, and what stands
    /// behind a line that may come again, and is not stored, comes after it.
    fn finish(mut self, count: usize) -> Vec<Line> {
        let error = |code, message: &str, id: Option<EntryId>| {
            let room = Some(self.room.clone());
            Line::Error(Box::new(Refusal { room, id, ..Refusal::new(code, message) }))
        };
        let mut broken = false;
        for line in &mut self.lines {
            if let Line::InHand { id, .. } = line {
                *line = error(ErrorCode::UnknownOutcome, UNKNOWN, Some(id.clone()));
            }
            let Line::Error(refusal) = line else { continue };
            let known_to_be_nothing = refusal.code != ErrorCode::UnknownOutcome;
            if broken && !refusal.code.is_final() && known_to_be_nothing {
                *line = error(ErrorCode::OutOfOrder, NOT_TRIED, refusal.id.clone());
            } else {
                broken |= !refusal.code.is_final();
            }
        }
        let not_tried = || error(ErrorCode::OutOfOrder, NOT_TRIED, None);
        let rest = count.saturating_sub(self.lines.len());
        let rest: Vec<_> = std::iter::repeat_with(not_tried).take(rest).collect();
        self.lines.extend(rest);
        self.lines
    }
}

fn too_slow() -> Refusal {
    let message = "the batch has taken as long as an append may; send this line and the rest again";
    Refusal::new(ErrorCode::Busy, message)
}
