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

/// How many outcomes of numbered appends are kept for those that are sent again.
pub const OUTCOMES_KEPT: usize = 64;

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

/// An append that was read. `T` is what is submitted, `R` what settles it.
#[derive(Debug)]
pub struct Arrival<T, R> {
    /// What the connection calls it; not used twice.
    pub token: u64,
    /// Its number, in a numbered lane.
    pub seq: Option<u64>,
    /// The id that the client gave it.
    pub id: Option<EntryId>,
    /// The last slot its author had.
    pub after: Option<i64>,
    /// The slot it is about.
    pub reference: Option<Slot>,
    /// What to submit, or the final refusal that the door has for it.
    pub work: Result<T, R>,
}

/// What the connection has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T, R> {
    /// Give it to the sequencer.
    Submit(u64, T),
    /// Answer the frame.
    Answer(u64, Answer<R>),
}

/// The answer to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    /// What settled it.
    Settled(R),
    /// The same append, sent again: what settled the first.
    Again(R),
    /// The log did not reach its `after` in time.
    Ahead,
    /// The log did not reach its `ref` in time.
    BadRef,
    /// This number is expected.
    OutOfOrder(u64),
    /// Its number was used for another id.
    OtherId,
    /// The lane is numbered and it is not, or the other way round.
    Mixed,
    /// The node stops.
    Unavailable,
}

/// How an outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It uses the number up.
    Final,
    /// Nothing is stored; the number comes again.
    Refused,
    /// It may be stored; what is behind it goes on, and an outcome may still come.
    Unknown,
}

struct Queued<T, R> {
    since: Instant,
    arrival: Arrival<T, R>,
}

struct Early<T, R> {
    since: Instant,
    arrival: Arrival<T, R>,
    again: Vec<u64>,
}

/// A numbered append that has entered the queue.
struct Past<R> {
    seq: u64,
    id: Option<EntryId>,
    token: u64,
    state: State<R>,
}

enum State<R> {
    /// Frames to answer: the first one's token, then those that sent it again.
    InHand(Vec<u64>),
    Done(Answer<R>),
}

/// The appends of one connection to one room.
pub struct Lane<T, R> {
    limits: LaneLimits,
    numbered: Option<bool>,
    next: u64,
    early: BTreeMap<u64, Early<T, R>>,
    queue: VecDeque<Queued<T, R>>,
    past: VecDeque<Past<R>>,
}

