//! A server of the protocol that keeps its rooms in memory and can be told to misbehave.
//!
//! It is for what the real one never does: say a wrong digest, hang up every few appends.

mod batches;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{SinkExt, StreamExt};
use roomlog_protocol::{
    Appended, Author, ClientAppend, ClientFrame, ClientUpdate, Content, Digest, Entry, ErrorCode,
    ErrorFrame, Heads, Hello, Join, Latest, Limits, Refusal, Reply, RoomName, Salt, ServerAck,
    ServerFrame, ServerReply, Span, client::parse,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
};
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

/// What the server has, and how it misbehaves.
pub(crate) struct Rooms {
    logs: Mutex<BTreeMap<RoomName, Vec<Entry>>>,
    moved: watch::Sender<()>,
    hang_up: watch::Sender<()>,
    /// Hangs up after every so many appends; 0: never.
    pub(crate) hang_up_every: AtomicU64,
    appends: AtomicU64,
    /// Digests are wrong from this slot on.
    pub(crate) wrong_from: AtomicU64,
}

/// A running server; dropping it stops it.
pub(crate) struct Memory {
    pub(crate) url: String,
    pub(crate) rooms: Arc<Rooms>,
    _runtime: Runtime,
}

impl Memory {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let rooms = Arc::new(Rooms {
            logs: Mutex::default(),
            moved: watch::Sender::new(()),
            hang_up: watch::Sender::new(()),
            hang_up_every: AtomicU64::new(0),
            appends: AtomicU64::new(0),
            wrong_from: AtomicU64::new(u64::MAX),
        });
        let shared = rooms.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { url, rooms, _runtime: runtime }
    }

    /// Closes all connections; new ones are welcome.
    pub(crate) fn hang_up(&self) {
        self.rooms.hang_up.send_replace(());
    }

    pub(crate) fn append(&self, room: &str, body: &str) {
        let append = ClientAppend {
            body: body.into(),
            id: Some(format!("{room}-{}", self.log(room).len()).parse().expect("an id")),
            room: room.parse().expect("a room"),
            seq: None,
            after: None,
            expect: None,
            kind: Default::default(),
            reference: None,
            meta: None,
            sent_at: None,
            author: None,
            req: None,
        };
        self.rooms.append(&append, &"ada".parse().expect("an author"));
    }

    pub(crate) fn log(&self, room: &str) -> Vec<Entry> {
        self.rooms
            .lock()
            .get(&room.parse::<RoomName>().expect("a room"))
            .cloned()
            .unwrap_or_default()
    }
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RoomName, Vec<Entry>>> {
        self.logs.lock().expect("no panic before")
    }

    fn append(&self, append: &ClientAppend, author: &Author) -> ServerFrame {
        let mut logs = self.lock();
        let log = logs.entry(append.room.clone()).or_default();
        let author = append.author.as_ref().unwrap_or(author);
        let id = append.id.clone().expect("clients name their appends");
        let there = log.iter().find(|entry| entry.id == id && entry.author == *author);
        if there.is_some_and(|entry| *entry.body() != *append.body) {
            let refusal = Refusal { id: Some(id), ..refusal(append, ErrorCode::IdReused) };
            return ServerFrame::Error(ErrorFrame::from(refusal));
        }
        let slot = there.map_or(log.len() as u64, |entry| entry.slot);
        let repeat = there.map(|_| true);
        if there.is_none() {
            log.push(Entry {
                slot,
                author: author.clone(),
                id: id.clone(),
                content: Content::Said {
                    body: append.body.as_str().into(),
                    meta: append.meta.as_deref().map(Into::into),
                    salt: Salt(*b"roomlog-slt0"),
                },
                committed_at: 1_763_796_120_000 + slot,
                sent_at: append.sent_at,
                kind: append.kind.clone(),
                reference: append.reference,
            });
        }
        drop(logs);
        self.moved.send_replace(());
        ServerFrame::Appended(Appended {
            room: append.room.clone(),
            id,
            slot,
            committed_at: 1_763_796_120_000 + slot,
            repeat,
            seq: append.seq,
            req: append.req,
        })
    }

    /// Whether this append is one too many for its connection.
    fn too_many(&self) -> bool {
        let every = self.hang_up_every.load(Ordering::Relaxed);
        let count = self.appends.fetch_add(1, Ordering::Relaxed) + 1;
        every > 0 && count.is_multiple_of(every)
    }

    fn reply(&self, update: &ClientUpdate) -> Reply {
        let logs = self.lock();
        let log = logs.get(&update.room).map(Vec::as_slice).unwrap_or_default();
        let latest = Latest::before(log.len() as u64);
        let (from, to) = match update.span {
            Span::After(after) => (after.end(), log.len() as u64),
            Span::UpTo { count, upto } => {
                let end = upto.map_or(log.len() as u64, |upto| (upto + 1).min(log.len() as u64));
                (end.saturating_sub(count), end)
            }
        };
        let page = |slot: u64| usize::try_from(slot).expect("a slot");
        let from = page(from).min(log.len());
        let entries = log[from..page(to).min(from + 100)].to_vec();
        let digest_at = match (entries.last(), update.span) {
            (Some(last), _) => Latest::at(last.slot),
            (None, Span::UpTo { upto: Some(upto), .. }) => latest.min(Latest::at(upto)),
            (None, _) => latest,
        };
        let hashed = &log[..page(digest_at.end())];
        let mut digest = hashed.iter().fold(Digest::start(&update.room), Digest::then);
        if digest_at.end() > self.wrong_from.load(Ordering::Relaxed) {
            digest.0[0] ^= 1;
        }
        Reply { room: update.room.clone(), entries, latest, digest_at, digest }
    }
}

