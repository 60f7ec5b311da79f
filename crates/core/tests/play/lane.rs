//! Plays a lane: each line is an event and, after `|`, the actions that the connection must take.
//!
//! ```text
//!  frame LABEL [seq=N] [id=ID] [after=N] [ref=N] [gateway=WHY]   a frame; id: LABEL without '
//!  final LABEL WHY · reject LABEL WHY · unknown LABEL WHY         an outcome arrives
//!  end N    the room's log now ends at N
//!  wait S   S seconds pass
//!  close    the node stops
//! ```

use std::time::{Duration, Instant};

use roomlog_core::{
    lane::{Arrival, Lane, LaneLimits, Step},
    outcome::AppendOutcome,
};
use roomlog_protocol::{EntryId, ErrorCode, Latest, Refusal};

/// 64 early appends for 10 s; 5 s for `after` and `ref`.
pub(crate) const LIMITS: LaneLimits =
    LaneLimits { early: 64, early_for: Duration::from_secs(10), ahead_for: Duration::from_secs(5) };

/// A lane, its clock and its room.
pub(crate) struct Player {
    pub(crate) lane: Lane<String>,
    labels: Vec<String>,
    now: Instant,
    end: u64,
}

impl Player {
    pub(crate) fn new() -> Self {
        Self {
            lane: Lane::new(LIMITS),
            labels: Vec::new(),
            now: tokio::time::Instant::now().into_std(),
            end: 0,
        }
    }

    /// Plays one line; returns the actions of the connection.
    pub(crate) fn step(&mut self, line: &str) -> String {
        let mut steps = Vec::new();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["frame", label, ref members @ ..] => {
                let arrival = self.arrival(label, members);
                self.lane.arrive(arrival, self.now, self.end, &mut steps);
            }
            ["final" | "reject" | "unknown", label, outcome] => {
                let token = self.labels.iter().position(|known| known == label).expect("a frame");
                let outcome = read(outcome);
                assert_eq!(outcome.is_final(), words[0] == "final", "{line}");
                self.lane.settle(token as u64, outcome, &mut steps);
            }
            ["end", end] => {
                self.end = end.parse().expect("a slot");
                self.lane.pump(self.end, &mut steps);
            }
            ["wait", seconds] => {
                self.now += Duration::from_secs_f64(seconds.parse().expect("seconds"));
                self.lane.tick(self.now, self.end, &mut steps);
            }
            // The log advances and the time is up before the lane sees either.
            ["wait", seconds, "end", end] => {
                self.now += Duration::from_secs_f64(seconds.parse().expect("seconds"));
                self.end = end.parse().expect("a slot");
                self.lane.tick(self.now, self.end, &mut steps);
            }
            ["close"] => self.lane.close(&mut steps),
            _ => panic!("{line}: not a line of a transcript"),
        }
        let actions: Vec<String> = steps.iter().map(|step| self.say(step)).collect();
        actions.join(", ")
    }

    fn arrival(&mut self, label: &str, members: &[&str]) -> Arrival<String> {
        let token = self.labels.len() as u64;
        self.labels.push(label.into());
        let id = EntryId::new(label.trim_end_matches('\'')).expect("an id");
        let (seq, work) = (None, Ok(label.to_string()));
        let entry_id = id.clone();
        let (after, reference) = (None, None);
        let mut arrival = Arrival { token, seq, id: Some(id), entry_id, after, reference, work };
        for member in members {
            let (name, value) = member.split_once('=').expect("member=value");
            match name {
                "seq" => arrival.seq = Some(value.parse().expect("a number")),
                "id" => arrival.id = Some(EntryId::new(value).expect("an id")),
                "after" => arrival.after = Some(Latest(value.parse().expect("a slot"))),
                "ref" => arrival.reference = Some(value.parse().expect("a slot")),
                "gateway" => arrival.work = Err(read(value)),
                other => panic!("{other}"),
            }
        }
        arrival
    }

    fn say(&self, step: &Step<String>) -> String {
        let label = |token: u64| self.labels[usize::try_from(token).expect("small")].as_str();
        match step {
            Step::Submit(token, work) => {
                assert_eq!(label(*token), work);
                format!("submit {work}")
            }
            Step::Answer { token, outcome, again, .. } => {
                format!("{}: {}{}", label(*token), if *again { "again " } else { "" }, say(outcome))
            }
        }
    }
}

/// An outcome as one word; `at-N` is a commit.
fn read(word: &str) -> AppendOutcome {
    let invalid = |code| AppendOutcome::Invalid(Box::new(Refusal::new(code, "")));
    match word.split_once('-').unwrap_or((word, "0")) {
        ("at", slot) => {
            let slot = slot.parse().expect("a slot");
            AppendOutcome::Committed { slot, committed_at: 0, repeat: false }
        }
        ("reused", _) => AppendOutcome::IdReused { slot: 0 },
        ("busy", _) => AppendOutcome::Busy,
        ("full", _) => AppendOutcome::StorageFull,
        ("unavailable", _) => AppendOutcome::Unavailable,
        ("out", _) => AppendOutcome::OutOfOrder { expected: None },
        ("unknown", _) => AppendOutcome::Unknown,
        ("forbidden", _) => invalid(ErrorCode::Forbidden),
        ("too_large", _) => invalid(ErrorCode::TooLarge),
        other => panic!("{other:?}: no outcome"),
    }
}

fn say(outcome: &AppendOutcome) -> String {
    match outcome {
        AppendOutcome::Committed { slot, .. } => format!("at-{slot}"),
        AppendOutcome::IdReused { .. } => "reused".into(),
        AppendOutcome::ExpectFailed { .. } => "expect failed".into(),
        AppendOutcome::BadRef => "bad_ref".into(),
        AppendOutcome::Invalid(refusal) => refusal.code.to_string(),
        AppendOutcome::SeqReused => "other id".into(),
        AppendOutcome::SeqMixed => "mixed".into(),
        AppendOutcome::Ahead => "ahead".into(),
        AppendOutcome::OutOfOrder { expected: Some(expected) } => {
            format!("out_of_order {expected}")
        }
        AppendOutcome::OutOfOrder { expected: None } => "out".into(),
        AppendOutcome::Busy => "busy".into(),
        AppendOutcome::StorageFull => "full".into(),
        AppendOutcome::Unavailable => "unavailable".into(),
        AppendOutcome::Unknown => "unknown".into(),
    }
}

/// Plays a transcript and compares each line.
pub(crate) fn play(transcript: &str) -> Player {
    let mut player = Player::new();
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (event, expected) = line.split_once('|').expect("event | actions");
        assert_eq!(player.step(event), expected.trim(), "{event}");
    }
    player
}
