//! `POST …/entries` of many appends, a line each.
//!
//! ```text
//!  body ──lines──► a block's worth ──► sequencer, one numbered queue ──► outcomes ──► answer
//!           └ invalid: a final error, the next line is read
//! ```
//!
//! Enters: up to [`BATCH_APPENDS`] appends. Leaves: an outcome per line, in order, with the stored
//! entry, also of a repeat; one page is in memory. Invariants: nothing of a body with too many
//! bytes or lines is taken; lines are submitted without waiting for earlier ones, yet nothing is
//! stored after one that was rejected and may be sent again: the queue is numbered, so the
//! sequencer rejects what is in flight behind it, as for a WebSocket's `seq`.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use bytes::Bytes;
use futures_util::stream;
use roomlog_core::{
    block::{BLOCK_BYTES, BLOCK_ENTRIES},
    budget::Charge,
    mailbox::Mailbox,
    outcome::AppendOutcome,
    proposal::Stored,
    queue::{Draft, Queue},
};
use roomlog_protocol::{
    EntryId, ErrorCode, ErrorFrame, Latest, Refusal, RoomName, Slot, Span, limits::BATCH_APPENDS,
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    append::{ANSWER_NOT_HELD, author_of, read_append, wait_for_log},
    body::{self, check_beginning},
};
use crate::{
    admission::pause_after,
    auth::rights::Caller,
    connection::BATCH_BYTES,
    gateway::{FREE_PAGE, Gateway, PageGrant, holds_too_much},
    outcome::{draft, new_id, now_ms, refusal_of},
    principals::ReadTurns,
    wire::{self, bad, respond, unknown_outcome},
};

/// The most bytes of one batch in flight, unless it is a single append: a block that is written,
/// and the next one.
const IN_FLIGHT_BYTES: usize = 2 * BLOCK_BYTES;

/// What a line and its outcome take until they are answered.
const LINE_BYTES: usize = 512;

/// An answer is charged in steps of so many bytes.
const ANSWER_STEP: usize = 16 << 10;

enum Line {
    /// It is stored.
    Entry { id: EntryId, slot: Slot, repeat: bool },
    /// It was rejected, or its outcome is unknown.
    Error(Box<Refusal>),
    /// It is staged, or submitted to the sequencer.
    InFlight { id: EntryId, weight: usize },
}

pub(super) async fn append_batch(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    room: RoomName,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    if headers.contains_key("idempotency-key") {
        let message = "an Idempotency-Key names one append; in a batch each line has its own `id`";
        return Err(bad(message));
    }
    let (client, most) = (&caller.client, gateway.config.batch_bytes);
    let body = body::read(gateway, body, most, client).await?;
    if let Err(error) = check_beginning(&body.bytes) {
        return Ok(error.answer());
    }
    let is_append = |line: &&[u8]| !line.trim_ascii().is_empty();
    let lines = body.bytes.split(|byte| *byte == b'\n').filter(is_append);
    let lines: Vec<_> = lines.take(BATCH_APPENDS + 1).collect();
    if lines.len() > BATCH_APPENDS {
        let message = format!("the body has more than {BATCH_APPENDS} appends");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let outcomes = (lines.len() * LINE_BYTES).saturating_sub(FREE_PAGE);
    let outcomes = client.memory.charge(outcomes).ok_or_else(holds_too_much)?;
    let lines = Batch::new(gateway, caller, room.clone()).run(&lines).await;
    drop(body);
    if let Some(pause) = lines.iter().filter_map(Line::pause).max() {
        sleep(pause).await;
    }
    let answer = BatchAnswer {
        gateway: gateway.clone(),
        turns: client.principal.reads.clone(),
        room,
        lines: lines.into(),
        _outcomes: outcomes,
        page: Vec::new(),
        page_charge: client.memory.open(),
    };
    let chunks = stream::unfold(answer, async |mut answer: BatchAnswer| {
        let chunk = answer.next().await?;
        Some((Ok::<_, Infallible>(chunk), answer))
    });
    Ok(respond(StatusCode::OK, "application/x-ndjson", Body::from_stream(chunks)))
}

struct Batch<'a> {
    gateway: &'a Gateway,
    caller: &'a Caller,
    room: RoomName,
    mailbox: Arc<Mailbox>,
    queue: Queue,
    received: u64,
    read: Instant,
    lines: Vec<Line>,
    /// Appends to submit together, so that they share a block.
    staged: Vec<(u64, Draft)>,
    staged_bytes: usize,
    in_flight: usize,
    in_flight_bytes: usize,
    /// A line was not stored and may be sent again: what follows is not tried.
    stopped: bool,
    /// The room has entries, or this batch may make the first.
    may_begin_room: bool,
}

