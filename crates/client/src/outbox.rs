//! The outbox: appends that have no outcome yet.
//!
//! Enters: appends in order, answers, disconnects; `now` as a duration since some start, `jitter`
//! from 0 to 1. Leaves: frames, and one outcome for each append.
//!
//! Invariant: within a room, frames carry the connection's `seq` 0, 1, 2, … in the order of the
//! appends; an append keeps its id; at most `appends_in_flight` frames are unanswered. Every frame
//! has its own `req`, so an append is resent only when its latest copy is refused.

mod queue;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use roomlog_protocol::{
    Appended, ClientAppend, EntryId, ErrorCode, ErrorFrame, Limits, Refusal, RoomName,
};

use crate::{
    AppendError,
    backoff::{stretched, wait_of},
};
use queue::{Next, Queue, Queued};

/// How long to wait before resending an append with an unknown outcome.
const UNKNOWN_RETRY: Duration = Duration::from_millis(200);
/// How often to resend an append after answers that do not match what was sent.
const MAX_MISMATCHES: u32 = 8;

/// An append that is in the log, on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The server's answer: the `slot`, `committed_at` in ms since the Unix epoch, and `repeat`,
    /// which is `Some(true)` if the entry was in the log already.
    pub appended: Appended,
    /// The time from the first send to the answer, reconnects included.
    pub waited: Duration,
}

/// The outcome of an append.
pub type Outcome = Result<Committed, AppendError>;

/// What to do with the connection after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Continue,
    /// Replace it, for this reason: `seq` has to start over.
    Reconnect(String),
}

/// An unanswered frame.
#[derive(Debug)]
struct Flight {
    room: RoomName,
    seq: u64,
    sent: Duration,
}

/// Appends without an outcome. `T` is returned with the outcome.
#[derive(Debug)]
pub struct Outbox<T> {
    rooms: HashMap<RoomName, Queue<T>>,
    /// Rooms with something to send, each once; they take turns.
    ready: VecDeque<RoomName>,
    /// By `req`, so the oldest comes first.
    flights: BTreeMap<i64, Flight>,
    settled: VecDeque<(T, Outcome)>,
    next_req: i64,
    len: usize,
    capacity: usize,
    retry_timeout: Option<Duration>,
    wait_when_ahead: bool,
    append_to_new_log: bool,
}

impl<T> Outbox<T> {
    /// An outbox for `capacity` appends, at least 1. An append fails when the server has been
    /// refusing it transiently for `retry_timeout` (`None`: never).
    #[must_use]
    pub fn new(capacity: usize, retry_timeout: Option<Duration>) -> Self {
        Self {
            rooms: HashMap::new(),
            ready: VecDeque::new(),
            flights: BTreeMap::new(),
            settled: VecDeque::new(),
            next_req: 1,
            len: 0,
            capacity: capacity.max(1),
            retry_timeout,
            wait_when_ahead: true,
            append_to_new_log: true,
        }
    }

    /// Whether to retry an append that is refused with `ahead` (the default), or fail it at once.
    #[must_use]
    pub fn wait_when_ahead(self, wait: bool) -> Self {
        Self { wait_when_ahead: wait, ..self }
    }

    /// Whether to send pending appends that name no slot to a new log (the default), or fail them
    /// with [`AppendError::NewLog`].
    #[must_use]
    pub fn append_to_new_log(self, append: bool) -> Self {
        Self { append_to_new_log: append, ..self }
    }

    /// Whether this append fails with [`AppendError::NewLog`] if it was made for another log.
    #[must_use]
    pub fn fails_on_new_log(&self, append: &ClientAppend) -> bool {
        !self.append_to_new_log || append.reference.is_some() || append.expect.is_some()
    }

    /// Whether one more append may be pushed.
    #[must_use]
    pub fn has_space(&self) -> bool {
        self.len < self.capacity
    }

    /// Whether every append has its outcome.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Queues an append under this id. The caller checks [`Outbox::has_space`] first.
    pub fn push(&mut self, id: EntryId, mut append: ClientAppend, tag: T) {
        append.id = Some(id.clone());
        let room = append.room.clone();
        self.rooms.entry(room.clone()).or_default().push(Queued::new(append, id, tag));
        self.len += 1;
        self.make_ready(room);
    }

