//! The outbox: what was asked to be appended and has no outcome yet.
//!
//! Enters: appends in their author's order, answers of the server, losses of the connection. Leaves:
//! frames to send, and one outcome for each append. No clock, no socket, no randomness: time is
//! handed in as a duration since some start, jitter as a number from 0 to 1.
//!
//! Invariant: within a room, frames carry `seq` 0, 1, 2, … of this connection in the order of the
//! appends; an append keeps its id for ever; at most `appends_in_flight` frames are unanswered.
//!
//! Every frame has a mark (`req`) of its own, so an answer to an older copy of an append is told from
//! one to the newest: only what the server refused is sent again, and only once for each refusal.

mod queue;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use roomlog_protocol::{
    Appended, ClientAppend, EntryId, ErrorCode, ErrorFrame, Limits, Refusal, RoomName,
};

use crate::{AppendError, backoff::stretched};
use queue::{Item, Next, Queue};

/// How long to wait after a refusal that names no time.
pub(crate) const DEFAULT_RETRY: Duration = Duration::from_millis(500);

/// How long to wait before asking again for an outcome that the server did not know.
const UNKNOWN_RETRY: Duration = Duration::from_millis(200);

/// How often an answer that does not fit what was sent is met by sending again.
const MOST_PUZZLES: u32 = 8;

/// An append that is in the log, on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The server's answer: the `slot`, `committed_at` in ms since the Unix epoch, and `repeat`, which is
    /// `Some(true)` when the entry was there already.
    pub appended: Appended,
    /// The time from the first sending to the answer, reconnects included.
    pub waited: Duration,
}

/// What became of an append: in the log, or why not.
pub type Outcome = Result<Committed, AppendError>;

/// What the connection must do about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    GoOn,
    /// Leave it and make another one: numbers have to begin anew.
    Reconnect(String),
}

/// A frame that is not answered yet.
#[derive(Debug)]
struct Flight {
    room: RoomName,
    seq: u64,
    sent: Duration,
}

/// Appends without an outcome. `T` comes back with the outcome.
#[derive(Debug)]
pub struct Outbox<T> {
    rooms: HashMap<RoomName, Queue<T>>,
    /// Rooms with something to send, each once; they take turns.
    ready: VecDeque<RoomName>,
    /// By mark, so the oldest is the first.
    flights: BTreeMap<i64, Flight>,
    settled: VecDeque<(T, Outcome)>,
    next_req: i64,
    len: usize,
    capacity: usize,
    patience: Option<Duration>,
    wait_when_ahead: bool,
    append_to_new_log: bool,
}

impl<T> Outbox<T> {
    /// An outbox for `capacity` appends, one at least. What the server asks to wait with for longer than
    /// `patience` (`None`: for ever) fails.
    #[must_use]
    pub fn new(capacity: usize, patience: Option<Duration>) -> Self {
        Self {
            rooms: HashMap::new(),
            ready: VecDeque::new(),
            flights: BTreeMap::new(),
            settled: VecDeque::new(),
            next_req: 1,
            len: 0,
            capacity: capacity.max(1),
            patience,
            wait_when_ahead: true,
            append_to_new_log: true,
        }
    }

    /// Whether an append that the server calls `ahead` is sent again (as it is without this call), or
    /// fails at once.
    #[must_use]
    pub fn wait_when_ahead(self, wait: bool) -> Self {
        Self { wait_when_ahead: wait, ..self }
    }

    /// Whether what names no slot is sent to another log too (as it is without this call), or goes back
    /// to its author.
    #[must_use]
    pub fn append_to_new_log(self, append: bool) -> Self {
        Self { append_to_new_log: append, ..self }
    }