impl<'a> Batch<'a> {
    fn new(gateway: &'a Gateway, caller: &'a Caller, room: RoomName) -> Self {
        let mailbox = Arc::default();
        Self {
            gateway,
            caller,
            room,
            queue: gateway.node.queue(&mailbox),
            mailbox,
            received: now_ms(),
            read: Instant::now(),
            lines: Vec::new(),
            staged: Vec::new(),
            staged_bytes: 0,
            in_flight: 0,
            in_flight_bytes: 0,
            stopped: false,
            may_begin_room: false,
        }
    }

    fn deadline(&self) -> Instant {
        self.read + self.gateway.config.limits.append_for
    }

    async fn run(mut self, lines: &[&[u8]]) -> Vec<Line> {
        for line in lines {
            let tried = self.try_line(line).await;
            if self.stopped {
                break;
            }
            if let Err(refusal) = tried {
                self.reject(refusal);
            }
        }
        self.submit_staged();
        while self.in_flight > 0 && self.wait_for_mail().await {}
        self.finish(lines.len())
    }

    /// Stages a line, unless an earlier one has stopped the batch.
    async fn try_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let most = self.gateway.config.limits.frame_bytes;
        if line.len() > most {
            let message = format!("the line has more than {most} bytes");
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        let mut append = read_append(self.gateway, &self.room, line)?;
        let author = author_of(self.caller, &append)?;
        let id = append.id.get_or_insert_with(new_id).clone();
        let named = |refusal| Refusal { id: Some(id.clone()), ..refusal };
        self.caller.client.admit_append().map_err(named)?;
        self.caller.check_redaction(&append).map_err(named)?;
        if append.after.is_some() || append.reference.is_some() {
            // It may wait for an earlier line of this batch.
            self.submit_staged();
            let wait = wait_for_log(self.gateway, &self.room, &append);
            let waited = timeout_at(self.deadline(), wait).await;
            self.take_mail();
            if self.stopped {
                return Ok(());
            }
            waited.unwrap_or_else(|_| Err(timed_out())).map_err(named)?;
        }
        if !self.may_begin_room {
            let Caller { client, access, .. } = self.caller;
            client.admit_first_in(self.gateway, access, &self.room).map_err(named)?;
            self.may_begin_room = true;
        }
        let whose = (author, id.clone());
        let charge = self.caller.client.charge_append(&append);
        let charge = timeout_at(self.deadline(), charge).await.map_err(|_| named(timed_out()))?;
        let charge =
            charge.map_err(|outcome| named(refusal_of(&outcome).unwrap_or_else(not_tried)))?;
        let draft = draft(&self.caller.access, append, whose, self.received, charge);
        let weight = draft.weight();
        self.wait_for_capacity(weight).await.map_err(named)?;
        if !self.stopped {
            let token = self.lines.len() as u64;
            self.staged.push((token, draft.numbered(token)));
            self.staged_bytes += weight;
            self.lines.push(Line::InFlight { id, weight });
        }
        Ok(())
    }

    /// Waits until `weight` more bytes may be in flight, or the batch is stopped.
    async fn wait_for_capacity(&mut self, weight: usize) -> Result<(), Refusal> {
        if self.staged.len() >= BLOCK_ENTRIES || self.staged_bytes + weight > BLOCK_BYTES {
            self.submit_staged();
        }
        while !self.stopped
            && self.in_flight > 0
            && self.in_flight_bytes + self.staged_bytes + weight > IN_FLIGHT_BYTES
        {
            if !self.wait_for_mail().await {
                return Err(timed_out());
            }
        }
        Ok(())
    }

