//! A writer: an author that appends to a room and follows it, over one connection after the other.
//!
//! Enters: addresses of nodes. Leaves: frames in the recorder, a tally. Invariant: unanswered
//! appends are resent with the same ids, in order, before anything new. A frame is recorded before
//! it is sent and after it is received, so whatever precedes it in the record happened before it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use roomlog_checker::{Direction, Frame};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// How many appends of a writer are in flight.
const WINDOW: usize = 8;
/// The timeout of a connection and of a send.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// How long an append may be unanswered before the writer tries another node.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a writer waits before it reconnects.
const AGAIN_AFTER: Duration = Duration::from_millis(150);
/// After how many appends a writer reads the newest entries too.
const READ_EVERY: u64 = 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    pub(crate) node: usize,
    pub(crate) took: Duration,
    /// Whether the append was sent only once.
    pub(crate) at_once: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acks: Vec<Ack>,
    pub(crate) connections: usize,
    pub(crate) busy: usize,
    pub(crate) unknown: usize,
    pub(crate) unacked: usize,
    /// The last slot it received.
    pub(crate) last: i64,
    /// The highest slot it knows of, acks included.
    pub(crate) seen: i64,
}

/// Every frame of all connections, in the order of one clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    frames: Arc<Mutex<Vec<Frame>>>,
    connections: Arc<AtomicU64>,
}

impl Recorder {
    fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    fn record(&self, connection: u64, direction: Direction, text: String) {
        self.frames.lock().push(Frame { connection, direction, text });
    }

    fn ended(&self, connection: u64) {
        self.record(connection, Direction::Ended, String::new());
    }

    pub(crate) fn take(&self) -> Vec<Frame> {
        std::mem::take(&mut self.frames.lock())
    }
}

struct Pending {
    id: String,
    body: String,
    since: Instant,
    times: usize,
}

pub(crate) struct Writer {
    pub(crate) author: String,
    pub(crate) room: String,
    /// The nodes, in the order to try them.
    pub(crate) nodes: Vec<(usize, SocketAddr)>,
    pub(crate) recorder: Recorder,
    /// The time between two new appends.
    pub(crate) pace: Duration,
    pub(crate) stop: watch::Receiver<bool>,
    /// How long to go on resending after the stop.
    pub(crate) patience: Duration,
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

struct Connection<'a> {
    socket: Socket,
    number: u64,
    recorder: &'a Recorder,
    seq: u64,
    /// How many of the pending appends were sent over it.
    sent: usize,
    heard: Instant,
}

/// However it ends.
impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.recorder.ended(self.number);
    }
}

impl Connection<'_> {
    async fn send(&mut self, frame: &Value) -> Result<(), ()> {
        let text = frame.to_string();
        self.recorder.record(self.number, Direction::Sent, text.clone());
        let sent = timeout(OPEN_WITHIN, self.socket.send(Message::text(text))).await;
        sent.map_err(drop)?.map_err(drop)
    }
}

