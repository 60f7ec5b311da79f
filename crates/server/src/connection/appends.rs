//! The appends of a connection: from a frame to its answer.
//!
//! Enters: `append` frames, outcomes. Leaves: submits to the sequencer, `appended` and `error` frames.
//! Invariants: every frame is answered once, and a late `appended` may follow an `unknown_outcome`;
//! what is unanswered or submitted is bounded by `appends_in_flight`, because the socket is not read
//! beyond it; so is the mailbox.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use roomlog_core::{
    lane::{Arrival, Step},
    outcome::AppendOutcome,
    queue::Draft,
};
use roomlog_protocol::{
    Appended, ClientAppend, EntryId, ErrorCode, Refusal, RoomName, ServerFrame,
};

use super::{Connection, links::Link};
use crate::{
    clock::now_ms,
    outcome::{new_id, refusal_of},
};

/// An append frame that is in hand.
struct Hand {
    key: u32,
    read: Instant,
    room: RoomName,
    id: Option<EntryId>,
    seq: Option<u64>,
    req: Option<i64>,
    submitted: bool,
    answered: bool,
}

/// The append frames that are in hand.
#[derive(Default)]
pub(super) struct Hands {
    hands: HashMap<u64, Hand>,
    next_token: u64,
    /// Tokens by when they were read; those that are answered are passed over.
    read_at: VecDeque<(Instant, u64)>,
    pub(super) unanswered: usize,
    pub(super) submitted: usize,
    /// Whether something was put into the inbox and the sequencer does not know it yet.
    fresh: bool,
}

impl Hands {
    /// When the oldest was read.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.read_at.front().map(|(at, _)| *at)
    }
}

impl Connection {
    /// Takes an `append` frame.
    pub(super) fn append(&mut self, append: Box<ClientAppend>) {
        let Some(author) = self.author.clone() else { return };
        let author = append.author.clone().unwrap_or(author);
        let entry_id = append.id.clone().unwrap_or_else(new_id);
        let (room, req) = (append.room.clone(), append.req);
        let arrival = Arrival {
            token: 0,
            seq: append.seq,
            id: append.id.clone(),
            entry_id: entry_id.clone(),
            after: append.after,
            reference: append.reference,
            work: Ok(Box::new(Draft::new(*append, author, entry_id.clone(), now_ms()))),
        };
        self.arrive(room, Some(entry_id), req, arrival);
    }

    /// Takes an `append` frame that was refused on input, and that uses up its number.
    pub(super) fn refused_append(&mut self, room: RoomName, seq: u64, refusal: &Refusal) {
        let bare = Refusal::new(refusal.code, refusal.message.clone());
        let arrival = Arrival {
            token: 0,
            seq: Some(seq),
            id: refusal.id.clone(),
            entry_id: refusal.id.clone().unwrap_or_else(new_id),
            after: None,
            reference: None,
            work: Err(AppendOutcome::Invalid(Box::new(bare))),
        };
        self.arrive(room, refusal.id.clone(), refusal.req, arrival);
    }

    fn arrive(
        &mut self,
        room: RoomName,
        id: Option<EntryId>,
        req: Option<i64>,
        arrival: Arrival<Box<Draft>>,
    ) {
        let seq = arrival.seq;
        let refusal = Refusal { id: id.clone(), req, ..Refusal::new(ErrorCode::Busy, "") };
        let Some(key) = self.link(&room, &refusal) else {
            return self.gateway.config.metrics.refused(ErrorCode::Unavailable);
        };
        let numbered = self.links.get(key).is_some_and(|link| link.counts());
        if seq.is_some() && !numbered && self.links.is_full(self.rooms_limit()) {
            let message = "this connection has as many rooms as it may; use another connection";
            return self.refuse_append(Refusal {
                code: ErrorCode::TooLarge,
                message: message.into(),
                ..refusal
            });
        }
        let token = self.hands.next_token;
        self.hands.next_token += 1;
        let now = Instant::now();
        let Some(link) = self.links.get(key) else { return };
        let hand = Hand { key, read: now, room, id, seq, req, submitted: false, answered: false };
        self.hands.hands.insert(token, hand);
        self.hands.unanswered += 1;
        self.hands.read_at.push_back((now, token));
        let mut steps = Vec::new();
        let end = link.tail.head().end;
        link.lane.arrive(Arrival { token, ..arrival }, now, end, &mut steps);
        self.wait_in(key);
        self.take_steps(key, steps);
    }

