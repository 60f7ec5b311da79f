//! The appends of a connection: from a frame to its answer.
//!
//! Enters: `append` frames, outcomes, rooms that moved, time. Leaves: drafts in the queues of rooms,
//! `appended` and `error` frames. Invariants: every frame is answered once, and a late `appended` may
//! follow an `unknown_outcome`; what is unanswered or submitted is bounded by `appends_in_flight`,
//! because the socket is not read beyond it; so is the mailbox; what they hold is counted ([`Appends::bytes`]).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::HashMap;
use roomlog_core::{
    budget::{Account, Charge},
    lane::{Arrival, Lane, Step},
    mailbox::Mailbox,
    outcome::AppendOutcome,
    queue::{Draft, Queue},
};
use roomlog_protocol::{Appended, EntryId, Refusal, RoomName, ServerFrame, Slot};

use super::{
    held::{LANE_BYTES, OUTCOME_BYTES, UNANSWERED_BYTES, shrink},
    turn::Turn,
};
use crate::outcome::refusal_of;

/// How many frames that are answered are noted before they are forgotten.
const READ_KEPT: usize = 64;

/// For how many steps of a lane a connection keeps memory.
const STEPS_KEPT: usize = 4;

/// An append frame without its last outcome.
struct Hand {
    key: u32,
    read: Instant,
    room: RoomName,
    id: Option<EntryId>,
    seq: Option<u64>,
    req: Option<i64>,
    is_submitted: bool,
    is_answered: bool,
    /// While it waits in its lane.
    waiting: Option<Charge>,
}

/// The appends of a connection in one room.
struct Appending {
    lane: Lane<Draft>,
    queue: Queue,
    /// How many of them the sequencer has.
    submitted: usize,
}

impl Appending {
    /// Charges an append that would wait; it is `busy` if that may not be held.
    fn charge_waiting(
        &self,
        account: &Account,
        arrival: &mut Arrival<Draft>,
        end: Slot,
    ) -> Option<Charge> {
        let weight = arrival.work.as_ref().ok()?.weight();
        if !self.lane.would_wait(arrival, end) {
            return None;
        }
        let charge = account.charge(weight);
        if charge.is_none() {
            arrival.work = Err(AppendOutcome::Busy);
        }
        charge
    }
}

/// The appends of a connection.
pub(super) struct Appends {
    mailbox: Arc<Mailbox>,
    rooms: HashMap<u32, Box<Appending>>,
    /// Keys of rooms in which an append waits with a deadline.
    waiting: Vec<u32>,
    hands: HashMap<u64, Hand>,
    next_token: u64,
    /// Tokens by when they were read, those that are answered too.
    read_at: VecDeque<(Instant, u64)>,
    unanswered: usize,
    submitted: usize,
    /// How many outcomes the lanes keep.
    outcomes: usize,
    /// Something was submitted that the sequencer does not see yet.
    is_unflushed: bool,
    /// What a lane says, and what is still to be done of it: empty but for their memory.
    steps: (Vec<Step<Draft>>, VecDeque<Step<Draft>>),
}

