//! An author: appends, reads and follows over one connection after the other, and does what PROTOCOL.md asks of
//! a client.
//!
//! Enters: a seed. Leaves: frames in the record. Invariant: what is not answered is sent again, in order, with
//! the same id; a frame is recorded before it is sent and after it is received.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use roomlog_checker::{Direction, Frame};
use roomlog_server::TransportStream;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{network::Network, tokens::token};

/// How many appends are in flight.
const WINDOW: usize = 8;
/// How long a connection or a send may take.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// How long nothing may come while an answer is due.
const PATIENCE: Duration = Duration::from_secs(12);
/// The rooms.
pub(crate) const ROOMS: [&str; 2] = ["even", "odd"];
/// Where a flooder appends.
pub(crate) const FLOODED: &str = "flooded";

/// All frames, in the order of one clock.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<(Vec<Frame>, u64)>>);

impl Record {
    pub(crate) fn connection(&self) -> u64 {
        let state = &mut self.0.lock();
        state.1 += 1;
        state.1
    }

    pub(crate) fn note(&self, connection: u64, direction: Direction, text: &str) {
        self.0.lock().0.push(Frame { connection, direction, text: text.into() });
    }

    /// Shows all frames that were received.
    pub(crate) fn for_each_received(&self, mut show: impl FnMut(&Value)) {
        for frame in self.0.lock().0.iter().filter(|it| it.direction == Direction::Received) {
            if let Ok(value) = serde_json::from_str(&frame.text) {
                show(&value);
            }
        }
    }

    pub(crate) fn take(&self) -> Vec<Frame> {
        std::mem::take(&mut self.0.lock().0)
    }
}

/// An append that is not settled, without `seq` and `after`.
struct Pending {
    id: String,
    frame: Value,
}

pub(crate) struct Writer {
    author: String,
    number: usize,
    room: &'static str,
    nodes: usize,
    network: Network,
    record: Record,
    stop: watch::Receiver<bool>,
    random: SmallRng,
    has_tokens: bool,
    pending: VecDeque<Pending>,
    next: u64,
    /// The last slot it received, and the highest that it knows of.
    last: i64,
    seen: i64,
    /// Slots of its own entries.
    own: Vec<u64>,
}

/// One connection. Its end is recorded, however it ends.
pub(crate) struct Session {
    socket: WebSocketStream<TransportStream>,
    connection: u64,
    record: Record,
    /// The number of its next append, and how many of the pending ones were sent.
    seq: u64,
    sent: usize,
    req: u64,
    heard: Instant,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.record.note(self.connection, Direction::Ended, "");
    }
}

impl Session {
    pub(crate) async fn open(network: &Network, record: &Record, node: usize) -> Option<Self> {
        let stream = network.connect(node).ok()?;
        let opened = timeout(OPEN_WITHIN, client_async("ws://127.0.0.1/v1/ws", stream)).await;
        let (socket, _) = opened.ok()?.ok()?;
        let (connection, record) = (record.connection(), record.clone());
        let heard = Instant::now();
        Some(Self { socket, connection, record, seq: 0, sent: 0, req: 0, heard })
    }

    pub(crate) async fn send(&mut self, frame: &Value) -> Option<()> {
        let text = frame.to_string();
        self.record.note(self.connection, Direction::Sent, &text);
        timeout(OPEN_WITHIN, self.socket.send(Message::text(text))).await.ok()?.ok()
    }

    /// Asks for something that is answered.
    async fn ask(&mut self, mut frame: Value) -> Option<()> {
        self.req += 1;
        frame["req"] = self.req.into();
        self.send(&frame).await
    }

    /// The next frame; `None` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Message::Text(text) = self.socket.next().await?.ok()? {
                self.heard = Instant::now();
                self.record.note(self.connection, Direction::Received, &text);
                return serde_json::from_str(&text).ok();
            }
        }
    }
}

impl Writer {
    pub(crate) fn new(
        number: usize,
        seed: u64,
        (network, nodes): (&Network, usize),
        record: &Record,
        stop: watch::Receiver<bool>,
        has_tokens: bool,
    ) -> Self {
        Self {
            has_tokens,
            // Two clients are one author.
            author: format!("author-{}", number.max(1)),
            number,
            room: ROOMS[number / 2 % ROOMS.len()],
            nodes,
            network: network.clone(),
            record: record.clone(),
            stop,
            random: SmallRng::seed_from_u64(seed),
            pending: VecDeque::new(),
            next: 0,
            last: -1,
            seen: -1,
            own: Vec::new(),
        }
    }