    /// Whether an append that was made for another log than the server's goes back to its author.
    #[must_use]
    pub fn gives_back(&self, append: &ClientAppend) -> bool {
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

    /// Takes an append under this id. The caller looks at [`Outbox::has_space`] first.
    pub fn push(&mut self, id: EntryId, mut append: ClientAppend, tag: T) {
        append.id = Some(id.clone());
        let room = append.room.clone();
        self.rooms.entry(room.clone()).or_default().push(Item::new(append, id, tag));
        self.len += 1;
        self.line_up(room);
    }

    /// The text of the next frame to send, when there is one and the limits allow it.
    pub fn next_frame(&mut self, now: Duration, limits: &Limits) -> Option<String> {
        for _ in 0..self.ready.len() {
            if self.flights.len() as u64 >= limits.appends_in_flight.max(1) {
                return None;
            }
            let room = self.ready.pop_front()?;
            let Some(queue) = self.rooms.get_mut(&room) else { continue };
            queue.in_line = false;
            if queue.pause_until.is_some_and(|until| now < until) {
                self.line_up(room);
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
            self.line_up(room.clone());
            if let Next::Send(seq, frame) = next {
                self.flights.insert(self.next_req, Flight { room, seq, sent: now });
                self.next_req += 1;
                return Some(frame);
            }
        }
        None
    }

    /// When to look for a next frame again, although nothing came in.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.ready.iter().filter_map(|room| self.rooms.get(room)?.pause_until).min()
    }

    /// When the oldest unanswered frame was sent.
    #[must_use]
    pub fn oldest_unanswered(&self) -> Option<Duration> {
        self.flights.first_key_value().map(|(_, flight)| flight.sent)
    }

    /// Takes `appended`. A second answer to one append is no news.
    pub fn appended(&mut self, appended: Appended, now: Duration) {
        let flight = appended.req.and_then(|req| self.flights.remove(&req));
        // The mark is the frame's own. Of one that was answered before (`unknown_outcome`) the number tells.
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
    pub fn refused(&mut self, error: ErrorFrame, now: Duration, unit: f64) -> Verdict {
        let Some(Flight { room, seq, .. }) = error.req.and_then(|req| self.flights.remove(&req))
        else {
            return Verdict::GoOn;
        };
        if self.rooms.get_mut(&room).and_then(|queue| queue.get_mut(seq)).is_none() {
            return Verdict::GoOn; // It was answered by `appended` before.
        }
        match error.code {
            ErrorCode::OutOfOrder => self.out_of_order(&room, seq, error.seq),
            ErrorCode::UnknownOutcome => {
                self.wait(&room, seq, now + stretched(UNKNOWN_RETRY, unit))
            }
            ErrorCode::LoginRequired | ErrorCode::Unauthorized => {
                Verdict::Reconnect(format!("{}: {}", error.code, error.message))
            }
            code if code.is_transient() || code == ErrorCode::Ahead => {
                self.postponed(&room, seq, error, now, unit)
            }
            _ => {
                self.settle(&room, seq, Err(AppendError::Refused(Box::new(error))));
                Verdict::GoOn
            }
        }
    }

    /// The connection is gone. Nothing is forgotten; everything without an outcome is sent again.
    pub fn disconnected(&mut self) {
        self.flights.clear();
        self.rooms.retain(|_, queue| !queue.is_empty());
        self.ready.retain(|room| self.rooms.contains_key(room));
        self.rooms.values_mut().for_each(Queue::disconnected);
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.line_up(room);
        }
    }

    /// The server has another log than before; called while disconnected.
    pub fn new_log(&mut self) {
        for queue in self.rooms.values_mut() {
            for item in queue.new_log(self.append_to_new_log) {
                self.len -= 1;
                self.settled.push_back((item.tag, Err(AppendError::NewLog)));
            }
        }
        self.disconnected();
    }

    /// Gives up on everything.
    pub fn fail_all(&mut self, error: &AppendError) {
        for queue in self.rooms.values_mut() {
            self.settled.extend(queue.drain().map(|item| (item.tag, Err(error.clone()))));
        }
        self.len = 0;
        self.disconnected();
    }

    /// The next append that has its outcome.
    pub fn next_settled(&mut self) -> Option<(T, Outcome)> {
        self.settled.pop_front()
    }

    /// The server did not take it because it expects another number first. Whatever holds that
    /// number was refused itself, or is on its way: it is, or will be, sent before this one.
    fn out_of_order(&mut self, room: &RoomName, seq: u64, expected: Option<u64>) -> Verdict {
        let Some(queue) = self.rooms.get_mut(room) else { return Verdict::GoOn };
        let explained =
            expected.is_some_and(|wanted| wanted < seq && queue.get_mut(wanted).is_some());
        if let Some(item) = queue.get_mut(seq).filter(|_| !explained) {
            item.puzzles += 1;
            if item.puzzles > MOST_PUZZLES {
                return Verdict::Reconnect(format!(
                    "the server expects seq {expected:?} of room {room}, which has its outcome"
                ));
            }
        }
        self.send_again(room, seq);
        Verdict::GoOn
    }

    /// The server took nothing and asks to wait, or has not reached the slot in `after`.
    fn postponed(
        &mut self,
        room: &RoomName,
        seq: u64,
        error: ErrorFrame,
        now: Duration,
        unit: f64,
    ) -> Verdict {
        let Some(item) = self.rooms.get_mut(room).and_then(|queue| queue.get_mut(seq)) else {
            return Verdict::GoOn;
        };
        let since = *item.refused_since.get_or_insert(now);
        if error.code == ErrorCode::Ahead && !self.wait_when_ahead {
            return self.give_up(room, seq, &error);
        }
        if self.patience.is_some_and(|patience| now.saturating_sub(since) >= patience) {
            return self.give_up(room, seq, &error);
        }
        let asked = error.retry_after_ms.map_or(DEFAULT_RETRY, Duration::from_millis);
        let wait = stretched(asked, unit);
        // The last try is at the end of the patience, however long the server asks to wait.
        let end = self.patience.map(|patience| since + patience);
        self.wait(room, seq, end.map_or(now + wait, |end| end.min(now + wait)))
    }

    /// Fails one that the server did not take, and all behind it, which it therefore cannot take.
    fn give_up(&mut self, room: &RoomName, seq: u64, error: &ErrorFrame) -> Verdict {
        let Some(queue) = self.rooms.get_mut(room) else { return Verdict::GoOn };
        for item in queue.remove_from(seq) {
            self.len -= 1;
            let error = ErrorFrame { id: Some(item.id), ..error.clone() };
            self.settled.push_back((item.tag, Err(AppendError::Refused(Box::new(error)))));
        }
        Verdict::Reconnect(format!("gave up on seq {seq} of room {room}: {}", error.code))
    }

    fn wait(&mut self, room: &RoomName, seq: u64, until: Duration) -> Verdict {
        self.send_again(room, seq);
        if let Some(queue) = self.rooms.get_mut(room) {
            queue.pause_until = queue.pause_until.max(Some(until));
        }
        Verdict::GoOn
    }

    fn send_again(&mut self, room: &RoomName, seq: u64) {
        if let Some(queue) = self.rooms.get_mut(room) {
            queue.send_again(seq);
            self.line_up(room.clone());
        }
    }

    /// Puts a room with something to send at the end of the line, unless it stands there.
    fn line_up(&mut self, room: RoomName) {
        if let Some(queue) = self.rooms.get_mut(&room).filter(|queue| !queue.in_line)
            && queue.has_work()
        {
            queue.in_line = true;
            self.ready.push_back(room);
        }
    }

    fn settle(&mut self, room: &RoomName, seq: u64, outcome: Outcome) {
        if let Some(item) = self.rooms.get_mut(room).and_then(|queue| queue.remove(seq)) {
            self.len -= 1;
            self.settled.push_back((item.tag, outcome));
        }
    }
}

fn too_large(room: &RoomName, id: EntryId, problem: String) -> Outcome {
    let mut error = ErrorFrame::from(Refusal::new(ErrorCode::TooLarge, problem));
    (error.room, error.id) = (Some(room.clone()), Some(id));
    Err(AppendError::Refused(Box::new(error)))
}
