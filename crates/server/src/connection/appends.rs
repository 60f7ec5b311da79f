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
    append::{
        inbox::Turned,
        lane::{Answer, Arrival, Effect, Step},
        merge::merge_time,
        sequencer::{Submit, Ticket},
    },
    outcome::Outcome,
    proposal::Proposal,
};
use roomlog_protocol::{
    Appended, ClientAppend, EntryId, ErrorCode, Refusal, RoomName, ServerFrame, latest_of,
};

use super::{
    Connection,
    settled::{Settled, new_id},
};
use crate::clock::now_ms;

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
        let id = append.id.clone();
        let entry_id = id.clone().unwrap_or_else(new_id);
        let received = now_ms();
        let time = merge_time(append.sent_at, received);
        let arrival = Arrival {
            token: 0,
            seq: append.seq,
            id: id.clone(),
            after: append.after,
            reference: append.reference,
            work: Ok(()),
        };
        let (room, req) = (append.room.clone(), append.req);
        let proposal = Proposal::new(*append, author, entry_id.clone());
        self.arrive(room, Some(entry_id), req, arrival, |ticket| {
            Ok(Box::new(Submit { proposal, time, ticket }))
        });
    }

    /// Takes an `append` frame that the door refused, and that uses its number up.
    pub(super) fn refused_append(&mut self, room: RoomName, seq: u64, refusal: &Refusal) {
        let arrival = Arrival {
            token: 0,
            seq: Some(seq),
            id: refusal.id.clone(),
            after: None,
            reference: None,
            work: Ok(()),
        };
        let settled = Settled::error(refusal.code, &refusal.message);
        self.arrive(room, refusal.id.clone(), refusal.req, arrival, |_| Err(settled));
    }

    fn arrive(
        &mut self,
        room: RoomName,
        id: Option<EntryId>,
        req: Option<i64>,
        arrival: Arrival<(), Settled>,
        work: impl FnOnce(Ticket) -> Result<Box<Submit>, Settled>,
    ) {
        let Arrival { seq, id: sent_id, after, reference, .. } = arrival;
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
        let ticket = Ticket { mailbox: self.mailbox.clone(), token, queue: link.queue, seq };
        let hand = Hand { key, read: now, room, id, seq, req, submitted: false, answered: false };
        self.hands.hands.insert(token, hand);
        self.hands.unanswered += 1;
        self.hands.read_at.push_back((now, token));
        let arrival = Arrival { token, seq, id: sent_id, after, reference, work: work(ticket) };
        let mut steps = Vec::new();
        let end = link.tail.head().end;
        link.lane.arrive(arrival, now, end, &mut steps);
        self.wait_in(key);
        self.take_steps(key, steps);
    }

    /// Does what a lane said.
    pub(super) fn take_steps(&mut self, key: u32, steps: Vec<Step<Box<Submit>, Settled>>) {
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Answer(token, answer) => self.answer(token, answer),
                Step::Submit(token, submit) => {
                    let Err(turned) = self.gateway.node.inbox.put(*submit) else {
                        self.note_submitted(token);
                        continue;
                    };
                    if turned == Turned::Busy {
                        self.gateway.node.stats.busy();
                    }
                    let Some(link) = self.links.get(key) else { return };
                    if link.lane.is_numbered() {
                        // What is behind it must come again after it.
                        steps.retain(|step| !matches!(step, Step::Submit(..)));
                    }
                    let mut more = Vec::new();
                    link.lane.settle(token, Effect::Refused, Settled::turned(turned), &mut more);
                    steps.extend(more);
                }
            }
        }
    }

    /// Lets the sequencer know of what this turn put into the inbox, all at once.
    pub(super) fn ring(&mut self) {
        if std::mem::take(&mut self.hands.fresh) {
            self.gateway.node.inbox.ring();
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
    pub(super) fn outcome(&mut self, token: u64, outcome: Outcome) {
        let Some(hand) = self.hands.hands.get_mut(&token) else { return };
        hand.submitted = false;
        self.hands.submitted -= 1;
        let key = hand.key;
        let Some(id) = hand.id.clone() else { return };
        let settled = Settled::of(outcome, id);
        let effect = settled.effect();
        if hand.answered {
            // Answered as unknown, or as behind a refusal: only a commit is worth another word.
            let Some(hand) = self.hands.hands.remove(&token) else { return };
            if let Settled::Appended { .. } = settled {
                self.say_settled(&hand, settled.clone(), false);
            }
        }
        let Some(link) = self.links.get(key) else { return };
        link.submitted -= 1;
        let mut steps = Vec::new();
        link.lane.settle(token, effect, settled, &mut steps);
        self.take_steps(key, steps);
    }

    /// Refuses an append that goes no further than the door.
    pub(super) fn refuse_append(&mut self, refusal: Refusal) {
        self.gateway.config.metrics.refused(refusal.code);
        self.refuse(refusal);
    }

    /// Counts an answer: the first one to its frame.
    fn count(&self, answer: &Answer<Settled>, read: Instant) {
        let metrics = &self.gateway.config.metrics;
        let (settled, again) = match answer {
            Answer::Settled(settled) => (settled, false),
            Answer::Again(settled) => (settled, true),
            Answer::Ahead => return metrics.refused(ErrorCode::Ahead),
            Answer::BadRef => return metrics.refused(ErrorCode::BadRef),
            Answer::OutOfOrder(_) => return metrics.refused(ErrorCode::OutOfOrder),
            Answer::OtherId | Answer::Mixed => return metrics.refused(ErrorCode::BadMessage),
            Answer::Unavailable => return metrics.refused(ErrorCode::Unavailable),
        };
        match settled {
            Settled::Appended { repeat, .. } => metrics.appended(*repeat || again, read.elapsed()),
            Settled::Error { code, .. } => metrics.refused(*code),
        }
    }

    /// Answers a frame.
    fn answer(&mut self, token: u64, answer: Answer<Settled>) {
        let Some(hand) = self.hands.hands.get_mut(&token) else { return };
        if std::mem::replace(&mut hand.answered, true) {
            return;
        }
        self.hands.unanswered -= 1;
        let latest = |connection: &mut Self, key| {
            connection.links.get(key).map(|link| latest_of(link.tail.head().end))
        };
        let Some(hand) = self.hands.hands.remove(&token) else { return };
        self.count(&answer, hand.read);
        match answer {
            Answer::Settled(settled) => self.say_settled(&hand, settled, false),
            Answer::Again(settled) => self.say_settled(&hand, settled, true),
            Answer::Unavailable => self.say_settled(&hand, Settled::unavailable(), false),
            Answer::Ahead => {
                let latest = latest(self, hand.key);
                let message = "the log has not reached `after`; update, then send it again";
                self.say_error(&hand, ErrorCode::Ahead, message, |error| error.latest = latest);
            }
            Answer::BadRef => {
                let message = "`ref` names a slot that the log has not reached";
                self.say_error(&hand, ErrorCode::BadRef, message, |_| {});
            }
            Answer::OutOfOrder(expected) => {
                let message = format!("append {expected} of this connection and room comes first");
                self.say_error(&hand, ErrorCode::OutOfOrder, &message, |error| {
                    error.seq = Some(expected);
                });
            }
            Answer::OtherId => {
                let message = "this `seq` was used with another id";
                self.say_error(&hand, ErrorCode::BadMessage, message, |_| {});
            }
            Answer::Mixed => {
                let message = "a connection uses `seq` for a room always or never";
                self.say_error(&hand, ErrorCode::BadMessage, message, |_| {});
            }
        }
        if hand.submitted {
            self.hands.hands.insert(token, hand);
        }
    }

    fn say_settled(&mut self, hand: &Hand, settled: Settled, again: bool) {
        match settled {
            Settled::Appended { id, slot, committed_at, repeat } => {
                self.say(&ServerFrame::Appended(Appended {
                    room: hand.room.clone(),
                    id,
                    slot,
                    committed_at,
                    repeat: (repeat || again).then_some(true),
                    seq: hand.seq,
                    req: hand.req,
                }));
            }
            Settled::Error { code, message, slot, latest } => {
                self.say_error(hand, code, &message, |error| {
                    error.slot = slot;
                    error.latest = latest;
                });
            }
        }
    }

    fn say_error(
        &mut self,
        hand: &Hand,
        code: ErrorCode,
        message: &str,
        more: impl FnOnce(&mut Refusal),
    ) {
        let mut refusal = Refusal {
            room: Some(hand.room.clone()),
            id: hand.id.clone(),
            seq: hand.seq,
            req: hand.req,
            ..Refusal::new(code, message)
        };
        more(&mut refusal);
        self.refuse(refusal);
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
            link.lane.settle(token, Effect::Unknown, Settled::unknown(), &mut steps);
            self.take_steps(key.unwrap_or_default(), steps);
        }
    }
}
