//! The outbox against a model of a server that refuses, loses and reorders its answers, and
//! disconnects.
//!
//! Enters: a list of choices. Checked: every append has one outcome; the log has each id once, in
//! the order of the appends; every frame conforms to the protocol.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use roomlog_client::{
    AppendError, draft,
    outbox::{Outbox, Verdict},
};
use roomlog_protocol::{
    Appended, ClientAppend, ClientFrame, EntryId, ErrorCode, ErrorFrame, Limits, Refusal, RoomName,
    client::parse,
};

/// The answer to one frame.
#[derive(Debug, Clone)]
enum Answer {
    Yes(Appended),
    No(ErrorFrame),
}

/// One room of a server: its log, and the state of one connection.
#[derive(Default)]
struct Model {
    log: Vec<EntryId>,
    /// These stay too large: that refusal does not depend on time.
    too_large: BTreeSet<EntryId>,
    expected: u64,
    waiting: BTreeMap<u64, Vec<ClientAppend>>,
    outcomes: BTreeMap<u64, Answer>,
    answers: Vec<Answer>,
    choices: VecDeque<u8>,
}

fn error(append: &ClientAppend, code: ErrorCode, seq: u64) -> ErrorFrame {
    let refusal = Refusal {
        room: Some(append.room.clone()),
        id: append.id.clone(),
        seq: Some(seq),
        req: append.req,
        ..Refusal::new(code, "from the model")
    };
    ErrorFrame::from(refusal)
}

impl Model {
    fn choice(&mut self) -> u8 {
        self.choices.pop_front().unwrap_or(u8::MAX)
    }

    fn receive(&mut self, append: ClientAppend) {
        let seq = append.seq.expect("the outbox always numbers");
        if seq < self.expected {
            let mut answer = self.outcomes[&seq].clone();
            match &mut answer {
                Answer::Yes(appended) => {
                    assert_eq!(Some(&appended.id), append.id.as_ref(), "a number for another id");
                    appended.req = append.req;
                }
                Answer::No(error) => error.req = append.req,
            }
            return self.answers.push(answer);
        }
        self.waiting.entry(seq).or_default().push(append);
        while let Some(copies) = self.waiting.remove(&self.expected) {
            if !self.take(copies) {
                break;
            }
        }
    }

    /// Takes the append with the expected `seq`. False: it was refused, with all that are queued.
    fn take(&mut self, copies: Vec<ClientAppend>) -> bool {
        let seq = self.expected;
        let choice = self.choice();
        if choice < 60 {
            for copy in &copies {
                self.answers.push(Answer::No(error(copy, ErrorCode::Busy, seq)));
            }
            // Some are queued, and some are still arriving.
            let queued =
                if choice < 30 { std::mem::take(&mut self.waiting) } else { BTreeMap::new() };
            for copy in queued.values().flatten() {
                self.answers.push(Answer::No(error(copy, ErrorCode::OutOfOrder, seq)));
            }
            return false;
        }
        let id = copies[0].id.clone().expect("the outbox always names");
        if (60..75).contains(&choice) && !self.log.contains(&id) {
            self.too_large.insert(id.clone());
        }
        let outcome = if self.too_large.contains(&id) {
            Answer::No(error(&copies[0], ErrorCode::TooLarge, seq))
        } else {
            self.commit(&copies[0], seq)
        };
        self.outcomes.insert(seq, outcome.clone());
        self.expected += 1;
        for copy in copies {
            let mut answer = outcome.clone();
            match &mut answer {
                Answer::Yes(appended) => appended.req = copy.req,
                Answer::No(error) => error.req = copy.req,
            }
            if (75..100).contains(&choice) {
                self.answers.push(Answer::No(error(&copy, ErrorCode::UnknownOutcome, seq)));
            }
            if !(75..90).contains(&choice) {
                self.answers.push(answer);
            }
        }
        true
    }

    fn commit(&mut self, append: &ClientAppend, seq: u64) -> Answer {
        let id = append.id.clone().expect("the outbox always names");
        let known = self.log.iter().position(|known| *known == id);
        let slot = known.unwrap_or(self.log.len()) as u64;
        if known.is_none() {
            self.log.push(id.clone());
        }
        Answer::Yes(Appended {
            room: append.room.clone(),
            id,
            slot,
            committed_at: 1,
            repeat: known.map(|_| true),
            seq: Some(seq),
            req: None,
        })
    }

    fn hang_up(&mut self) {
        self.expected = 0;
        self.waiting.clear();
        self.outcomes.clear();
        self.answers.clear();
    }
}

fn room() -> RoomName {
    RoomName::new("r").expect("a room")
}

fn id(n: usize) -> EntryId {
    EntryId::new(&format!("id-{n}")).expect("an id")
}