    /// Submits what is staged; once the batch is stopped, that is not tried.
    fn submit_staged(&mut self) {
        self.staged_bytes = 0;
        let mut rest = std::mem::take(&mut self.staged);
        if !self.stopped {
            let weights: Vec<_> = rest.iter().map(|(_, draft)| draft.weight()).collect();
            let (outcome, not_taken) = match self.queue.append_all(rest) {
                Ok(()) => (None, Vec::new()),
                Err((outcome, not_taken)) => (Some(outcome), not_taken),
            };
            rest = not_taken;
            let taken = weights.len() - rest.len();
            self.in_flight += taken;
            self.in_flight_bytes += weights[..taken].iter().sum::<usize>();
            if let (Some(outcome), false) = (outcome, rest.is_empty()) {
                let (token, draft) = rest.remove(0);
                self.settle(token, draft.id().clone(), &outcome);
            }
        }
        for (token, draft) in rest {
            let outcome = AppendOutcome::Invalid(Box::new(not_tried()));
            self.settle(token, draft.id().clone(), &outcome);
        }
    }

    fn reject(&mut self, refusal: Refusal) {
        if !refusal.code.is_final() {
            // Earlier lines are submitted all the same, and may stop the batch before this one.
            self.submit_staged();
            self.stopped = true;
        }
        let error = self.error(refusal.id.clone(), refusal);
        self.lines.push(error);
    }

    fn error(&self, id: Option<EntryId>, refusal: Refusal) -> Line {
        Line::Error(Box::new(Refusal { room: Some(self.room.clone()), id, ..refusal }))
    }

    /// Waits for outcomes; `false` if none came in time.
    async fn wait_for_mail(&mut self) -> bool {
        let in_time = timeout_at(self.deadline(), self.mailbox.wait()).await.is_ok();
        self.take_mail();
        in_time
    }

    fn take_mail(&mut self) {
        for (token, outcome) in self.mailbox.take().outcomes {
            let at = usize::try_from(token).unwrap_or(usize::MAX);
            let Some(Line::InFlight { id, weight }) = self.lines.get(at) else { continue };
            let id = id.clone();
            self.in_flight -= 1;
            self.in_flight_bytes -= *weight;
            self.settle(token, id, &outcome);
        }
    }

    fn settle(&mut self, token: u64, id: EntryId, outcome: &AppendOutcome) {
        let line = match (outcome, refusal_of(outcome)) {
            (_, Some(refusal)) => {
                self.stopped |= !refusal.code.is_final();
                self.error(Some(id), refusal)
            }
            (AppendOutcome::Committed { slot, repeat, .. }, None) => {
                self.gateway.config.metrics.appended(*repeat, self.read.elapsed());
                Line::Entry { id, slot: *slot, repeat: *repeat }
            }
            (_, None) => return,
        };
        let at = usize::try_from(token).unwrap_or(usize::MAX);
        if let Some(settled) = self.lines.get_mut(at) {
            *settled = line;
        }
    }

    /// Gives each line its outcome: unknown if it is still in flight; not tried if it is not stored
    /// and comes after a line that may be sent again.
    fn finish(mut self, count: usize) -> Vec<Line> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.resize_with(count.max(lines.len()), || self.error(None, not_tried()));
        let mut broken = false;
        for line in &mut lines {
            if let Line::InFlight { id, .. } = line {
                let unknown = refusal_of(&AppendOutcome::Unknown).unwrap_or_else(not_tried);
                *line = self.error(Some(id.clone()), unknown);
            }
            let Line::Error(refusal) = line else { continue };
            if broken && !refusal.code.is_final() && refusal.code != ErrorCode::UnknownOutcome {
                let (room, id) = (refusal.room.take(), refusal.id.take());
                **refusal = Refusal { room, id, ..not_tried() };
            }
            broken |= !refusal.code.is_final();
            self.gateway.config.metrics.refused(refusal.code);
        }
        lines
    }
}

fn not_tried() -> Refusal {
    let message = "an earlier line was not stored; send both again, in order";
    Refusal::new(ErrorCode::OutOfOrder, message)
}