impl Writer {
    /// Writes until it is stopped and everything is answered.
    pub(crate) async fn run(mut self) -> Tally {
        let mut tally = Tally { last: -1, seen: -1, ..Tally::default() };
        let mut pending = VecDeque::new();
        let mut next = 0;
        let mut stopped: Option<Instant> = None;
        loop {
            let _reconnects_either_way = self.connection(&mut pending, &mut next, &mut tally).await;
            if *self.stop.borrow() {
                let since = *stopped.get_or_insert_with(Instant::now);
                if pending.is_empty() || since.elapsed() > self.patience {
                    tally.unacked = pending.len();
                    return tally;
                }
            }
            self.nodes.rotate_left(1);
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn connection(
        &mut self,
        pending: &mut VecDeque<Pending>,
        next: &mut u64,
        tally: &mut Tally,
    ) -> Result<(), ()> {
        let (node, address) = self.nodes[0];
        let url = format!("ws://{address}/v1/ws");
        let opened = timeout(OPEN_WITHIN, connect_async(&url)).await;
        let (socket, _) = opened.map_err(drop)?.map_err(drop)?;
        tally.connections += 1;
        let number = self.recorder.connection();
        let recorder = &self.recorder.clone();
        let heard = Instant::now();
        let mut connection = Connection { socket, number, recorder, seq: 0, sent: 0, heard };
        connection.send(&json!({ "type": "login", "author": self.author })).await?;
        let join = json!({ "type": "join", "room": self.room, "after": tally.last, "req": 0 });
        connection.send(&join).await?;
        let mut due = Instant::now();
        loop {
            let stopped = *self.stop.borrow();
            if stopped && pending.is_empty() {
                return Ok(());
            }
            while connection.sent < pending.len() && connection.sent < WINDOW {
                self.send_one(&mut connection, pending, tally.last).await?;
            }
            let may_write = !stopped && pending.len() < WINDOW;
            if may_write && Instant::now() >= due {
                due += self.pace;
                let (id, body) =
                    (format!("{}-{next}", self.author), format!("{next} of {}", self.author));
                pending.push_back(Pending { id, body, since: Instant::now(), times: 0 });
                *next += 1;
                if next.is_multiple_of(READ_EVERY) {
                    let read = json!({ "type": "update", "room": self.room, "count": 3, "seen": tally.last, "req": *next });
                    connection.send(&read).await?;
                }
                continue;
            }
            let wait =
                if may_write { due.saturating_duration_since(Instant::now()) } else { PATIENCE };
            tokio::select! {
                frame = connection.socket.next() => {
                    let message = frame.ok_or(())?.map_err(drop)?;
                    connection.heard = Instant::now();
                    if let Message::Text(text) = message {
                        self.take(&mut connection, text.as_str(), node, pending, tally)?;
                    }
                }
                () = sleep(wait.min(Duration::from_secs(1))) => {}
                _ = self.stop.changed(), if !stopped => {}
            }
            let is_waiting = connection.sent > 0 && !pending.is_empty();
            if is_waiting && connection.heard.elapsed() > PATIENCE {
                return Err(());
            }
        }
    }

    async fn send_one(
        &self,
        connection: &mut Connection<'_>,
        pending: &mut VecDeque<Pending>,
        last: i64,
    ) -> Result<(), ()> {
        let Some(append) = pending.get_mut(connection.sent) else { return Ok(()) };
        append.times += 1;
        let frame = json!({
            "type": "append", "room": self.room, "id": append.id, "body": append.body,
            "seq": connection.seq, "after": last,
        });
        connection.seq += 1;
        connection.sent += 1;
        connection.send(&frame).await
    }

    /// Takes a frame; an error ends the connection.
    fn take(
        &self,
        connection: &mut Connection<'_>,
        text: &str,
        node: usize,
        pending: &mut VecDeque<Pending>,
        tally: &mut Tally,
    ) -> Result<(), ()> {
        self.recorder.record(connection.number, Direction::Received, text.to_owned());
        let frame: Value = serde_json::from_str(text).map_err(drop)?;
        for entry in frame["entries"].as_array().into_iter().flatten() {
            tally.last = tally.last.max(entry["slot"].as_i64().unwrap_or(-1));
        }
        tally.seen = tally.seen.max(tally.last).max(frame["slot"].as_i64().unwrap_or(-1));
        match frame["type"].as_str() {
            Some("appended") => {
                let at = pending.iter().position(|it| frame["id"] == it.id.as_str());
                let Some(append) = at.and_then(|at| pending.remove(at)) else { return Ok(()) };
                connection.sent -= 1;
                let (took, at_once) = (append.since.elapsed(), append.times == 1);
                tally.acks.push(Ack { node, took, at_once });
                Ok(())
            }
            Some("error") => {
                match frame["code"].as_str() {
                    Some("busy") => tally.busy += 1,
                    Some("unknown_outcome") => tally.unknown += 1,
                    _ => {}
                }
                Err(())
            }
            _ => Ok(()),
        }
    }
}