    /// Does what a lane said.
    pub(super) fn take_steps(&mut self, key: u32, steps: Vec<Step<Box<Draft>>>) {
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Answer { token, outcome, first } => self.answer(token, &outcome, first),
                Step::Submit(token, draft) => {
                    let Some(link) = self.links.get(key) else { return };
                    let Err(outcome) = link.queue.append(token, *draft) else {
                        self.note_submitted(token);
                        continue;
                    };
                    if link.lane.is_numbered() {
                        // What is behind it must come again after it.
                        steps.retain(|step| !matches!(step, Step::Submit(..)));
                    }
                    let mut more = Vec::new();
                    link.lane.settle(token, outcome, &mut more);
                    steps.extend(more);
                }
            }
        }
    }

    /// Shows the sequencer what this turn submitted, all at once.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.hands.fresh) {
            self.gateway.node.flush();
        }
    }

    fn note_submitted(&mut self, token: u64) {
        let Some(hand) = self.hands.hands.get_mut(&token) else { return };
        hand.submitted = true;
        self.hands.submitted += 1;
        self.hands.fresh = true;
        if let Some(link) = self.links.get(hand.key) {
            link.submitted += 1;
        }
    }

    /// Takes the outcome of a submitted append.
    pub(super) fn outcome(&mut self, token: u64, outcome: AppendOutcome) {
        let Some(hand) = self.hands.hands.get_mut(&token) else { return };
        hand.submitted = false;
        self.hands.submitted -= 1;
        let key = hand.key;
        if hand.answered {
            // Answered as unknown, or as behind a rejection: only a commit is worth another answer.
            let Some(hand) = self.hands.hands.remove(&token) else { return };
            self.say_appended(&hand, &outcome, None);
        }
        let Some(link) = self.links.get(key) else { return };
        link.submitted -= 1;
        let mut steps = Vec::new();
        link.lane.settle(token, outcome, &mut steps);
        self.take_steps(key, steps);
    }

    /// Refuses an append on input.
    pub(super) fn refuse_append(&mut self, refusal: Refusal) {
        self.gateway.config.metrics.refused(refusal.code);
        self.refuse(refusal);
    }

    /// Answers a frame, once.
    fn answer(&mut self, token: u64, outcome: &AppendOutcome, first: Option<EntryId>) {
        if self.hands.hands.get(&token).is_none_or(|hand| hand.answered) {
            return;
        }
        self.hands.unanswered -= 1;
        let Some(mut hand) = self.hands.hands.remove(&token) else { return };
        match refusal_of(outcome) {
            None => self.say_appended(&hand, outcome, first),
            Some(refusal) => {
                let latest = match outcome {
                    AppendOutcome::Ahead => self.links.get(hand.key).map(Link::latest),
                    _ => refusal.latest,
                };
                self.refuse_append(Refusal {
                    room: Some(hand.room.clone()),
                    id: hand.id.clone(),
                    seq: refusal.seq.or(hand.seq),
                    req: hand.req,
                    latest,
                    ..refusal
                });
            }
        }
        if hand.submitted {
            hand.answered = true;
            self.hands.hands.insert(token, hand);
        }
    }

    /// Says that an append was committed. `first` is the id of its entry if an earlier frame was.
    fn say_appended(&mut self, hand: &Hand, outcome: &AppendOutcome, first: Option<EntryId>) {
        let AppendOutcome::Committed { slot, committed_at, repeat } = *outcome else { return };
        let repeat = repeat || first.is_some();
        if !hand.answered {
            self.gateway.config.metrics.appended(repeat, hand.read.elapsed());
        }
        let Some(id) = first.or_else(|| hand.id.clone()) else { return };
        let (room, seq, req) = (hand.room.clone(), hand.seq, hand.req);
        let repeat = repeat.then_some(true);
        let appended = Appended { room, id, slot, committed_at, repeat, seq, req };
        self.say(&ServerFrame::Appended(appended));
    }

    /// Answers what has been unanswered for `append_ms`: the journal may still take it.
    pub(super) fn give_up_old_appends(&mut self, now: Instant) {
        let append_for = self.gateway.append_for();
        while let Some((at, token)) = self.hands.read_at.front().copied() {
            let in_hand = self.hands.hands.get(&token).filter(|hand| !hand.answered);
            let key = in_hand.map(|hand| hand.key);
            if key.is_some() && now.saturating_duration_since(at) < append_for {
                return;
            }
            self.hands.read_at.pop_front();
            let submitted = in_hand.is_some_and(|hand| hand.submitted);
            let Some(link) = key.filter(|_| submitted).and_then(|key| self.links.get(key)) else {
                continue;
            };
            let mut steps = Vec::new();
            link.lane.settle(token, AppendOutcome::Unknown, &mut steps);
            self.take_steps(key.unwrap_or_default(), steps);
        }
    }
}