fn refusal(append: &ClientAppend, code: ErrorCode) -> Refusal {
    let (room, seq, req) = (Some(append.room.clone()), append.seq, append.req);
    Refusal { room, seq, req, ..Refusal::new(code, "said the server in memory") }
}

async fn serve(stream: TcpStream, rooms: Arc<Rooms>) {
    let mut asked = [0; 10];
    match stream.peek(&mut asked).await {
        Ok(_) if asked == *b"GET /v1/ws" => {}
        _ => return batches::serve(stream, rooms).await,
    }
    let Ok((_, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
    let mut author = None;
    let mut following: BTreeMap<RoomName, u64> = BTreeMap::new();
    let (mut moved, mut hang_up) = (rooms.moved.subscribe(), rooms.hang_up.subscribe());
    let hello = Hello {
        protocol: 1,
        server: "memory".into(),
        log: "log-1".into(),
        auth: "open".into(),
        durability: "declared".into(),
        limits: Limits::default(),
    };
    send(&mut socket, ServerFrame::Hello(Box::new(hello))).await;
    loop {
        let arrived = tokio::select! {
            arrived = socket.next() => arrived,
            _ = moved.changed() => {
                for (room, end) in &mut following {
                    let entries = rooms.lock()[room][usize::try_from(*end).expect("a slot")..].to_vec();
                    *end += entries.len() as u64;
                    if !entries.is_empty() {
                        let ack = ServerAck { room: room.clone(), entries };
                        send(&mut socket, ServerFrame::Ack(ack)).await;
                    }
                }
                continue;
            }
            _ = hang_up.changed() => return,
        };
        let Some(Ok(arrived)) = arrived else { return };
        let Some(text) = arrived.as_text() else { continue };
        let answer = match parse(text, &Limits::default()).expect("a good frame") {
            ClientFrame::Login(login) => {
                author = login.author.clone();
                ServerFrame::Welcome { author: login.author.expect("an author") }
            }
            ClientFrame::Append(_) if rooms.too_many() => return,
            ClientFrame::Append(append) => {
                rooms.append(&append, author.as_ref().expect("logged in"))
            }
            ClientFrame::Update(update) => {
                let req = update.req;
                ServerFrame::Reply(ServerReply { reply: rooms.reply(&update), req })
            }
            ClientFrame::Join(Join(update)) => {
                let (req, reply) = (update.req, rooms.reply(&update));
                let last = reply.entries.last().map_or(reply.latest, |last| Latest::at(last.slot));
                following.insert(update.room, last.end());
                ServerFrame::Reply(ServerReply { reply, req })
            }
            ClientFrame::Watch { req } => {
                let latest = |(room, log): (&RoomName, &Vec<Entry>)| {
                    (room.clone(), Latest::before(log.len() as u64))
                };
                let rooms = rooms.lock().iter().map(latest).collect();
                ServerFrame::Heads(Heads { rooms, more: None, req })
            }
            ClientFrame::Ping { req } => ServerFrame::Pong { req },
            ClientFrame::Leave { room, req } => {
                following.remove(&room);
                ServerFrame::Left { room, req }
            }
        };
        send(&mut socket, answer).await;
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, frame: ServerFrame) {
    let text = serde_json::to_string(&frame).expect("JSON");
    // A client that went away needs no answer.
    let _ = socket.send(Message::text(text)).await;
}
