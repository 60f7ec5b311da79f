//! Which rooms moved, for a watcher of all of them.

use roomlog_core::{
    NodeSettings,
    block::{BLOCK_ENTRIES, BlockName, encode},
    heads::Watcher,
    identity::NodeId,
    journal::Journal,
    rules::Rules,
};
use roomlog_testkit::{
    fixtures::proposal,
    life::{Connection, Disk, Life, identity, small_windows},
};

/// What a watcher returns next: the rooms that moved, with where they end.
fn moved(watcher: &mut Watcher, limit: usize) -> String {
    let rooms = watcher.moved(limit).rooms;
    rooms.iter().map(|(room, end)| format!("{room}:{end}")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_watcher_returns_each_moved_room_once_newest_last() {
    let life = Life::start(&Disk::default(), identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    ada.say(&life, proposal("before", "ada", "1", "x")).await;
    let (mut all, mut in_parts) = (life.watch(), life.watch());
    for (n, name) in ["a", "b", "a", "c", "b"].iter().enumerate() {
        ada.say(&life, proposal(name, "ada", &n.to_string(), "x")).await;
    }
    assert_eq!(moved(&mut all, 10), "a:2 c:1 b:2");
    assert_eq!(moved(&mut all, 10), "");

    // In parts: each continues where the previous one ended.
    assert_eq!(moved(&mut in_parts, 2), "a:2 c:1");
    assert_eq!(moved(&mut in_parts, 2), "b:2");
    assert_eq!(moved(&mut in_parts, 2), "");

    // A rejected append moves nothing.
    ada.say(&life, proposal("a", "ada", "0", "x")).await;
    assert_eq!(moved(&mut all, 10), "");
    ada.say(&life, proposal("c", "ada", "9", "x")).await;
    assert_eq!(moved(&mut all, 10), "c:2");
}

#[tokio::test]
async fn a_watcher_of_a_long_replay_missed_rooms() {
    // More rooms than are kept for watchers.
    let disk = Disk::default();
    let rooms: Vec<String> = (0..=65_536).map(|n| format!("r{n}")).collect();
    for (n, block) in (0..).zip(rooms.chunks(BLOCK_ENTRIES)) {
        let name = BlockName { node: NodeId([9; 16]), incarnation: 1, n };
        let says: Vec<_> = block.iter().map(|room| proposal(room, "ada", "1", "x")).collect();
        disk.journal.propose(0, encode(name, Rules::FIRST, says.iter())).await;
    }
    let settings = NodeSettings { tail_bytes: 1 << 20, ..small_windows() };
    let life = Life::over(disk.journal.clone(), disk.archive.clone(), identity(1, 1), settings);
    let mut watcher = life.watch();
    life.has_caught_up().await;
    assert!(watcher.moved(10).missed);
    assert!(!watcher.moved(10).missed, "only once");
    assert_eq!(life.bodies("r0").await, ["x"], "rooms that were evicted are read from the archive");
}