impl<T, R: Clone> Lane<T, R> {
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
        arrival: Arrival<T, R>,
        now: Instant,
        end: Slot,
        steps: &mut Vec<Step<T, R>>,
    ) {
        if *self.numbered.get_or_insert(arrival.seq.is_some()) != arrival.seq.is_some() {
            return steps.push(Step::Answer(arrival.token, Answer::Mixed));
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

    fn arrive_again(&mut self, seq: u64, arrival: &Arrival<T, R>, steps: &mut Vec<Step<T, R>>) {
        let answer = match self.past.iter_mut().find(|past| past.seq == seq) {
            None => Answer::OutOfOrder(self.next),
            Some(past) if past.id != arrival.id => Answer::OtherId,
            Some(Past { state: State::InHand(tokens), .. }) => return tokens.push(arrival.token),
            Some(Past { state: State::Done(Answer::Settled(by)), .. }) => Answer::Again(by.clone()),
            Some(Past { state: State::Done(answer), .. }) => answer.clone(),
        };
        steps.push(Step::Answer(arrival.token, answer));
    }

    fn arrive_early(
        &mut self,
        seq: u64,
        arrival: Arrival<T, R>,
        now: Instant,
        steps: &mut Vec<Step<T, R>>,
    ) {
        if let Some(there) = self.early.get_mut(&seq) {
            if there.arrival.id == arrival.id {
                return there.again.push(arrival.token);
            }
            return steps.push(Step::Answer(arrival.token, Answer::OtherId));
        }
        if self.early.len() >= self.limits.early {
            return steps.push(Step::Answer(arrival.token, Answer::OutOfOrder(self.next)));
        }
        self.early.insert(seq, Early { since: now, arrival, again: Vec::new() });
    }

    /// Puts a numbered append whose turn it is into the queue.
    fn enter(&mut self, seq: u64, arrival: Arrival<T, R>, now: Instant) {
        self.next = seq + 1;
        self.past.push_back(Past {
            seq,
            id: arrival.id.clone(),
            token: arrival.token,
            state: State::InHand(vec![arrival.token]),
        });
        self.forget_old_outcomes();
        self.queue.push_back(Queued { since: now, arrival });
    }

    /// The room's log now ends at `end`.
    pub fn pump(&mut self, end: Slot, steps: &mut Vec<Step<T, R>>) {
        let reached = |arrival: &Arrival<T, R>| {
            arrival.work.is_err() || (!is_ahead(arrival, end) && !is_bad_ref(arrival, end))
        };
        while let Some(queued) = self.queue.pop_front_if(|queued| reached(&queued.arrival)) {
            let token = queued.arrival.token;
            match queued.arrival.work {
                Ok(work) => steps.push(Step::Submit(token, work)),
                Err(refusal) => self.settle(token, Effect::Final, refusal, steps),
            }
        }
    }

    /// Ends what has waited too long.
    pub fn tick(&mut self, now: Instant, end: Slot, steps: &mut Vec<Step<T, R>>) {
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
                (true, Some(_)) => self.refuse(token, &Answer::Ahead, steps),
                (true, None) => steps.push(Step::Answer(token, Answer::Ahead)),
                (false, Some(_)) => self.finish(token, Effect::Final, Answer::BadRef, steps),
                (false, None) => steps.push(Step::Answer(token, Answer::BadRef)),
            }
            self.pump(end, steps);
        }
        let waited = |since: Instant| now.saturating_duration_since(since) >= self.limits.early_for;
        if self.early.values().any(|early| waited(early.since)) {
            let next = self.next;
            self.give_up_early(&Answer::OutOfOrder(next), steps);
        }
    }

    fn give_up_early(&mut self, answer: &Answer<R>, steps: &mut Vec<Step<T, R>>) {
        for early in std::mem::take(&mut self.early).into_values() {
            for token in std::iter::once(early.arrival.token).chain(early.again) {
                steps.push(Step::Answer(token, answer.clone()));
            }
        }
    }

    /// An outcome has come for what was submitted.
    pub fn settle(&mut self, token: u64, effect: Effect, by: R, steps: &mut Vec<Step<T, R>>) {
        if self.numbered != Some(true) {
            return steps.push(Step::Answer(token, Answer::Settled(by)));
        }
        if effect == Effect::Refused {
            return self.refuse(token, &Answer::Settled(by), steps);
        }
        self.finish(token, effect, Answer::Settled(by), steps);
    }

    /// Answers the frames of a numbered append and, when that is final, keeps the answer.
    fn finish(
        &mut self,
        token: u64,
        effect: Effect,
        answer: Answer<R>,
        steps: &mut Vec<Step<T, R>>,
    ) {
        // One that is not found was behind a refusal, and is answered already.
        let Some(past) = self.past.iter_mut().find(|past| past.token == token) else { return };
        let State::InHand(tokens) = &mut past.state else { return };
        answer_in_hand(std::mem::take(tokens), &answer, steps);
        if effect == Effect::Final {
            past.state = State::Done(answer);
            self.forget_old_outcomes();
        }
    }

    /// Keeps the newest outcomes, and whatever is in hand.
    fn forget_old_outcomes(&mut self) {
        while self.past.len() > OUTCOMES_KEPT
            && matches!(self.past.front(), Some(Past { state: State::Done(_), .. }))
        {
            self.past.pop_front();
        }
    }

    /// A numbered append was refused: its number is next again, and all behind it must come again.
    fn refuse(&mut self, token: u64, answer: &Answer<R>, steps: &mut Vec<Step<T, R>>) {
        let Some(index) = self.past.iter().position(|past| past.token == token) else { return };
        let mut behind = self.past.split_off(index).into_iter();
        self.queue.clear();
        let Some(refused) = behind.next() else { return };
        self.next = refused.seq;
        if let State::InHand(tokens) = refused.state {
            answer_in_hand(tokens, answer, steps);
        }
        let expected = Answer::OutOfOrder(self.next);
        for past in behind {
            if let State::InHand(tokens) = past.state {
                steps.extend(tokens.into_iter().map(|token| Step::Answer(token, expected.clone())));
            }
        }
        self.give_up_early(&expected, steps);
    }

    /// The node stops: what waits here is answered at once.
    pub fn close(&mut self, steps: &mut Vec<Step<T, R>>) {
        self.give_up_early(&Answer::Unavailable, steps);
        for queued in std::mem::take(&mut self.queue) {
            let token = queued.arrival.token;
            let past = self.past.iter_mut().find(|past| past.token == token);
            let mut tokens = vec![token];
            if let Some(Past { state: State::InHand(all), .. }) = past {
                tokens = std::mem::take(all);
            }
            steps.extend(tokens.into_iter().map(|token| Step::Answer(token, Answer::Unavailable)));
        }
    }
}

fn is_ahead<T, R>(arrival: &Arrival<T, R>, end: Slot) -> bool {
    arrival.after.is_some_and(|after| u64::try_from(after).is_ok_and(|after| after >= end))
}

fn is_bad_ref<T, R>(arrival: &Arrival<T, R>, end: Slot) -> bool {
    arrival.reference.is_some_and(|slot| slot >= end)
}

/// Answers the first frame, and those that sent the same again as such.
fn answer_in_hand<T, R: Clone>(tokens: Vec<u64>, answer: &Answer<R>, steps: &mut Vec<Step<T, R>>) {
    for (index, token) in tokens.into_iter().enumerate() {
        let answer = match answer {
            Answer::Settled(by) if index > 0 => Answer::Again(by.clone()),
            other => other.clone(),
        };
        steps.push(Step::Answer(token, answer));
    }
}
