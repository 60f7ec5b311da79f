//! A lane: the appends of one connection to one room, from the socket to the sequencer.
//!
//! ```text
//!  arrive ──► early (its seq is not next) ──► queue (waits for `after`, `ref`) ──► submit
//!                                                                 settle ◄── outcome
//! ```
//!
//! Enters: appends as they are read, slots as the room moves, outcomes, time. Leaves: [`Step`]s: what
//! to submit and what to answer. Invariants: appends are submitted in the order of their numbers, or
//! of arrival when they have none; every one that arrives is answered once; behind a refusal that is
//! not final nothing is submitted before the refused number comes again. Pure: time is passed in.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use roomlog_protocol::{EntryId, Slot};

use crate::model::outcome::AppendOutcome;

/// How many outcomes of numbered appends are kept for those that are sent again.
pub(crate) const OUTCOMES_KEPT: usize = 64;

/// How long and how many.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// How many may wait for an earlier number.
    pub early: usize,
    /// How long they wait.
    pub early_for: Duration,
    /// How long one waits for `after` or `ref`.
    pub ahead_for: Duration,
}

/// An append that was read. `T` is what is submitted.
#[derive(Debug)]
pub struct Arrival<T> {
    /// What the connection calls it; never used twice.
    pub token: u64,
    /// Its number, in a numbered lane.
    pub seq: Option<u64>,
    /// The id that the client gave it.
    pub id: Option<EntryId>,
    /// The id of its entry: that one, or one that the gateway made.
    pub entry_id: EntryId,
    /// The last slot that its author had.
    pub after: Option<i64>,
    /// The slot that it refers to.
    pub reference: Option<Slot>,
    /// What to submit, or the gateway's final refusal.
    pub work: Result<T, AppendOutcome>,
}

/// What the connection has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Give it to the sequencer.
    Submit(u64, T),
    /// Answer the frame with this token.
    Answer {
        /// The token.
        token: u64,
        /// What became of the append.
        outcome: AppendOutcome,
        /// If an earlier frame with its `seq` has this outcome too: the id of that frame's entry.
        first: Option<EntryId>,
    },
}

struct Queued<T> {
    since: Instant,
    arrival: Arrival<T>,
}

struct Early<T> {
    since: Instant,
    arrival: Arrival<T>,
    again: Vec<u64>,
}

/// A numbered append that has entered the queue.
struct Past {
    seq: u64,
    id: Option<EntryId>,
    entry_id: EntryId,
    token: u64,
    state: State,
}

enum State {
    /// Frames to answer: the first one's token, then those that sent it again.
    InHand(Vec<u64>),
    Done(AppendOutcome),
}

/// The appends of one connection to one room.
pub struct Lane<T> {
    limits: LaneLimits,
    numbered: Option<bool>,
    next: u64,
    early: BTreeMap<u64, Early<T>>,
    queue: VecDeque<Queued<T>>,
    past: VecDeque<Past>,
}

impl<T> Lane<T> {
    /// A lane that nothing has gone through.
    #[must_use]
    pub fn new(limits: LaneLimits) -> Self {
        let (early, queue, past) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Self { limits, numbered: None, next: 0, early, queue, past }
    }

