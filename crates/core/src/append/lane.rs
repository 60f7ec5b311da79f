//! A lane: the appends of one connection to one room, from the socket to the sequencer.
//!
//! ```text
//!  arrive ──► early (its seq is not next) ──► queue (waits for `after`, `ref`) ──► submit
//!                                                                 settle ◄── outcome
//! ```
//!
//! Enters: appends as they are read, the room's end, outcomes, time. Leaves: [`Step`]s: what to
//! submit and what to answer. Invariants: appends are submitted in `seq` order, or in order of
//! arrival if unnumbered; each is answered once; after a rejection that is not final nothing is
//! submitted until the rejected `seq` arrives again. Pure: time is passed in.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use roomlog_protocol::{EntryId, Latest, Slot};

use crate::model::outcome::AppendOutcome;

/// How many outcomes of numbered appends are kept, to answer resends.
pub(crate) const OUTCOMES_KEPT: usize = 64;

/// The limits of a lane.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The most appends that wait for an earlier `seq`.
    pub early: usize,
    /// How long they wait.
    pub early_for: Duration,
    /// How long an append waits for `after` or `ref`.
    pub ahead_for: Duration,
}

/// An append that was read. `T` is what is submitted.
#[derive(Debug)]
pub struct Arrival<T> {
    /// The connection's token for it, never reused.
    pub token: u64,
    /// Its `seq`, in a numbered lane.
    pub seq: Option<u64>,
    /// The id from the client.
    pub id: Option<EntryId>,
    /// The id of its entry: the client's, or one that the gateway made.
    pub entry_id: EntryId,
    /// Its `after`: the last slot that the author had.
    pub after: Option<Latest>,
    /// Its `ref`.
    pub reference: Option<Slot>,
    /// What to submit, or the gateway's rejection.
    pub work: Result<T, AppendOutcome>,
}

/// An action for the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Submit it to the sequencer.
    Submit(u64, T),
    /// Answer the frame with this token.
    Answer {
        /// The token.
        token: u64,
        /// The outcome of the append.
        outcome: AppendOutcome,
        /// The id of its entry in a numbered lane: of all frames with one `seq` that of the first.
        entry_id: Option<EntryId>,
        /// Whether an earlier frame with its `seq` has this outcome too.
        again: bool,
    },
}

struct Queued<T> {
    since: Instant,
    arrival: Arrival<T>,
}

struct Early<T> {
    since: Instant,
    arrival: Arrival<T>,
    resends: Vec<u64>,
}

/// A numbered append that has entered the queue, or its outcome.
struct Numbered {
    seq: u64,
    id: Option<EntryId>,
    entry_id: EntryId,
    token: u64,
    state: NumberedState,
}

enum NumberedState {
    /// The tokens to answer: the first frame's, then those of its resends.
    InFlight(Vec<u64>),
    Done(AppendOutcome),
}

/// The appends of one connection to one room.
pub struct Lane<T> {
    limits: LaneLimits,
    numbered: Option<bool>,
    next: u64,
    early: BTreeMap<u64, Early<T>>,
    queue: VecDeque<Queued<T>>,
    past: VecDeque<Numbered>,
}

impl<T> Lane<T> {
    /// An empty lane.
    #[must_use]
    pub fn new(limits: LaneLimits) -> Self {
        let (early, queue, past) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Self { limits, numbered: None, next: 0, early, queue, past }
    }