impl Appends {
    /// No appends. Their outcomes come to this mailbox.
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            mailbox,
            rooms: HashMap::default(),
            waiting: Vec::new(),
            hands: HashMap::default(),
            next_token: 0,
            read_at: VecDeque::new(),
            unanswered: 0,
            submitted: 0,
            outcomes: 0,
            is_unflushed: false,
            steps: Default::default(),
        }
    }

    /// Frames without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Appends without an outcome.
    pub(super) fn submitted(&self) -> usize {
        self.submitted
    }

    /// Whether no frame is without its last outcome.
    pub(super) fn is_empty(&self) -> bool {
        self.hands.is_empty()
    }

    /// How much memory they take, with their answers to come, in bytes. Their texts are charged as
    /// appends.
    pub(super) fn bytes(&self) -> usize {
        self.hands.len() * UNANSWERED_BYTES
            + self.read_at.len() * size_of::<(Instant, u64)>()
            + self.rooms.len() * LANE_BYTES
            + self.outcomes * OUTCOME_BYTES
    }

    /// Whether appends in this room carry numbers: then its lane is kept as long as the connection.
    pub(super) fn is_numbered(&self, key: u32) -> bool {
        self.rooms.get(&key).is_some_and(|room| room.lane.is_numbered())
    }

    pub(super) fn waits_for_room(&self, key: u32) -> bool {
        self.rooms.get(&key).is_some_and(|room| room.lane.waits_for_room())
    }

    /// Whether nothing of this room is needed any more.
    pub(super) fn is_at_rest(&self, key: u32) -> bool {
        self.rooms.get(&key).is_none_or(|room| {
            !room.lane.is_numbered() && room.submitted == 0 && !room.lane.waits_for_room()
        })
    }

    pub(super) fn remove(&mut self, key: u32) {
        self.rooms.remove(&key);
        shrink(&mut self.rooms);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.rooms.retain(|key, _| keep(*key));
        shrink(&mut self.rooms);
        self.outcomes = self.rooms.values().map(|room| room.lane.kept()).sum();
    }

    /// Takes an append of the room with this key, and when it was read. The token in `arrival` is set
    /// here.
    pub(super) fn arrive(
        &mut self,
        turn: &mut Turn,
        (key, read): (u32, Instant),
        (room, id, req): (RoomName, Option<EntryId>, Option<i64>),
        mut arrival: Arrival<Draft>,
    ) {
        let (token, seq, now) = (self.next_token, arrival.seq, turn.now);
        self.next_token += 1;
        let appending = self.rooms.entry(key).or_insert_with(|| {
            let lane = Lane::new(turn.gateway.lane_limits());
            let queue = turn.gateway.node.queue(&self.mailbox);
            Box::new(Appending { lane, queue, submitted: 0 })
        });
        let end = turn.rooms.end(key);
        let waiting = appending.charge_waiting(&turn.client.waiting, &mut arrival, end);
        let (is_submitted, is_answered) = (false, false);
        let hand = Hand { key, read, room, id, seq, req, is_submitted, is_answered, waiting };
        self.hands.insert(token, hand);
        self.unanswered += 1;
        self.note_read(token, read);
        let arrival = Arrival { token, ..arrival };
        self.advance(turn, key, |room, steps| room.lane.arrive(arrival, now, end, steps));
        self.wait_in(turn, key);
    }

    /// Notes when a frame was read. Frames that are answered are forgotten once they are most, even if
    /// the oldest is not.
    fn note_read(&mut self, token: u64, now: Instant) {
        if self.read_at.len() > READ_KEPT + 2 * self.hands.len() {
            let hands = &self.hands;
            self.read_at.retain(|(_, token)| hands.get(token).is_some_and(|it| !it.is_answered));
        }
        self.read_at.push_back((now, token));
    }

    /// A room has moved: what waited for that goes.
    pub(super) fn moved(&mut self, turn: &mut Turn, key: u32) {
        let end = turn.rooms.end(key);
        self.advance(turn, key, |room, steps| room.lane.pump(end, steps));
    }

    /// Tells a lane of an event, and does what it says.
    fn advance(
        &mut self,
        turn: &mut Turn,
        key: u32,
        event: impl FnOnce(&mut Appending, &mut Vec<Step<Draft>>),
    ) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let (mut said, mut steps) = std::mem::take(&mut self.steps);
        let kept = room.lane.kept();
        event(room, &mut said);
        self.outcomes = self.outcomes + room.lane.kept() - kept;
        steps.extend(said.drain(..));
        self.take_steps(turn, key, &mut steps);
        said.shrink_to(STEPS_KEPT);
        steps.shrink_to(STEPS_KEPT);
        self.steps = (said, steps);
    }

    /// Asks for notice of a room if an append waits for it, and notes the deadline if one has any.
    fn wait_in(&mut self, turn: &mut Turn, key: u32) {
        if self.waits_for_room(key) {
            turn.rooms.subscribe(key);
            // It may have moved before notice was asked for.
            self.moved(turn, key);
        }
        let has_deadline = self.rooms.get(&key).is_some_and(|it| it.lane.deadline().is_some());
        if has_deadline && !self.waiting.contains(&key) {
            self.waiting.push(key);
        }
    }

    /// Does what a lane says.
    fn take_steps(&mut self, turn: &mut Turn, key: u32, steps: &mut VecDeque<Step<Draft>>) {
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Answer { token, outcome, entry_id, again } => {
                    self.answer(turn, token, &outcome, (entry_id, again));
                }
                Step::Submit(token, draft) => {
                    let Some(appending) = self.rooms.get_mut(&key) else { continue };
                    // Counted now and not when it was read: one that waited for its turn and is
                    // `out_of_order` uses up nothing.
                    let admitted = turn.client.admit_append();
                    let admitted = admitted.map_err(|it| AppendOutcome::Invalid(Box::new(it)));
                    let appended = admitted.and_then(|()| appending.queue.append(token, draft));
                    let Err(outcome) = appended else {
                        appending.submitted += 1;
                        turn.placement.note_append();
                        self.note_submitted(token);
                        continue;
                    };
                    if appending.lane.is_numbered() {
                        // What is behind it must come again after it.
                        steps.retain(|step| !matches!(step, Step::Submit(..)));
                    }
                    let (mut more, kept) = (Vec::new(), appending.lane.kept());
                    appending.lane.settle(token, outcome, &mut more);
                    self.outcomes = self.outcomes + appending.lane.kept() - kept;
                    steps.extend(more);
                }
            }
        }
    }

    fn note_submitted(&mut self, token: u64) {
        let Some(hand) = self.hands.get_mut(&token) else { return };
        hand.is_submitted = true;
        hand.waiting = None;
        self.submitted += 1;
        self.is_unflushed = true;
    }

    /// Whether something was submitted that the sequencer does not see yet; then it is shown that.
    pub(super) fn take_unflushed(&mut self) -> bool {
        std::mem::take(&mut self.is_unflushed)
    }

    /// Takes the outcome of a submitted append; gives the key of its room.
    pub(super) fn outcome(
        &mut self,
        turn: &mut Turn,
        token: u64,
        outcome: AppendOutcome,
    ) -> Option<u32> {
        let hand = self.hands.get_mut(&token)?;
        hand.is_submitted = false;
        self.submitted -= 1;
        let key = hand.key;
        if hand.is_answered {
            // Answered as unknown, or as behind a rejection: only a commit is worth another answer.
            let hand = self.hands.remove(&token)?;
            say_appended(turn, &hand, &outcome, (None, false));
        }
        self.advance(turn, key, |room, steps| {
            room.submitted -= 1;
            room.lane.settle(token, outcome, steps);
        });
        Some(key)
    }

    /// Answers a frame, once.
    fn answer(
        &mut self,
        turn: &mut Turn,
        token: u64,
        outcome: &AppendOutcome,
        entry: (Option<EntryId>, bool),
    ) {
        if self.hands.get(&token).is_none_or(|hand| hand.is_answered) {
            return;
        }
        self.unanswered -= 1;
        let Some(mut hand) = self.hands.remove(&token) else { return };
        match refusal_of(outcome) {
            None => say_appended(turn, &hand, outcome, entry),
            Some(refusal) => refuse(turn, &hand, outcome, refusal),
        }
        if hand.is_submitted {
            hand.is_answered = true;
            self.hands.insert(token, hand);
        }
    }

    /// When [`Appends::tick`] has something to do, if nothing happens before.
    /// `append_for` is how long a frame may be unanswered.
    pub(super) fn deadline(&self, append_for: Duration) -> Option<Instant> {
        let oldest = self.read_at.front().map(|(at, _)| *at + append_for);
        let lanes = self.waiting.iter().filter_map(|key| self.rooms.get(key)?.lane.deadline());
        lanes.chain(oldest).min()
    }

    /// Ends what has waited too long, and answers what has been unanswered for `append_ms`: the journal
    /// may still take that. Gives the keys of rooms in which an append waited.
    pub(super) fn tick(&mut self, turn: &mut Turn) -> Vec<u32> {
        self.give_up_old(turn);
        let waited = std::mem::take(&mut self.waiting);
        for key in &waited {
            let (now, end) = (turn.now, turn.rooms.end(*key));
            self.advance(turn, *key, |room, steps| room.lane.tick(now, end, steps));
            self.wait_in(turn, *key);
        }
        waited
    }

    fn give_up_old(&mut self, turn: &mut Turn) {
        let append_for = turn.gateway.config.limits.append_for;
        while let Some((at, token)) = self.read_at.front().copied() {
            let in_hand = self.hands.get(&token).filter(|hand| !hand.is_answered);
            if in_hand.is_some() && turn.now.saturating_duration_since(at) < append_for {
                return;
            }
            self.read_at.pop_front();
            let Some(key) = in_hand.filter(|hand| hand.is_submitted).map(|hand| hand.key) else {
                continue;
            };
            let unknown = AppendOutcome::Unknown;
            self.advance(turn, key, |room, steps| room.lane.settle(token, unknown, steps));
        }
    }

    /// The node stops: what waits in lanes is answered at once.
    pub(super) fn close(&mut self, turn: &mut Turn) {
        for key in self.rooms.keys().copied().collect::<Vec<_>>() {
            self.advance(turn, key, |room, steps| room.lane.close(steps));
        }
    }
}