    /// Whether appends in it carry numbers: then it must be kept as long as the connection.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.numbered == Some(true)
    }

    /// Whether something in it waits for the room to move.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When [`Lane::tick`] has something to do, if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let queue = self.queue.front().map(|queued| queued.since + self.limits.ahead_for);
        let early = self.early.values().map(|early| early.since).min();
        [queue, early.map(|since| since + self.limits.early_for)].into_iter().flatten().min()
    }

    /// Takes an append that was read. `end` is where the room's log ends.
    pub fn arrive(
        &mut self,
        arrival: Arrival<T>,
        now: Instant,
        end: Slot,
        steps: &mut Vec<Step<T>>,
    ) {
        if *self.numbered.get_or_insert(arrival.seq.is_some()) != arrival.seq.is_some() {
            return steps.push(answer(arrival.token, AppendOutcome::SeqMixed));
        }
        match arrival.seq {
            Some(seq) if seq < self.next => self.arrive_again(seq, &arrival, steps),
            Some(seq) if seq > self.next => self.arrive_early(seq, arrival, now, steps),
            Some(seq) => {
                self.enter(seq, arrival, now);
                while let Some(early) = self.early.remove(&self.next) {
                    let seq = self.next;
                    self.enter(seq, early.arrival, now);
                    if let Some(Past { state: State::InHand(tokens), .. }) = self.past.back_mut() {
                        tokens.extend(early.again);
                    }
                }
            }
            None => self.queue.push_back(Queued { since: now, arrival }),
        }
        self.pump(end, steps);
    }

    fn arrive_again(&mut self, seq: u64, arrival: &Arrival<T>, steps: &mut Vec<Step<T>>) {
        let (outcome, first) = match self.past.iter_mut().find(|past| past.seq == seq) {
            None => (self.expected(), None),
            Some(past) if past.id != arrival.id => (AppendOutcome::SeqReused, None),
            Some(Past { state: State::InHand(tokens), .. }) => return tokens.push(arrival.token),
            Some(Past { state: State::Done(outcome), entry_id, .. }) => {
                (outcome.clone(), Some(entry_id.clone()))
            }
        };
        steps.push(Step::Answer { token: arrival.token, outcome, first });
    }

    fn arrive_early(
        &mut self,
        seq: u64,
        arrival: Arrival<T>,
        now: Instant,
        steps: &mut Vec<Step<T>>,
    ) {
        if let Some(there) = self.early.get_mut(&seq) {
            if there.arrival.id == arrival.id {
                return there.again.push(arrival.token);
            }
            return steps.push(answer(arrival.token, AppendOutcome::SeqReused));
        }
        if self.early.len() >= self.limits.early {
            let outcome = self.expected();
            return steps.push(answer(arrival.token, outcome));
        }
        self.early.insert(seq, Early { since: now, arrival, again: Vec::new() });
    }

    /// Puts a numbered append whose turn it is into the queue.
    fn enter(&mut self, seq: u64, arrival: Arrival<T>, now: Instant) {
        self.next = seq + 1;
        self.past.push_back(Past {
            seq,
            id: arrival.id.clone(),
            entry_id: arrival.entry_id.clone(),
            token: arrival.token,
            state: State::InHand(vec![arrival.token]),
        });
        self.evict_old_outcomes();
        self.queue.push_back(Queued { since: now, arrival });
    }

    /// The room's log now ends at `end`.
    pub fn pump(&mut self, end: Slot, steps: &mut Vec<Step<T>>) {
        let reached = |arrival: &Arrival<T>| {
            arrival.work.is_err() || (!is_ahead(arrival, end) && !is_bad_ref(arrival, end))
        };
        while let Some(queued) = self.queue.pop_front_if(|queued| reached(&queued.arrival)) {
            let token = queued.arrival.token;
            match queued.arrival.work {
                Ok(work) => steps.push(Step::Submit(token, work)),
                Err(refusal) => self.answer_final(token, refusal, steps),
            }
        }
    }

    /// Ends what has waited too long.
    pub fn tick(&mut self, now: Instant, end: Slot, steps: &mut Vec<Step<T>>) {
        // The log may have moved without `pump`: what it has reached did not wait too long.
        self.pump(end, steps);
        let ahead_for = self.limits.ahead_for;
        while let Some(queued) = self
            .queue
            .pop_front_if(|queued| now.saturating_duration_since(queued.since) >= ahead_for)
        {
            let token = queued.arrival.token;
            let ahead = is_ahead(&queued.arrival, end);
            match (ahead, queued.arrival.seq) {
                (true, Some(_)) => self.refuse(token, &AppendOutcome::Ahead, steps),
                (true, None) => steps.push(answer(token, AppendOutcome::Ahead)),
                (false, Some(_)) => self.answer_final(token, AppendOutcome::BadRef, steps),
                (false, None) => steps.push(answer(token, AppendOutcome::BadRef)),
            }
            self.pump(end, steps);
        }
        let waited = |since: Instant| now.saturating_duration_since(since) >= self.limits.early_for;
        if self.early.values().any(|early| waited(early.since)) {
            let expected = self.expected();
            self.give_up_early(&expected, steps);
        }
    }

    fn give_up_early(&mut self, outcome: &AppendOutcome, steps: &mut Vec<Step<T>>) {
        for early in std::mem::take(&mut self.early).into_values() {
            for token in std::iter::once(early.arrival.token).chain(early.again) {
                steps.push(answer(token, outcome.clone()));
            }
        }
    }

    /// An outcome has come for what was submitted. An outcome that is not final rejects all that
    /// is behind it in a numbered lane, unless it is [`AppendOutcome::Unknown`]: then another
    /// outcome may follow.
    pub fn settle(&mut self, token: u64, outcome: AppendOutcome, steps: &mut Vec<Step<T>>) {
        if self.numbered != Some(true) {
            steps.push(answer(token, outcome));
        } else if outcome.is_final() {
            self.answer_final(token, outcome, steps);
        } else if outcome == AppendOutcome::Unknown {
            self.answer_in_hand(token, &outcome, steps);
        } else {
            self.refuse(token, &outcome, steps);
        }
    }

    /// Answers an append's frames, and keeps the outcome of a numbered one for frames that repeat it.
    fn answer_final(&mut self, token: u64, outcome: AppendOutcome, steps: &mut Vec<Step<T>>) {
        if self.numbered != Some(true) {
            return steps.push(answer(token, outcome));
        }
        if let Some(past) = self.answer_in_hand(token, &outcome, steps) {
            past.state = State::Done(outcome);
            self.evict_old_outcomes();
        }
    }

    /// Answers the frames of a numbered append. `None` if it was behind a rejected one, and is
    /// answered already.
    fn answer_in_hand(
        &mut self,
        token: u64,
        outcome: &AppendOutcome,
        steps: &mut Vec<Step<T>>,
    ) -> Option<&mut Past> {
        let past = self.past.iter_mut().find(|past| past.token == token)?;
        let State::InHand(tokens) = &mut past.state else { return None };
        answer_all(std::mem::take(tokens), &past.entry_id, outcome, steps);
        Some(past)
    }

    /// The answer to a frame whose turn has not come.
    fn expected(&self) -> AppendOutcome {
        AppendOutcome::OutOfOrder { expected: Some(self.next) }
    }

    /// Keeps the newest outcomes, and whatever is in hand.
    fn evict_old_outcomes(&mut self) {
        while self.past.len() > OUTCOMES_KEPT
            && matches!(self.past.front(), Some(Past { state: State::Done(_), .. }))
        {
            self.past.pop_front();
        }
    }

    /// A numbered append was refused: its number is next again, and all behind it must come again.
    fn refuse(&mut self, token: u64, outcome: &AppendOutcome, steps: &mut Vec<Step<T>>) {
        let Some(index) = self.past.iter().position(|past| past.token == token) else { return };
        let mut behind = self.past.split_off(index).into_iter();
        self.queue.clear();
        let Some(refused) = behind.next() else { return };
        self.next = refused.seq;
        if let State::InHand(tokens) = refused.state {
            answer_all(tokens, &refused.entry_id, outcome, steps);
        }
        let expected = self.expected();
        for past in behind {
            if let State::InHand(tokens) = past.state {
                steps.extend(tokens.into_iter().map(|token| answer(token, expected.clone())));
            }
        }
        self.give_up_early(&expected, steps);
    }

    /// The node stops: what waits here is answered at once.
    pub fn close(&mut self, steps: &mut Vec<Step<T>>) {
        self.give_up_early(&AppendOutcome::Unavailable, steps);
        for queued in std::mem::take(&mut self.queue) {
            let token = queued.arrival.token;
            let past = self.past.iter_mut().find(|past| past.token == token);
            let mut tokens = vec![token];
            if let Some(Past { state: State::InHand(all), .. }) = past {
                tokens = std::mem::take(all);
            }
            steps.extend(tokens.into_iter().map(|token| answer(token, AppendOutcome::Unavailable)));
        }
    }
}

fn is_ahead<T>(arrival: &Arrival<T>, end: Slot) -> bool {
    arrival.after.is_some_and(|after| u64::try_from(after).is_ok_and(|after| after >= end))
}

fn is_bad_ref<T>(arrival: &Arrival<T>, end: Slot) -> bool {
    arrival.reference.is_some_and(|slot| slot >= end)
}

fn answer<T>(token: u64, outcome: AppendOutcome) -> Step<T> {
    Step::Answer { token, outcome, first: None }
}

/// Answers the first frame, and those that repeat it as such.
fn answer_all<T>(
    tokens: Vec<u64>,
    entry_id: &EntryId,
    outcome: &AppendOutcome,
    steps: &mut Vec<Step<T>>,
) {
    for (index, token) in tokens.into_iter().enumerate() {
        let first = (index > 0).then(|| entry_id.clone());
        steps.push(Step::Answer { token, outcome: outcome.clone(), first });
    }
}