fn timed_out() -> Refusal {
    let message = "the batch has taken as long as an append may; send this line and the rest again";
    Refusal::new(ErrorCode::Busy, message)
}

/// The answer to a batch, encoded as the socket takes it.
struct BatchAnswer {
    gateway: Arc<Gateway>,
    turns: Arc<ReadTurns>,
    room: RoomName,
    lines: VecDeque<Line>,
    _outcomes: Charge,
    page: Vec<Stored>,
    page_charge: Charge,
}

impl BatchAnswer {
    /// The next lines, as many as may be held.
    async fn next(&mut self) -> Option<Bytes> {
        let (mut chunk, mut charge) = (Vec::new(), self.page_charge.account().open());
        while chunk.len() < BATCH_BYTES {
            let Some(line) = self.lines.pop_front() else { break };
            let mut text = self.encode(&line).await;
            if !charge.cover(chunk.len() + text.len(), FREE_PAGE, ANSWER_STEP) {
                if !chunk.is_empty() {
                    self.lines.push_front(line);
                    break;
                }
                text = self.error(line.id(), unknown_outcome(ANSWER_NOT_HELD));
            }
            chunk.extend(text);
            chunk.push(b'\n');
        }
        chunk.shrink_to_fit();
        (!chunk.is_empty()).then(|| wire::charged(chunk.into(), charge))
    }

    async fn encode(&mut self, line: &Line) -> Vec<u8> {
        match line {
            Line::Entry { slot, repeat, .. } => match self.entry(*slot).await {
                Ok(stored) => {
                    let end: &[u8] = if *repeat { br#","repeat":true}"# } else { b"}" };
                    [br#"{"entry":"#, &*wire::json(&stored.entry), end].concat()
                }
                Err(refusal) => self.error(line.id(), refusal),
            },
            Line::Error(refusal) => error_line((**refusal).clone()),
            Line::InFlight { .. } => error_line(unknown_outcome("the append was interrupted")),
        }
    }

    fn error(&self, id: Option<EntryId>, refusal: Refusal) -> Vec<u8> {
        error_line(Refusal { room: Some(self.room.clone()), id, ..refusal })
    }

    async fn entry(&mut self, slot: Slot) -> Result<&Stored, Refusal> {
        let at = |page: &[Stored]| page.iter().position(|stored| stored.entry.slot == slot);
        if at(&self.page).is_none() {
            // The page before is not needed any more.
            let account = self.page_charge.account().clone();
            (self.page, self.page_charge) = (Vec::new(), account.open());
            let PageGrant { limits, charge, .. } =
                PageGrant::new(&account, self.run_from(slot), BATCH_BYTES);
            self.page_charge = charge;
            let span = Span::After(Latest::before(slot));
            let read = self.gateway.page(&self.turns, &self.room, span, None, limits).await;
            self.page = read.map_err(|error| unknown_outcome(error.to_string()))?.entries;
        }
        let missing = || unknown_outcome("the entry cannot be read");
        at(&self.page).and_then(|at| self.page.get(at)).ok_or_else(missing)
    }

    /// How many lines from this one on have consecutive slots: they fit one page.
    fn run_from(&self, slot: Slot) -> usize {
        let is_at = |line: &Line, at: Slot| matches!(line, Line::Entry { slot, .. } if *slot == at);
        let run = self.lines.iter().zip(slot + 1..).take_while(|(line, at)| is_at(line, *at));
        (run.count() + 1).min(self.gateway.config.limits.page_entries)
    }
}

fn error_line(refusal: Refusal) -> Vec<u8> {
    wire::json(&json!({ "error": ErrorFrame::from(refusal) }))
}

impl Line {
    /// How long its client has to wait; `None` if it need not.
    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Error(refusal) => pause_after(refusal),
            _ => None,
        }
    }

    /// The id of its append, if it is known.
    fn id(&self) -> Option<EntryId> {
        match self {
            Self::Entry { id, .. } | Self::InFlight { id, .. } => Some(id.clone()),
            Self::Error(refusal) => refusal.id.clone(),
        }
    }
}