fn frame(text: &str) -> ClientAppend {
    match parse(text, &Limits::default()) {
        Ok(ClientFrame::Append(append)) => *append,
        other => panic!("not an append: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_append_has_one_outcome_and_the_log_their_order(
        count in 1_usize..40,
        in_flight in 1_usize..20,
        choices in prop::collection::vec(any::<u8>(), 0..200),
        mixing in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let limits = Limits { appends_in_flight: in_flight, ..Limits::default() };
        let mut outbox = Outbox::new(count, None);
        let mut model = Model { choices: choices.into(), ..Model::default() };
        let mut mixing = VecDeque::from(mixing);
        let mut outcomes = BTreeMap::new();
        for n in 0..count {
            outbox.push(id(n), draft(room(), format!("body {n}")), n);
        }
        prop_assert!(!outbox.has_space());
        let mut now = Duration::ZERO;
        let mut rounds = 0;
        while !outbox.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 20_000, "no progress");
            now += Duration::from_millis(50);
            let mix = mixing.pop_front().unwrap_or(0);
            if mix % 16 < 12
                && let Some(text) = outbox.next_frame(now, &limits)
            {
                model.receive(frame(&text));
            }
            if mix % 16 < 10 && !model.answers.is_empty() {
                let answer = model.answers.remove(usize::from(mix) % model.answers.len());
                match answer {
                    Answer::Yes(appended) => outbox.appended(appended, now),
                    Answer::No(error) => {
                        let verdict = outbox.refused(error, now, 0.5);
                        prop_assert_eq!(verdict, Verdict::Continue);
                    }
                }
            }
            if mix == 255 {
                model.hang_up();
                outbox.disconnected();
            }
            while let Some((n, outcome)) = outbox.next_settled() {
                prop_assert!(outcomes.insert(n, outcome).is_none(), "two outcomes for {}", n);
            }
        }
        prop_assert_eq!(outcomes.len(), count);
        let committed: Vec<_> = (0..count).filter(|n| outcomes[n].is_ok()).map(id).collect();
        let log: Vec<_> = model.log.clone();
        prop_assert_eq!(&log, &committed, "the log is out of order");
        for (n, outcome) in outcomes {
            match outcome {
                Ok(committed) => prop_assert_eq!(&model.log[committed.appended.slot as usize], &id(n)),
                Err(AppendError::Refused(error)) => prop_assert_eq!(error.code, ErrorCode::TooLarge),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}

#[test]
fn an_append_that_is_refused_for_too_long_fails_with_all_behind_it() {
    let at = Duration::from_secs;
    let mut outbox = Outbox::new(8, Some(at(10)));
    let limits = Limits::default();
    for n in 0..3 {
        outbox.push(id(n), draft(room(), ""), n);
    }
    let frames: Vec<_> =
        std::iter::from_fn(|| outbox.next_frame(at(0), &limits)).map(|text| frame(&text)).collect();
    assert_eq!(
        frames.iter().map(|append| append.seq).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2)]
    );

    assert_eq!(
        outbox.refused(error(&frames[1], ErrorCode::StorageFull, 1), at(1), 0.0),
        Verdict::Continue
    );
    assert_eq!(outbox.next_frame(at(1), &limits), None, "it waits");
    let again = frame(&outbox.next_frame(at(2), &limits).expect("sent again"));
    assert_eq!((again.seq, &again.id), (Some(1), &frames[1].id));
    let verdict = outbox.refused(error(&again, ErrorCode::StorageFull, 1), at(11), 0.0);
    assert!(matches!(verdict, Verdict::Reconnect(_)), "numbers have to begin anew");

    let mut failed = Vec::new();
    while let Some((n, outcome)) = outbox.next_settled() {
        match outcome {
            Err(AppendError::Refused(error)) => failed.push((n, error.code, error.id)),
            other => panic!("{other:?}"),
        }
    }
    let full = ErrorCode::StorageFull;
    assert_eq!(failed, [(1, full, Some(id(1))), (2, full, Some(id(2)))]);
    outbox.disconnected();
    let first = frame(&outbox.next_frame(at(12), &limits).expect("the first is still unanswered"));
    assert_eq!((first.seq, first.id), (Some(0), Some(id(0))));
}

#[test]
fn rooms_take_turns() {
    let mut outbox = Outbox::new(8, None);
    let rooms = ["a", "b"].map(|name| RoomName::new(name).expect("a room"));
    for n in 0..4 {
        outbox.push(id(n), draft(rooms[n / 2].clone(), ""), n);
    }
    let sent: Vec<_> = std::iter::from_fn(|| outbox.next_frame(Duration::ZERO, &Limits::default()))
        .map(|text| frame(&text))
        .map(|append| (append.room.to_string(), append.seq))
        .collect();
    let expected = [("a", 0), ("b", 0), ("a", 1), ("b", 1)];
    assert_eq!(sent, expected.map(|(room, seq)| (room.to_owned(), Some(seq))));
}

#[test]
fn a_server_that_expects_a_settled_append_causes_a_reconnect() {
    let mut outbox = Outbox::new(1, None);
    outbox.push(id(0), draft(room(), ""), 0);
    for _ in 0..100 {
        let sent = frame(&outbox.next_frame(Duration::ZERO, &Limits::default()).expect("a frame"));
        let verdict = outbox.refused(error(&sent, ErrorCode::OutOfOrder, 7), Duration::ZERO, 0.0);
        if matches!(verdict, Verdict::Reconnect(_)) {
            return;
        }
    }
    panic!("it was resent a hundred times");
}