    /// Writes until it is stopped and everything is answered.
    pub(crate) async fn run(mut self) {
        while !(*self.stop.borrow() && self.pending.is_empty()) {
            let node = self.random.random_range(0..self.nodes);
            let _reconnects_either_way = self.session(node).await;
            let pause = self.random.random_range(20..300);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// One connection; `None` when it ends.
    async fn session(&mut self, node: usize) -> Option<()> {
        let (network, record) = (self.network.clone(), self.record.clone());
        let mut session = Session::open(&network, &record, node).await?;
        self.login(&mut session).await?;
        let join = json!({ "type": "join", "room": self.room, "after": self.last });
        session.ask(join).await?;
        let ends = Instant::now() + Duration::from_millis(self.random.random_range(500..20_000));
        let mut due = Instant::now();
        loop {
            let is_stopped = *self.stop.borrow();
            let is_over = if is_stopped { self.pending.is_empty() } else { Instant::now() > ends };
            if is_over {
                return None;
            }
            while session.sent < self.pending.len().min(WINDOW) {
                self.send_one(&mut session).await?;
            }
            if !is_stopped && self.pending.len() < WINDOW && Instant::now() >= due {
                let pause = self.random.random_range(1..80);
                due = Instant::now() + Duration::from_millis(pause);
                self.act(&mut session).await?;
                continue;
            }
            let wait = due.saturating_duration_since(Instant::now());
            let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(500));
            tokio::select! {
                biased;
                frame = session.next() => self.take(&mut session, &frame?)?,
                () = sleep(wait) => {}
            }
            if session.sent > 0 && session.heard.elapsed() > PATIENCE {
                return None;
            }
        }
    }

    /// Says who it is, also again with a fresh token.
    async fn login(&mut self, session: &mut Session) -> Option<()> {
        let login = if self.has_tokens {
            let token = token(&self.author, self.room, self.random.random_range(1..30));
            json!({ "type": "login", "token": token })
        } else {
            json!({ "type": "login", "author": self.author })
        };
        session.send(&login).await
    }

    /// Asks for a room that its token does not name.
    async fn pry(&mut self, session: &mut Session) -> Option<()> {
        let room = ROOMS[usize::from(self.room == ROOMS[0])];
        match self.random.random_range(0..3) {
            0 => session.ask(json!({ "type": "join", "room": room, "after": -1 })).await,
            1 => session.ask(json!({ "type": "update", "room": room, "count": 9 })).await,
            _ => {
                self.append();
                if let Some(last) = self.pending.back_mut() {
                    last.frame["room"] = room.into();
                }
                Some(())
            }
        }
    }

    /// Does one of the things that people do.
    async fn act(&mut self, session: &mut Session) -> Option<()> {
        match self.random.random_range(0..100) {
            0..6 => {
                let read = json!({
                    "type": "update", "room": self.room, "count": self.random.random_range(0..9),
                    "seen": self.seen,
                });
                session.ask(read).await
            }
            6..9 => {
                let upto = self.random.random_range(-1..=self.last.max(0));
                let read = json!({ "type": "update", "room": self.room, "count": 5, "upto": upto });
                session.ask(read).await
            }
            9..10 => {
                // It reads nothing for a while.
                let pause = self.random.random_range(100..3_000);
                sleep(Duration::from_millis(pause)).await;
                Some(())
            }
            11..13 if self.has_tokens => self.login(session).await,
            13..15 if self.has_tokens => self.pry(session).await,
            10..11 => {
                session.send(&json!({ "type": "leave", "room": self.room })).await?;
                let join = json!({ "type": "join", "room": self.room, "after": self.last });
                session.ask(join).await
            }
            _ => {
                self.append();
                Some(())
            }
        }
    }

    /// Intends an append, which is sent from now on until it is answered.
    fn append(&mut self) {
        let id = format!("{}-{}", self.number, self.next);
        self.next += 1;
        let body =
            format!("{id} of {}{}", self.author, "~".repeat(self.random.random_range(0..90)));
        let mut frame = json!({ "type": "append", "room": self.room, "id": id, "body": body });
        match self.random.random_range(0..100) {
            0..4 if !self.own.is_empty() => {
                let slot = self.own[self.random.random_range(0..self.own.len())];
                frame["kind"] = "redact".into();
                frame["ref"] = slot.into();
                frame["body"] = "".into();
            }
            4..5 if self.last > 0 => {
                frame["kind"] = "erase".into();
                frame["ref"] = self.random.random_range(0..self.last).into();
                frame["body"] = self.author.as_str().into();
            }
            5..9 => frame["expect"] = (self.last + 1 + self.random.random_range(0..2)).into(),
            9..12 if self.last >= 0 => {
                frame["kind"] = "reaction".into();
                frame["ref"] = self.random.random_range(0..=self.last).into();
            }
            12..15 => frame["meta"] = "{\"x\":1}".into(),
            _ => {}
        }
        self.pending.push_back(Pending { id, frame });
    }

    async fn send_one(&mut self, session: &mut Session) -> Option<()> {
        let pending = self.pending.get(session.sent)?;
        let mut frame = pending.frame.clone();
        if frame["room"] == self.room {
            frame["seq"] = session.seq.into();
            frame["after"] = self.last.into();
            session.seq += 1;
        }
        session.sent += 1;
        session.send(&frame).await
    }

    /// Takes a frame; `None` ends the connection.
    fn take(&mut self, session: &mut Session, frame: &Value) -> Option<()> {
        for entry in frame["entries"].as_array().into_iter().flatten() {
            let slot = entry["slot"].as_i64().unwrap_or(-1);
            // Replies to `upto` are older.
            if frame["type"] == "ack" || slot == self.last + 1 {
                self.last = self.last.max(slot);
            }
            self.seen = self.seen.max(slot);
        }
        if frame["type"] == "appended" {
            self.seen = self.seen.max(frame["slot"].as_i64().unwrap_or(-1));
            self.own.extend(frame["slot"].as_u64());
            self.settle(session, frame);
            return Some(());
        }
        if frame["type"] != "error" {
            return Some(());
        }
        const FINAL: [&str; 6] =
            ["bad_message", "bad_ref", "expect_failed", "forbidden", "id_reused", "too_large"];
        let code = frame["code"].as_str().unwrap_or("");
        if FINAL.contains(&code) && frame.get("id").is_some() {
            self.settle(session, frame);
            return Some(());
        }
        // What it may not read is not there for it; all else is sent again over another connection.
        (code == "not_found").then_some(())
    }

    /// An append is answered for good.
    fn settle(&mut self, session: &mut Session, frame: &Value) {
        if let Some(at) = self.pending.iter().position(|it| frame["id"] == it.id.as_str()) {
            self.pending.remove(at);
            session.sent -= 1;
        }
    }
}

/// Reads all rooms of a node, from slots that it must have reached.
pub(crate) async fn read_log(
    network: &Network,
    node: usize,
    rooms: &[(String, i64)],
    has_tokens: bool,
) -> Vec<String> {
    loop {
        let login = match has_tokens {
            true => json!({ "type": "login", "token": token("reader", "*", 600) }),
            false => json!({ "type": "login", "author": "reader" }),
        };
        if let Some(replies) = try_read_log(network, node, rooms, &login).await {
            return replies;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn try_read_log(
    network: &Network,
    node: usize,
    rooms: &[(String, i64)],
    login: &Value,
) -> Option<Vec<String>> {
    let unrecorded = Record::default();
    let mut session = Session::open(network, &unrecorded, node).await?;
    session.send(login).await?;
    let mut replies = Vec::new();
    for (room, seen) in rooms {
        let mut last = -1;
        loop {
            let ask = json!({ "type": "update", "room": room, "after": last, "seen": seen });
            session.ask(ask).await?;
            let reply = loop {
                let frame = session.next().await?;
                match frame["type"].as_str() {
                    Some("reply") => break frame,
                    Some("error") => return None,
                    _ => {}
                }
            };
            let end = reply["entries"].as_array().and_then(|it| it.last()?["slot"].as_i64());
            last = end.unwrap_or(last);
            let is_all = reply["latest"].as_i64().is_none_or(|latest| last >= latest);
            replies.push(reply.to_string());
            if is_all {
                break;
            }
        }
    }
    Some(replies)
}
