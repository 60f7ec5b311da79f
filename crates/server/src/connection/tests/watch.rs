//! A `watch` that falls behind, at times that the test sets.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use roomlog_auth::Access;
use roomlog_core::{
    Engines, Node, NodeSettings,
    block::{BLOCK_ENTRIES, BlockName, encode},
    identity::NodeId,
    journal::Journal,
    outcome::AppendOutcome,
    rules::Rules,
};
use roomlog_testkit::{
    fixtures::proposal,
    life::{draft, identity},
    memory::{MemoryArchive, MemoryJournal},
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::{EVERY, LIST_EVERY, Watch};
use crate::{
    Config,
    connection::turn::{Done, Job, Question, Turn},
    gateway::Gateway,
};

/// A connection that watches.
struct Scene {
    watch: Watch,
    turn: Turn,
    began: Instant,
    /// The newest head that was sent, of each room.
    heads: BTreeMap<String, i64>,
}

impl Scene {
    fn new(node: Arc<Node>) -> Self {
        let (_, stopping) = watch::channel(false);
        let (drain_guard, _) = mpsc::channel(1);
        let gateway = Arc::new(Gateway::new(Config::default(), node, stopping, drain_guard));
        let client = gateway.principals.client(Ipv4Addr::LOCALHOST.into()).expect("a place");
        let turn = Turn::new(gateway, (client, Arc::new(Access::open())), Arc::default());
        let began = turn.now;
        Self { watch: Watch::default(), turn, began, heads: BTreeMap::new() }
    }

    fn begin(&mut self) {
        self.watch.begin(&mut self.turn, Question(1), Some(7));
    }

    fn tick(&mut self, at: Duration) {
        self.turn.now = self.began + at;
        self.watch.tick(&mut self.turn);
    }

    /// Whether a page of a list is to be read; reads it.
    async fn reads_a_page(&mut self) -> bool {
        let Some(Job::List(..)) = self.turn.jobs.front() else { return false };
        let job = self.turn.jobs.pop_front().expect("a job");
        let done = job.start(&self.turn).await;
        let Done::List(question, heads, most, _) = done else { panic!("not a list") };
        self.watch.listed(&mut self.turn, question, heads, most);
        true
    }

    /// Takes the frames that were sent: of each how many rooms it has and whether it is of the first
    /// list. No room may go back.
    fn frames(&mut self) -> Vec<(usize, bool)> {
        let mut frames = Vec::new();
        let mut piece = Bytes::new();
        while !piece.is_empty() || !self.turn.out.is_empty() {
            if piece.is_empty() {
                piece = self.turn.out.pop().expect("a piece");
            }
            piece.advance(piece.iter().position(|byte| *byte == b'{').expect("an object"));
            let mut values = serde_json::Deserializer::from_slice(&piece).into_iter::<Value>();
            let frame = values.next().expect("a frame").expect("JSON");
            let read = values.byte_offset();
            piece.advance(read);
            assert_eq!(frame["type"], "heads");
            let rooms = frame["rooms"].as_object().expect("rooms");
            for (room, latest) in rooms {
                let latest = latest.as_i64().expect("a slot");
                let before = self.heads.insert(room.clone(), latest);
                assert!(before.is_none_or(|before| before <= latest), "{room} went back");
            }
            frames.push((rooms.len(), frame["req"] == 7));
        }
        frames
    }

    async fn append(&self, room: &str, id: &str) {
        let node = &self.turn.gateway.node;
        let append = draft(node.append_budget(), proposal(room, "ada", id, "x"), None, 0);
        let outcome = node.append(append.expect("taken")).await;
        assert!(matches!(outcome, AppendOutcome::Committed { .. }), "{outcome:?}");
    }
}

/// A node that is about to replay this many rooms, each with one entry.
async fn replaying(rooms: usize) -> Arc<Node> {
    let journal = Arc::new(MemoryJournal::new("log"));
    let rooms: Vec<String> = (0..rooms).map(|n| format!("r{n}")).collect();
    for (n, block) in (0..).zip(rooms.chunks(BLOCK_ENTRIES)) {
        let name = BlockName { node: NodeId([9; 16]), incarnation: 1, n };
        let says: Vec<_> = block.iter().map(|room| proposal(room, "ada", "1", "x")).collect();
        journal.propose(0, encode(name, Rules::FIRST, says.iter())).await;
    }
    let archive = Arc::<MemoryArchive>::default();
    let engines = Engines { identity: identity(1, 1), journal, archive, backup: None };
    Arc::new(Node::start(engines, NodeSettings::default()).expect("a node"))
}

#[tokio::test]
async fn a_watcher_that_missed_moves_gets_one_more_list_after_a_while_and_every_newest_slot() {
    // More rooms than are kept for watchers.
    let rooms = 65_600;
    let node = replaying(rooms).await;
    let mut scene = Scene::new(node.clone());
    scene.begin();
    assert!(node.caught_up().await);
    while scene.reads_a_page().await {}
    let frames = scene.frames();
    assert_eq!(frames.len(), 66);
    assert!(frames.iter().all(|(_, is_first_list)| *is_first_list));

    // It missed the oldest moves, and is sent the others, a thousand a frame.
    scene.tick(EVERY);
    assert_eq!(scene.frames(), [(1_000, false)]);
    for _ in 1..65 {
        scene.tick(EVERY);
        assert_eq!(scene.frames(), [(1_000, false)]);
    }
    scene.tick(EVERY);
    assert_eq!(scene.frames(), [(536, false)]);
    for seconds in 2..30 {
        scene.tick(Duration::from_secs(seconds));
        assert!(scene.turn.jobs.is_empty(), "another list after {seconds} s");
    }

    // The other list; what moves meanwhile is sent between its pages.
    scene.tick(LIST_EVERY);
    assert!(scene.reads_a_page().await);
    assert_eq!(scene.frames(), [(1_000, false)]);
    scene.append("r9", "2").await;
    scene.append("a-new-room", "1").await;
    scene.turn.now += EVERY;
    assert!(scene.reads_a_page().await);
    assert_eq!(scene.frames(), [(1_000, false), (2, false)]);
    while scene.reads_a_page().await {}
    assert!(scene.frames().iter().all(|(_, is_first_list)| !is_first_list));
    assert_eq!((scene.heads["r9"], scene.heads["a-new-room"]), (1, 0));
    assert_eq!(scene.heads.len(), rooms + 1);

    // Nothing was missed since.
    scene.tick(3 * LIST_EVERY);
    assert!(scene.turn.jobs.is_empty() && scene.frames().is_empty());
}

#[tokio::test]
async fn a_room_that_moves_during_the_first_list_is_sent_after_it() {
    let node = replaying(2_500).await;
    assert!(node.caught_up().await);
    let mut scene = Scene::new(node);
    scene.begin();
    assert!(scene.reads_a_page().await);
    // One that was listed, one that is still to be listed, and one that would have been first.
    for room in ["r0", "r999", "a"] {
        scene.append(room, "2").await;
    }
    while scene.reads_a_page().await {}
    assert_eq!(scene.frames(), [(1_000, true), (1_000, true), (500, true)]);
    scene.tick(EVERY);
    assert_eq!(scene.frames(), [(3, false)]);
    assert_eq!([scene.heads["r0"], scene.heads["r999"], scene.heads["a"]], [1, 1, 0]);
    assert_eq!(scene.turn.gateway.node.stats().followers, 0);
}