    /// Whether its appends have a `seq`: then it must live as long as the connection.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.numbered == Some(true)
    }

    /// Whether an append in it waits for the room to advance.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether this append would wait, for an earlier one or for the log, which ends at `end`.
    #[must_use]
    pub fn would_wait(&self, arrival: &Arrival<T>, end: Slot) -> bool {
        !self.queue.is_empty()
            || arrival.seq.is_some_and(|seq| seq > self.next)
            || is_ahead(arrival, end)
            || is_bad_ref(arrival, end)
    }

    /// How many appends it keeps for repeats: in flight, and with their outcomes.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.past.len()
    }

    /// When to call [`Lane::tick`], if nothing else happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let queue = self.queue.front().map(|queued| queued.since + self.limits.ahead_for);
        let early = self.early.values().map(|early| early.since).min();
        [queue, early.map(|since| since + self.limits.early_for)].into_iter().flatten().min()
    }

    /// Adds an append that was read. `end` is the end of the room's log.
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
            Some(seq) if seq < self.next => self.arrive_resent(seq, &arrival, steps),
            Some(seq) if seq > self.next => self.arrive_early(seq, arrival, now, steps),
            Some(seq) => {
                self.enter(seq, arrival, now);
                while let Some(early) = self.early.remove(&self.next) {
                    let seq = self.next;
                    self.enter(seq, early.arrival, now);
                    if let Some(Numbered { state: NumberedState::InFlight(tokens), .. }) =
                        self.past.back_mut()
                    {
                        tokens.extend(early.resends);
                    }
                }
            }
            // Nearly all appends wait for nothing: one that goes on at once leaves no queue behind, of which a
            // connection would have one in each of its rooms.
            None if self.queue.is_empty() && reaches(&arrival, end) => {
                return self.release(arrival, steps);
            }
            None => self.queue.push_back(Queued { since: now, arrival }),
        }
        self.pump(end, steps);
    }

    fn arrive_resent(&mut self, seq: u64, arrival: &Arrival<T>, steps: &mut Vec<Step<T>>) {
        let (outcome, done) = match self.past.iter_mut().find(|past| past.seq == seq) {
            None => (self.expected(), None),
            Some(past) if past.id != arrival.id => (AppendOutcome::SeqReused, None),
            Some(Numbered { state: NumberedState::InFlight(tokens), .. }) => {
                return tokens.push(arrival.token);
            }
            Some(Numbered { state: NumberedState::Done(outcome), entry_id, .. }) => {
                (outcome.clone(), Some(entry_id.clone()))
            }
        };
        let again = done.is_some();
        steps.push(Step::Answer { token: arrival.token, outcome, entry_id: done, again });
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
                return there.resends.push(arrival.token);
            }
            return steps.push(answer(arrival.token, AppendOutcome::SeqReused));
        }
        if self.early.len() >= self.limits.early {
            let outcome = self.expected();
            return steps.push(answer(arrival.token, outcome));
        }
        self.early.insert(seq, Early { since: now, arrival, resends: Vec::new() });
    }

    fn enter(&mut self, seq: u64, arrival: Arrival<T>, now: Instant) {
        self.next = seq + 1;
        self.past.push_back(Numbered {
            seq,
            id: arrival.id.clone(),
            entry_id: arrival.entry_id.clone(),
            token: arrival.token,
            state: NumberedState::InFlight(vec![arrival.token]),
        });
        self.evict_old_outcomes();
        self.queue.push_back(Queued { since: now, arrival });
    }

    /// Submits what waited for a log that now ends at `end`.
    pub fn pump(&mut self, end: Slot, steps: &mut Vec<Step<T>>) {
        while let Some(queued) = self.queue.pop_front_if(|queued| reaches(&queued.arrival, end)) {
            self.release(queued.arrival, steps);
        }
    }

    /// Submits an append that waits for nothing, or answers it.
    fn release(&mut self, arrival: Arrival<T>, steps: &mut Vec<Step<T>>) {
        match arrival.work {
            Ok(work) => steps.push(Step::Submit(arrival.token, work)),
            Err(rejection) => self.settle(arrival.token, rejection, steps),
        }
    }

    /// Answers appends that have waited too long.
    pub fn tick(&mut self, now: Instant, end: Slot, steps: &mut Vec<Step<T>>) {
        // The log may have advanced without `pump`: what it has reached did not time out.
        self.pump(end, steps);
        let ahead_for = self.limits.ahead_for;
        while let Some(queued) = self
            .queue
            .pop_front_if(|queued| now.saturating_duration_since(queued.since) >= ahead_for)
        {
            let token = queued.arrival.token;
            let ahead = is_ahead(&queued.arrival, end);
            match (ahead, queued.arrival.seq) {
                (true, Some(_)) => self.reject(token, &AppendOutcome::Ahead, steps),
                (true, None) => steps.push(answer(token, AppendOutcome::Ahead)),
                (false, Some(_)) => self.answer_final(token, AppendOutcome::BadRef, steps),
                (false, None) => steps.push(answer(token, AppendOutcome::BadRef)),
            }
            self.pump(end, steps);
        }
        let waited = |since: Instant| now.saturating_duration_since(since) >= self.limits.early_for;
        if self.early.values().any(|early| waited(early.since)) {
            let expected = self.expected();
            self.answer_early(&expected, steps);
        }
    }

    fn answer_early(&mut self, outcome: &AppendOutcome, steps: &mut Vec<Step<T>>) {
        for early in std::mem::take(&mut self.early).into_values() {
            for token in std::iter::once(early.arrival.token).chain(early.resends) {
                steps.push(answer(token, outcome.clone()));
            }
        }
    }

    /// Answers a submitted append. In a numbered lane, an outcome that is not final rejects all
    /// appends behind it, except [`AppendOutcome::Unknown`]: another outcome may follow.
    pub fn settle(&mut self, token: u64, outcome: AppendOutcome, steps: &mut Vec<Step<T>>) {
        if self.numbered != Some(true) {
            steps.push(answer(token, outcome));
        } else if outcome.is_final() {
            self.answer_final(token, outcome, steps);
        } else if outcome == AppendOutcome::Unknown {
            self.answer_in_flight(token, &outcome, steps);
        } else {
            self.reject(token, &outcome, steps);
        }
    }

    /// Keeps the outcome of a numbered append for resends.
    fn answer_final(&mut self, token: u64, outcome: AppendOutcome, steps: &mut Vec<Step<T>>) {
        if self.numbered != Some(true) {
            return steps.push(answer(token, outcome));
        }
        if let Some(past) = self.answer_in_flight(token, &outcome, steps) {
            past.state = NumberedState::Done(outcome);
            self.evict_old_outcomes();
        }
    }

    /// `None` if it was already answered because one before it was rejected.
    fn answer_in_flight(
        &mut self,
        token: u64,
        outcome: &AppendOutcome,
        steps: &mut Vec<Step<T>>,
    ) -> Option<&mut Numbered> {
        let past = self.past.iter_mut().find(|past| past.token == token)?;
        let NumberedState::InFlight(tokens) = &mut past.state else { return None };
        answer_all(std::mem::take(tokens), &past.entry_id, outcome, steps);
        Some(past)
    }

    fn expected(&self) -> AppendOutcome {
        AppendOutcome::OutOfOrder { expected: Some(self.next) }
    }

    fn evict_old_outcomes(&mut self) {
        while self.past.len() > OUTCOMES_KEPT
            && matches!(self.past.front(), Some(Numbered { state: NumberedState::Done(_), .. }))
        {
            self.past.pop_front();
        }
    }

    /// Rejects a numbered append: its `seq` is next again, and all behind it must be resent.
    fn reject(&mut self, token: u64, outcome: &AppendOutcome, steps: &mut Vec<Step<T>>) {
        let Some(index) = self.past.iter().position(|past| past.token == token) else { return };
        let mut behind = self.past.split_off(index).into_iter();
        self.queue.clear();
        let Some(rejected) = behind.next() else { return };
        self.next = rejected.seq;
        if let NumberedState::InFlight(tokens) = rejected.state {
            answer_all(tokens, &rejected.entry_id, outcome, steps);
        }
        let expected = self.expected();
        for past in behind {
            if let NumberedState::InFlight(tokens) = past.state {
                steps.extend(tokens.into_iter().map(|token| answer(token, expected.clone())));
            }
        }
        self.answer_early(&expected, steps);
    }

    /// Answers all waiting appends: the node is stopping.
    pub fn close(&mut self, steps: &mut Vec<Step<T>>) {
        self.answer_early(&AppendOutcome::Unavailable, steps);
        for queued in std::mem::take(&mut self.queue) {
            let token = queued.arrival.token;
            let past = self.past.iter_mut().find(|past| past.token == token);
            let mut tokens = vec![token];
            if let Some(Numbered { state: NumberedState::InFlight(all), .. }) = past {
                tokens = std::mem::take(all);
            }
            steps.extend(tokens.into_iter().map(|token| answer(token, AppendOutcome::Unavailable)));
        }
    }
}

/// Whether an append waits for nothing, in a log that ends at `end`.
fn reaches<T>(arrival: &Arrival<T>, end: Slot) -> bool {
    arrival.work.is_err() || (!is_ahead(arrival, end) && !is_bad_ref(arrival, end))
}

fn is_ahead<T>(arrival: &Arrival<T>, end: Slot) -> bool {
    arrival.after.is_some_and(|after| after.end() > end)
}

fn is_bad_ref<T>(arrival: &Arrival<T>, end: Slot) -> bool {
    arrival.reference.is_some_and(|slot| slot >= end)
}

fn answer<T>(token: u64, outcome: AppendOutcome) -> Step<T> {
    Step::Answer { token, outcome, entry_id: None, again: false }
}

/// Answers the first frame, and its resends as such.
fn answer_all<T>(
    tokens: Vec<u64>,
    entry_id: &EntryId,
    outcome: &AppendOutcome,
    steps: &mut Vec<Step<T>>,
) {
    for (index, token) in tokens.into_iter().enumerate() {
        let (outcome, entry_id) = (outcome.clone(), Some(entry_id.clone()));
        steps.push(Step::Answer { token, outcome, entry_id, again: index > 0 });
    }
}
