//! Which rooms moved, for one who watches all of them.

mod common;

use common::{Connection, Disk, Life, identity, small_windows};
use roomlog_core::{
    NodeSettings,
    block::{BLOCK_ENTRIES, BlockName, encode},
    identity::NodeId,
    journal::Journal,
    read::heads::{MOVED_ROOMS, Moved},
    rules::Rules,
};
use roomlog_testkit::fixtures::proposal;

fn names(moved: Moved) -> (String, u64) {
    match moved {
        Moved::Rooms(rooms, mark) => {
            (rooms.iter().map(|room| room.as_str()).collect::<Vec<_>>().join(" "), mark)
        }
        Moved::All(mark) => ("all".into(), mark),
    }
}

#[tokio::test]
async fn a_watcher_is_told_each_room_that_moved_once_the_newest_last() {
    let life = Life::start(&Disk::new(), identity(1, 1), small_windows()).await;
    let heads = &life.node.heads;
    let mut ada = Connection::new(1);
    ada.say(&life.node, proposal("before", "ada", "1", "x")).await;
    let mark = heads.watch();
    for (n, name) in ["a", "b", "a", "c", "b"].iter().enumerate() {
        ada.say(&life.node, proposal(name, "ada", &n.to_string(), "x")).await;
    }
    let (moved, next) = names(heads.since(mark, 10));
    assert_eq!(moved, "a c b");
    assert_eq!(names(heads.since(next, 10)), (String::new(), next));

    // In parts, each goes on where the last one ended.
    let (moved, part) = names(heads.since(mark, 2));
    assert_eq!(moved, "a c");
    assert_eq!(names(heads.since(part, 2)), ("b".into(), next));

    // What was rejected moved nothing.
    ada.say(&life.node, proposal("a", "ada", "0", "x")).await;
    assert_eq!(names(heads.since(next, 10)).0, "");
    ada.say(&life.node, proposal("c", "ada", "9", "x")).await;
    assert_eq!(names(heads.since(next, 10)).0, "c");
}

#[tokio::test]
async fn when_nobody_watches_nothing_is_kept_and_an_old_mark_means_all() {
    let life = Life::start(&Disk::new(), identity(1, 1), small_windows()).await;
    let heads = &life.node.heads;
    let mut ada = Connection::new(1);
    let old = heads.watch();
    ada.say(&life.node, proposal("a", "ada", "1", "x")).await;
    heads.unwatch();
    ada.say(&life.node, proposal("b", "ada", "1", "x")).await;
    let mark = heads.watch();
    assert_eq!(names(heads.since(mark, 10)).0, "");
    assert_eq!(names(heads.since(old, 10)).0, "all");
    ada.say(&life.node, proposal("c", "ada", "1", "x")).await;
    assert_eq!(names(heads.since(mark, 10)).0, "c");
}

#[tokio::test]
async fn a_watcher_that_comes_too_late_is_told_to_look_at_all_rooms() {
    // One room more than are remembered, as a journal that is replayed.
    let disk = Disk::new();
    let rooms: Vec<String> = (0..=MOVED_ROOMS).map(|n| format!("r{n}")).collect();
    for (n, block) in (0..).zip(rooms.chunks(BLOCK_ENTRIES)) {
        let name = BlockName { node: NodeId([9; 16]), incarnation: 1, n };
        let says: Vec<_> = block.iter().map(|room| proposal(room, "ada", "1", "x")).collect();
        disk.journal.propose(0, encode(name, Rules::FIRST, says.iter())).await;
    }
    let settings = NodeSettings { tail_bytes: 1 << 20, ..small_windows() };
    let mut life = Life::start_without_fold(&disk, identity(1, 1), settings);
    let mark = life.node.heads.watch();
    life.start_fold();
    life.caught_up().await;
    let (moved, next) = names(life.node.heads.since(mark, 10));
    assert_eq!(moved, "all");
    assert_eq!(names(life.node.heads.since(next, 10)), (String::new(), next));
    // Only the oldest was forgotten.
    assert_eq!(names(life.node.heads.since(mark + 1, 2)).0, "r1 r2");
    assert_eq!(life.bodies("r0").await, ["x"], "rooms that were let go are read from the archive");
}
