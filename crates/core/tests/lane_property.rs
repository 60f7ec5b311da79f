//! Properties of every lane: each frame is answered once, and numbers are submitted in order,
//! without gaps, restarting from the rejected one after each rejection.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use roomlog_core::{
    lane::{Arrival, Lane, LaneLimits, Step},
    outcome::AppendOutcome,
};
use roomlog_protocol::{EntryId, ErrorCode, Latest, Refusal};

/// The effect of an outcome on its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Final,
    Rejected,
    Unknown,
}

impl Effect {
    /// An outcome of this effect; a final one names the token.
    fn outcome(self, token: u64) -> AppendOutcome {
        match self {
            Self::Final => AppendOutcome::IdReused { slot: token },
            Self::Rejected => AppendOutcome::StorageFull,
            Self::Unknown => AppendOutcome::Unknown,
        }
    }
}

/// The gateway's final rejection of the frame with this token.
fn rejection(token: u64) -> AppendOutcome {
    let rejection = Refusal { slot: Some(token), ..Refusal::new(ErrorCode::TooLarge, "") };
    AppendOutcome::Invalid(Box::new(rejection))
}

const LIMITS: LaneLimits =
    LaneLimits { early: 3, early_for: Duration::from_secs(10), ahead_for: Duration::from_secs(5) };

#[derive(Debug, Clone)]
enum Op {
    /// A frame; its number counts from two before the next one to be submitted.
    Frame {
        near: u64,
        other_id: bool,
        after: Option<i64>,
        reference: Option<u64>,
        by_gateway: bool,
    },
    /// An outcome for a submitted append.
    Settle { which: prop::sample::Index, effect: Effect },
    /// The log grows.
    Grow(u64),
    /// Seconds pass.
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let frame = (
        0..7_u64,
        proptest::bool::weighted(0.05),
        proptest::option::weighted(0.2, -1..8_i64),
        proptest::option::weighted(0.2, 0..8_u64),
        proptest::bool::weighted(0.1),
    );
    let effect = prop_oneof![
        6 => Just(Effect::Final),
        2 => Just(Effect::Rejected),
        1 => Just(Effect::Unknown),
    ];
    let op = prop_oneof![
        8 => frame.prop_map(|(near, other_id, after, reference, by_gateway)| {
            Op::Frame { near, other_id, after, reference, by_gateway }
        }),
        4 => (any::<prop::sample::Index>(), effect)
            .prop_map(|(which, effect)| Op::Settle { which, effect }),
        1 => (1..3_u64).prop_map(Op::Grow),
        1 => (1..7_u64).prop_map(Op::Wait),
    ];
    proptest::collection::vec(op, 0..80)
}

/// A lane, and its expected state by the documentation.
struct Watched {
    lane: Lane<u64>,
    numbered: bool,
    now: Instant,
    end: u64,
    /// The number of each frame.
    frames: Vec<u64>,
    answered: BTreeSet<u64>,
    /// All numbers before this one were submitted or rejected by the gateway.
    next: u64,
    /// The token that was submitted last.
    newest: Option<u64>,
    /// Submitted and without a final outcome, by token; whether `unknown` was reported.
    in_flight: BTreeMap<u64, bool>,
    /// The outcome of each used-up number.
    settled: BTreeMap<u64, AppendOutcome>,
}

impl Watched {
    fn new(numbered: bool) -> Self {
        Self {
            lane: Lane::new(LIMITS),
            numbered,
            now: tokio::time::Instant::now().into_std(),
            end: 0,
            frames: Vec::new(),
            answered: BTreeSet::new(),
            next: 0,
            newest: None,
            in_flight: BTreeMap::new(),
            settled: BTreeMap::new(),
        }
    }

    fn seq(&self, token: u64) -> u64 {
        self.frames[usize::try_from(token).expect("small")]
    }

    fn step(&mut self, op: &Op) {
        let mut steps = Vec::new();
        match op {
            Op::Frame { near, other_id, after, reference, by_gateway } => {
                let seq = (self.next + near).saturating_sub(2);
                let token = self.frames.len() as u64;
                self.frames.push(seq);
                let id = if *other_id { "other".into() } else { format!("id-{seq}") };
                let arrival = Arrival {
                    token,
                    seq: self.numbered.then_some(seq),
                    id: Some(EntryId::new(&id).expect("an id")),
                    entry_id: EntryId::new(&id).expect("an id"),
                    after: after.map(Latest),
                    reference: *reference,
                    work: if *by_gateway { Err(rejection(token)) } else { Ok(token) },
                };
                self.lane.arrive(arrival, self.now, self.end, &mut steps);
            }
            Op::Settle { which, effect } => {
                if self.in_flight.is_empty() {
                    return;
                }
                let tokens: Vec<u64> = self.in_flight.keys().copied().collect();
                return self.settle(*which.get(&tokens), *effect);
            }
            Op::Grow(by) => {
                self.end += by;
                self.lane.pump(self.end, &mut steps);
            }
            Op::Wait(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.lane.tick(self.now, self.end, &mut steps);
            }
        }
        self.check(&steps);
    }

