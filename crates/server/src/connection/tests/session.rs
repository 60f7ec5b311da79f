//! A session without a socket: what it keeps when its rooms are released, and backpressure.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use roomlog_core::{Engines, Node, NodeSettings};
use roomlog_protocol::Limits;
use roomlog_testkit::{
    life::identity,
    memory::{MemoryArchive, MemoryJournal},
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::Config;

const APPEND_FOR: Duration = Duration::from_secs(30);

struct Client {
    session: Session,
    mailbox: Arc<Mailbox>,
    node: Arc<Node>,
    archive: Arc<MemoryArchive>,
    _server: (watch::Sender<bool>, mpsc::Receiver<()>),
}

impl Client {
    /// A client of a node of its own, logged in.
    async fn new(settings: NodeSettings, append_for: Duration) -> Self {
        let (journal, archive) =
            (Arc::new(MemoryJournal::new("log")), Arc::new(MemoryArchive::default()));
        let backup = None;
        let engines =
            Engines { identity: identity(1, 1), journal, archive: archive.clone(), backup };
        let node = Arc::new(Node::start(engines, settings).expect("a node"));
        assert!(node.caught_up().await);
        let limits = Limits { append_for, ..Limits::default() };
        let config = Config { limits, ..Config::default() };
        let (stop, stopping) = watch::channel(false);
        let (drain_guard, drained) = mpsc::channel(1);
        let gateway = Gateway::new(config, node.clone(), stopping, drain_guard);
        let gateway = Arc::new(gateway);
        let client = gateway.principals.client(Ipv4Addr::LOCALHOST.into()).expect("a place");
        let mailbox = Arc::<Mailbox>::default();
        let session = Session::new(gateway, client, mailbox.clone());
        let mut client = Self { session, mailbox, node, archive, _server: (stop, drained) };
        client.sends(&json!({"type": "login", "author": "mallory"}));
        client
    }

    /// A client of a node with a small budget and a full archive.
    async fn of_full_archive() -> Self {
        Self::of_full_archive_within(APPEND_FOR).await
    }

    async fn of_full_archive_within(append_for: Duration) -> Self {
        let settings = NodeSettings { append_bytes: 64 << 10, ..NodeSettings::default() };
        let client = Self::new(settings, append_for).await;
        client.archive.set_full(true);
        client
    }

    fn sends(&mut self, frame: &serde_json::Value) {
        assert!(self.session.message(&Message::Text(frame.to_string().into())).is_ok(), "{frame}");
    }

    fn appends(&mut self) {
        self.sends(&json!({"type": "append", "room": "r", "body": "x"}));
    }

    async fn takes_outcomes(&mut self) {
        self.session.flush();
        while !self.session.appends.is_empty() {
            self.mailbox.wait().await;
            for (token, outcome) in self.mailbox.take().outcomes {
                self.session.outcome(token, outcome);
            }
        }
    }

    /// Appends one entry at a time until one is delayed; how many were committed.
    async fn appends_until_delayed(&mut self) -> usize {
        for committed in 0..1_000 {
            self.appends();
            if self.session.delayed.is_some() {
                return committed;
            }
            self.takes_outcomes().await;
        }
        panic!("no append was delayed");
    }

    fn ticks(&mut self, later: Duration) {
        self.session.turn.now += later;
        assert!(self.session.tick().is_ok());
    }

    /// How many answers say `busy`.
    fn refusals(&mut self) -> usize {
        self.answers("busy")
    }

    /// How many answers have this code.
    fn answers(&mut self, code: &str) -> usize {
        let code = format!(r#""code":"{code}""#);
        let frames = std::iter::from_fn(|| self.session.turn.out.pop());
        frames.map(|piece| String::from_utf8_lossy(&piece).matches(&code).count()).sum()
    }
}

#[tokio::test]
async fn a_room_that_is_released_without_an_entry_leaves_nothing_behind() {
    let mut client = Client::new(NodeSettings::default(), APPEND_FOR).await;
    for n in 0..10 {
        let room = format!("r-{n}");
        client.sends(&json!({"type": "append", "room": room, "body": "", "expect": 5}));
        client.takes_outcomes().await;
        assert_eq!(client.session.turn.rooms.len(), 0, "{room}");
    }
}

#[tokio::test]
async fn one_append_at_a_time_waits_while_the_archive_is_behind() {
    let mut client = Client::of_full_archive().await;
    let committed = client.appends_until_delayed().await;
    assert!(!client.session.may_read(), "what the client sends waits in its socket");
    client.ticks(Duration::from_secs(1));
    assert!(client.session.delayed.is_some(), "there is no room yet");

    client.archive.set_full(false);
    client.node.fold_to_head().await.expect("a fold");
    client.ticks(Duration::from_secs(1));
    client.takes_outcomes().await;
    assert!(client.session.may_read());
    let end = client.node.head(&"r".parse().expect("a room")).expect("a head").end;
    assert_eq!((end, client.refusals()), (committed as u64 + 1, 0));
    assert_eq!(client.session.turn.client.waiting.held(), 0);
}

#[tokio::test]
async fn an_append_that_waits_for_longer_than_five_seconds_is_busy() {
    let mut client = Client::of_full_archive().await;
    client.appends_until_delayed().await;
    client.ticks(Duration::from_millis(4_999));
    assert!(client.session.delayed.is_some());
    client.ticks(Duration::from_millis(80));
    assert!(client.session.delayed.is_none());
    assert_eq!((client.refusals(), client.session.turn.client.waiting.held()), (1, 0));
}

#[tokio::test]
async fn an_append_behind_others_of_its_connection_is_busy_at_once() {
    let mut client = Client::of_full_archive().await;
    for _ in 0..1_000 {
        client.appends();
        assert!(client.session.delayed.is_none());
    }
    assert!(client.refusals() > 0);
}

#[tokio::test]
async fn a_server_that_stops_answers_an_append_that_waits() {
    let mut client = Client::of_full_archive().await;
    client.appends_until_delayed().await;
    client.session.drain();
    assert!(client.session.delayed.is_none());
    assert_eq!(client.refusals(), 1);
}

#[tokio::test]
async fn an_append_waits_for_memory_no_longer_than_append_ms() {
    let mut client = Client::of_full_archive_within(Duration::from_millis(300)).await;
    client.appends_until_delayed().await;
    client.ticks(Duration::from_millis(299));
    assert!(client.session.delayed.is_some());
    client.ticks(Duration::from_millis(80));
    assert!(client.session.delayed.is_none());
    assert_eq!(client.refusals(), 1);
}

#[tokio::test]
async fn append_ms_counts_from_when_a_delayed_append_was_read() {
    let mut client = Client::of_full_archive().await;
    client.appends_until_delayed().await;
    client.ticks(Duration::from_secs(4));
    client.archive.set_full(false);
    client.node.fold_to_head().await.expect("a fold");
    client.ticks(Duration::from_millis(80));
    assert!(client.session.delayed.is_none(), "it has arrived, and the sequencer does not see it");
    client.ticks(Duration::from_secs(25));
    assert_eq!(client.answers("unknown_outcome"), 0);
    client.ticks(Duration::from_secs(1));
    assert_eq!(client.answers("unknown_outcome"), 1);
}
