//! Which rooms moved, for one who watches all of them.

use roomlog_core::{
    NodeSettings,
    block::{BLOCK_ENTRIES, BlockName, encode},
    heads::{Moved, Watcher},
    identity::NodeId,
    journal::Journal,
    rules::Rules,
};
use roomlog_testkit::{
    fixtures::proposal,
    life::{Connection, Disk, Life, identity, small_windows},
};

/// The next names that a watcher is told.
fn told(watcher: &mut Watcher, limit: usize) -> String {
    match watcher.moved(limit) {
        Moved::Rooms(rooms) => rooms.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" "),
        Moved::All => "all".into(),
    }
}

#[tokio::test]
async fn a_watcher_is_told_each_room_that_moved_once_the_newest_last() {
    let life = Life::start(&Disk::default(), identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    ada.say(&life, proposal("before", "ada", "1", "x")).await;
    let (mut all, mut in_parts) = (life.watch(), life.watch());
    for (n, name) in ["a", "b", "a", "c", "b"].iter().enumerate() {
        ada.say(&life, proposal(name, "ada", &n.to_string(), "x")).await;
    }
    assert_eq!(told(&mut all, 10), "a c b");
    assert_eq!(told(&mut all, 10), "");

    // In parts, each continues where the last one ended.
    assert_eq!(told(&mut in_parts, 2), "a c");
    assert_eq!(told(&mut in_parts, 2), "b");
    assert_eq!(told(&mut in_parts, 2), "");

    // What was rejected moved nothing.
    ada.say(&life, proposal("a", "ada", "0", "x")).await;
    assert_eq!(told(&mut all, 10), "");
    ada.say(&life, proposal("c", "ada", "9", "x")).await;
    assert_eq!(told(&mut all, 10), "c");
}

#[tokio::test]
async fn a_watcher_of_a_long_replay_is_told_to_list_all_rooms() {
    // More rooms than are kept for watchers or held in memory.
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
    assert_eq!(told(&mut watcher, 10), "all");
    assert_eq!(told(&mut watcher, 10), "");
    assert_eq!(life.bodies("r0").await, ["x"], "rooms that were evicted are read from the archive");
}