    /// The JSON of the next frame to send; `None` if there is none now or the limits forbid one.
    pub fn next_frame(&mut self, now: Duration, limits: &Limits) -> Option<String> {
        for _ in 0..self.ready.len() {
            if self.flights.len() >= limits.appends_in_flight.max(1) {
                return None;
            }
            let room = self.ready.pop_front()?;
            let Some(queue) = self.rooms.get_mut(&room) else { continue };
            queue.is_ready = false;
            if queue.pause_until.is_some_and(|until| now < until) {
                self.make_ready(room);
                continue;
            }
            queue.pause_until = None;
            let next = loop {
                match queue.next(self.next_req, now, limits) {
                    Next::TooLarge(item, problem) => {
                        self.len -= 1;
                        self.settled.push_back((item.tag, too_large(&room, item.id, problem)));
                    }
                    other => break other,
                }
            };
            self.make_ready(room.clone());
            if let Next::Send(seq, frame) = next {
                self.flights.insert(self.next_req, Flight { room, seq, sent: now });
                self.next_req += 1;
                return Some(frame);
            }
        }
        None
    }

    /// When to call [`Outbox::next_frame`] again if nothing arrives.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.ready.iter().filter_map(|room| self.rooms.get(room)?.pause_until).min()
    }

    /// When the oldest unanswered frame was sent, as `now`.
    #[must_use]
    pub fn oldest_unanswered(&self) -> Option<Duration> {
        self.flights.first_key_value().map(|(_, flight)| flight.sent)
    }

    /// Takes `appended`; ignores a second one for the same append.
    pub fn appended(&mut self, appended: Appended, now: Duration) {
        let flight = appended.req.and_then(|req| self.flights.remove(&req));
        // After `unknown_outcome` there is no flight; then `seq` identifies the append.
        let asked = match flight {
            Some(Flight { room, seq, .. }) => Some((room, seq)),
            None => appended.seq.map(|seq| (appended.room.clone(), seq)),
        };
        let Some((room, seq)) = asked else { return };
        let Some(queue) = self.rooms.get_mut(&room) else { return };
        if queue.get_mut(seq).is_none_or(|item| item.id != appended.id) {
            return;
        }
        if let Some(item) = queue.remove(seq) {
            self.len -= 1;
            let waited = now.saturating_sub(item.first_sent.unwrap_or(now));
            self.settled.push_back((item.tag, Ok(Committed { appended, waited })));
        }
    }

    /// Takes an `error` whose `req` is positive: it answers an append.
    pub fn refused(&mut self, error: ErrorFrame, now: Duration, jitter: f64) -> Verdict {
        let Some(Flight { room, seq, .. }) = error.req.and_then(|req| self.flights.remove(&req))
        else {
            return Verdict::Continue;
        };
        if self.rooms.get_mut(&room).and_then(|queue| queue.get_mut(seq)).is_none() {
            return Verdict::Continue; // `appended` came first.
        }
        match error.code {
            ErrorCode::OutOfOrder => self.out_of_order(&room, seq, error.seq),
            ErrorCode::UnknownOutcome => {
                self.resend_at(&room, seq, now + stretched(UNKNOWN_RETRY, jitter))
            }
            ErrorCode::LoginRequired | ErrorCode::Unauthorized => {
                Verdict::Reconnect(format!("{}: {}", error.code, error.message))
            }
            code if code.is_transient() || code == ErrorCode::Ahead => {
                self.retry_later(&room, seq, error, now, jitter)
            }
            _ => {
                if let Some(item) = self.rooms.get_mut(&room).and_then(|queue| queue.remove(seq)) {
                    self.len -= 1;
                    let outcome = Err(AppendError::Refused(Box::new(error)));
                    self.settled.push_back((item.tag, outcome));
                }
                Verdict::Continue
            }
        }
    }

    /// The connection was lost: everything without an outcome is resent on the next one.
    pub fn disconnected(&mut self) {
        self.flights.clear();
        self.rooms.retain(|_, queue| !queue.is_empty());
        self.ready.retain(|room| self.rooms.contains_key(room));
        self.rooms.values_mut().for_each(Queue::disconnected);
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.make_ready(room);
        }
    }

    /// The server has another log; called while disconnected.
    pub fn new_log(&mut self) {
        for queue in self.rooms.values_mut() {
            for item in queue.new_log(self.append_to_new_log) {
                self.len -= 1;
                self.settled.push_back((item.tag, Err(AppendError::NewLog)));
            }
        }
        self.disconnected();
    }

    /// Fails every append with this error.
    pub fn fail_all(&mut self, error: &AppendError) {
        for queue in std::mem::take(&mut self.rooms).into_values() {
            let items = queue.items.into_iter();
            self.settled.extend(items.map(|item| (item.tag, Err(error.clone()))));
        }
        self.len = 0;
        self.disconnected();
    }

    /// The next append with an outcome.
    pub fn next_settled(&mut self) -> Option<(T, Outcome)> {
        self.settled.pop_front()
    }

    /// The server expects another `seq` first. If that append is pending, it is sent before this
    /// one.
    fn out_of_order(&mut self, room: &RoomName, seq: u64, expected: Option<u64>) -> Verdict {
        let Some(queue) = self.rooms.get_mut(room) else { return Verdict::Continue };
        let explained =
            expected.is_some_and(|wanted| wanted < seq && queue.get_mut(wanted).is_some());
        if let Some(item) = queue.get_mut(seq).filter(|_| !explained) {
            item.mismatches += 1;
            if item.mismatches > MAX_MISMATCHES {
                return Verdict::Reconnect(format!(
                    "the server expects seq {expected:?} of room {room}, which has its outcome"
                ));
            }
        }
        self.resend(room, seq);
        Verdict::Continue
    }

    /// The server asks to wait, or has not reached the slot in `after`.
    fn retry_later(
        &mut self,
        room: &RoomName,
        seq: u64,
        error: ErrorFrame,
        now: Duration,
        jitter: f64,
    ) -> Verdict {
        let Some(item) = self.rooms.get_mut(room).and_then(|queue| queue.get_mut(seq)) else {
            return Verdict::Continue;
        };
        let since = *item.refused_since.get_or_insert(now);
        let end = self.retry_timeout.map(|retry_timeout| since.saturating_add(retry_timeout));
        let is_over = end.is_some_and(|end| now >= end);
        if is_over || (error.code == ErrorCode::Ahead && !self.wait_when_ahead) {
            return self.give_up(room, seq, &error);
        }
        // The last attempt is at the end of `retry_timeout`, however long the server asks to wait.
        let again = now + wait_of(&error, jitter);
        self.resend_at(room, seq, end.map_or(again, |end| end.min(again)))
    }

    /// Fails a refused append and all behind it, which the server cannot take either.
    fn give_up(&mut self, room: &RoomName, seq: u64, error: &ErrorFrame) -> Verdict {
        let Some(queue) = self.rooms.get_mut(room) else { return Verdict::Continue };
        for item in queue.remove_from(seq) {
            self.len -= 1;
            let error = ErrorFrame { id: Some(item.id), ..error.clone() };
            self.settled.push_back((item.tag, Err(AppendError::Refused(Box::new(error)))));
        }
        Verdict::Reconnect(format!("gave up on seq {seq} of room {room}: {}", error.code))
    }

    fn resend_at(&mut self, room: &RoomName, seq: u64, at: Duration) -> Verdict {
        self.resend(room, seq);
        if let Some(queue) = self.rooms.get_mut(room) {
            queue.pause_until = queue.pause_until.max(Some(at));
        }
        Verdict::Continue
    }

    fn resend(&mut self, room: &RoomName, seq: u64) {
        if let Some(queue) = self.rooms.get_mut(room) {
            queue.resend(seq);
            self.make_ready(room.clone());
        }
    }

    fn make_ready(&mut self, room: RoomName) {
        if let Some(queue) = self.rooms.get_mut(&room).filter(|queue| !queue.is_ready)
            && queue.has_work()
        {
            queue.is_ready = true;
            self.ready.push_back(room);
        }
    }
}

fn too_large(room: &RoomName, id: EntryId, problem: String) -> Outcome {
    let mut error = ErrorFrame::from(Refusal::new(ErrorCode::TooLarge, problem));
    (error.room, error.id) = (Some(room.clone()), Some(id));
    Err(AppendError::Refused(Box::new(error)))
}