/// Says that an append was committed. `entry_id` is the lane's id of its entry, if it has one;
/// `again`: an earlier frame was told so too.
fn say_appended(
    turn: &mut Turn,
    hand: &Hand,
    outcome: &AppendOutcome,
    (entry_id, again): (Option<EntryId>, bool),
) {
    let AppendOutcome::Committed { slot, committed_at, repeat } = *outcome else { return };
    let repeat = repeat || again;
    if !hand.is_answered {
        let elapsed = turn.now.saturating_duration_since(hand.read);
        turn.gateway.config.metrics.appended(repeat, elapsed);
    }
    let Some(id) = entry_id.or_else(|| hand.id.clone()) else { return };
    let (room, seq, req) = (hand.room.clone(), hand.seq, hand.req);
    let repeat = repeat.then_some(true);
    let appended = Appended { room, id, slot, committed_at, repeat, seq, req };
    turn.say(&ServerFrame::Appended(appended));
}

fn refuse(turn: &mut Turn, hand: &Hand, outcome: &AppendOutcome, refusal: Refusal) {
    let latest = match outcome {
        AppendOutcome::Ahead => Some(turn.rooms.latest(hand.key)),
        _ => refusal.latest,
    };
    turn.refuse_append(Refusal {
        room: Some(hand.room.clone()),
        id: hand.id.clone(),
        seq: refusal.seq.or(hand.seq),
        req: hand.req,
        latest,
        ..refusal
    });
}