    fn settle(&mut self, token: u64, effect: Effect) {
        let was_unknown = self.in_flight[&token];
        // An append that may be stored is not rejected later.
        let effect = if was_unknown { Effect::Final } else { effect };
        let mut steps = Vec::new();
        self.lane.settle(token, effect.outcome(token), &mut steps);
        let seq = self.seq(token);
        if effect == Effect::Rejected && self.numbered {
            return self.check_rejection(token, seq, &steps);
        }
        if effect == Effect::Unknown {
            self.in_flight.insert(token, true);
        } else {
            self.in_flight.remove(&token);
            self.settled.insert(seq, effect.outcome(token));
        }
        // Without numbers, an append reported unknown is answered again once known.
        if self.numbered || !was_unknown {
            self.check(&steps);
        }
    }

    /// A rejection: the number is next again, and those in flight behind it are answered once.
    fn check_rejection(&mut self, rejected: u64, seq: u64, steps: &[Step<u64>]) {
        for step in steps {
            let Step::Answer { token, outcome, again, .. } = step else {
                panic!("{step:?} behind a rejection")
            };
            assert!(self.answered.insert(*token), "{token} is answered twice");
            match outcome {
                AppendOutcome::StorageFull if *again => assert_eq!(self.seq(*token), seq),
                AppendOutcome::StorageFull => assert_eq!(*token, rejected),
                other => {
                    assert_eq!(*other, AppendOutcome::OutOfOrder { expected: Some(seq) });
                    assert!(self.seq(*token) > seq);
                }
            }
        }
        self.next = seq;
        self.settled.split_off(&seq);
        let behind = self.in_flight.keys().copied().filter(|token| self.seq(*token) >= seq);
        for token in behind.collect::<Vec<_>>() {
            self.in_flight.remove(&token);
            // The sequencer rejects those behind it too, which must not be answered again.
            let mut nothing = Vec::new();
            self.lane.settle(token, Effect::Rejected.outcome(token), &mut nothing);
            assert_eq!(nothing, []);
        }
    }

    fn check(&mut self, steps: &[Step<u64>]) {
        for step in steps {
            match step {
                Step::Submit(token, work) => {
                    assert_eq!(token, work);
                    if self.numbered {
                        assert_eq!(self.seq(*token), self.next, "the next number is submitted");
                    } else {
                        assert!(self.newest < Some(*token), "{token} is submitted out of order");
                    }
                    self.newest = Some(*token);
                    self.next += 1;
                    assert_eq!(self.in_flight.insert(*token, false), None, "submitted once");
                }
                Step::Answer { token, outcome, again, .. } => {
                    assert!(self.answered.insert(*token), "{token} is answered twice");
                    if self.numbered {
                        self.check_answer(self.seq(*token), outcome, *again);
                    }
                }
            }
        }
    }

    fn check_answer(&mut self, seq: u64, outcome: &AppendOutcome, again: bool) {
        if again {
            assert!(self.settled.get(&seq).is_none_or(|settled| settled == outcome));
            if let AppendOutcome::IdReused { slot: token } = outcome {
                assert_eq!(self.seq(*token), seq);
            }
            return;
        }
        match outcome {
            AppendOutcome::Invalid(_) => {
                assert_eq!(seq, self.next, "the gateway's rejections are answered in order");
                self.settled.insert(seq, outcome.clone());
                self.next += 1;
            }
            AppendOutcome::BadRef if seq == self.next => {
                self.settled.insert(seq, outcome.clone());
                self.next += 1;
            }
            AppendOutcome::Ahead => assert_eq!(seq, self.next, "nothing behind it was submitted"),
            // Numbers that are next, or early.
            AppendOutcome::OutOfOrder { expected } => {
                assert!(expected.is_some_and(|it| it >= self.next))
            }
            AppendOutcome::IdReused { .. }
            | AppendOutcome::StorageFull
            | AppendOutcome::Unknown
            | AppendOutcome::BadRef => assert!(seq < self.next),
            AppendOutcome::SeqReused => {}
            other => panic!("{other:?}"),
        }
    }

    /// Delivers all outcomes and lets all timeouts pass: nothing may remain.
    fn end(mut self) {
        while let Some(token) = self.in_flight.keys().next().copied() {
            self.settle(token, Effect::Final);
        }
        for _ in 0..3 {
            self.step(&Op::Wait(10));
            while let Some(token) = self.in_flight.keys().next().copied() {
                self.settle(token, Effect::Final);
            }
        }
        assert_eq!(self.answered.len(), self.frames.len(), "every frame is answered");
        assert_eq!(self.lane.deadline(), None);
    }
}

/// Failures are not persisted: each one becomes a transcript.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_numbered_lane_answers_every_frame_once_and_submits_in_order(ops in ops()) {
        let mut watched = Watched::new(true);
        ops.iter().for_each(|op| watched.step(op));
        watched.end();
    }

    #[test]
    fn a_lane_without_numbers_answers_every_frame_once_and_submits_in_order(ops in ops()) {
        let mut watched = Watched::new(false);
        ops.iter().for_each(|op| watched.step(op));
        watched.end();
    }
}
