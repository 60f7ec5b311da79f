//! The rooms of a node: which ones are in memory, and lists of all of them.

use std::sync::Arc;

use roomlog_core::NodeSettings;
use roomlog_protocol::{Latest, RoomName, RoomRange, Span};
use roomlog_testkit::{
    fixtures::{proposal, room},
    life::{Connection, Disk, Life, identity, small_windows, without_fold},
};

/// Settings under which a folded entry soon leaves memory.
fn short_tails() -> NodeSettings {
    NodeSettings { tail_bytes: 0, ..small_windows() }
}

async fn fill(life: &Life, rooms: impl Iterator<Item = String>) {
    let mut ada = Connection::default();
    for name in rooms {
        ada.append(life, proposal(&name, "ada", "1", "x"), None, 0).expect("taken");
        if name.ends_with("99") {
            ada.outcomes().await;
        }
    }
    ada.outcomes().await;
}

/// Lists all rooms, `limit` at a time.
fn list(life: &Life, limit: usize) -> Vec<String> {
    let (mut all, mut last) = (Vec::new(), None::<RoomName>);
    loop {
        let page =
            life.room_heads(&RoomRange::every().after(last.as_ref()), limit).expect("a page");
        all.extend(page.iter().map(|(room, head)| format!("{room}:{}", head.end)));
        if page.len() < limit {
            return all;
        }
        last = page.last().map(|(room, _)| room.clone());
    }
}

#[tokio::test]
async fn reading_a_room_that_was_never_written_leaves_nothing_in_memory() {
    let life = Life::start(&Disk::default(), identity(1, 1), small_windows()).await;
    for n in 0..10_000 {
        let name = format!("never-{n}");
        assert_eq!(life.head(&room(&name)).expect("a head").end, 0);
        assert_eq!(life.page(&name, Span::After(Latest::EMPTY)).await.entries, []);
        assert_eq!(life.tail(&room(&name)).expect("a tail").head().end, 0);
    }
    assert_eq!(life.stats().rooms_held, 0);

    // Who follows a room holds it, and whoever else opens it gets the same one.
    let follower = life.follow(life.tail(&room("quiet")).expect("a tail"), 0);
    let tails = [life.tail(&room("quiet")), life.tail(&room("quiet"))].map(|it| it.expect("one"));
    assert!(Arc::ptr_eq(&tails[0], &tails[1]));
    assert_eq!(life.stats().rooms_held, 1);
    drop((follower, tails));
    assert_eq!(life.stats().rooms_held, 0);
}

#[tokio::test]
async fn a_rejected_append_to_a_room_that_was_never_written_leaves_nothing_in_memory() {
    let life = Life::start(&Disk::default(), identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for n in 0..100 {
        let proposal = proposal(&format!("never-{n}"), "ada", "1", "x");
        ada.append(
            &life,
            roomlog_core::proposal::Proposal { expect: Some(7), ..proposal },
            None,
            0,
        )
        .expect("taken");
    }
    ada.outcomes().await;
    assert_eq!(life.stats().rooms_held, 0);
}

#[tokio::test]
async fn a_room_leaves_memory_when_all_of_it_is_folded_and_continues_from_the_archive() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), short_tails()).await;
    fill(&life, (0..100).map(|n| format!("r{n}"))).await;
    disk.folded().await;
    let released = async {
        // A block releases what was folded before it.
        for n in 0.. {
            fill(&life, std::iter::once(format!("next-{n}"))).await;
            disk.folded().await;
            if life.stats().rooms_held < 10 {
                return;
            }
        }
    };
    roomlog_testkit::life::in_time("the release of folded rooms", released).await;
    let mut ada = Connection::default();
    ada.say(&life, proposal("r7", "ada", "2", "y")).await;
    assert_eq!(life.bodies("r7").await, ["x", "y"]);
}

#[tokio::test]
async fn entries_that_the_archive_lacks_are_read_after_the_node_has_stopped() {
    let life = Life::start(&Disk::default(), identity(1, 1), without_fold(small_windows())).await;
    fill(&life, std::iter::once("r".to_owned())).await;
    life.stop().await.expect("stopped");
    assert_eq!(life.bodies("r").await, ["x"]);
}

#[tokio::test]
async fn a_list_has_each_room_once_in_byte_order_folded_or_not() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), short_tails()).await;
    // Half of them folded, and some of those moved again since; followed rooms without entries.
    fill(&life, (0..300).step_by(2).map(|n| format!("r{n:03}"))).await;
    disk.folded().await;
    assert!(life.end().await.is_ok());
    let life = Life::start(&disk, identity(1, 2), without_fold(short_tails())).await;
    fill(&life, (1..300).step_by(2).map(|n| format!("r{n:03}"))).await;
    let mut ada = Connection::default();
    ada.say(&life, proposal("r100", "ada", "2", "y")).await;
    let _empty: Vec<_> = (0..300).map(|n| life.tail(&room(&format!("r{n:03}-")))).collect();

    let end = |n: usize| if n == 100 { 2 } else { 1 };
    let all: Vec<_> = (0..300).map(|n| format!("r{n:03}:{}", end(n))).collect();
    for limit in [1, 7, 150, 299, 300, 301] {
        assert_eq!(list(&life, limit), all, "{limit} at a time");
    }
}

#[tokio::test]
async fn a_list_has_every_room_that_existed_throughout_while_rooms_move_and_are_folded() {
    let life = Life::start(&Disk::default(), identity(1, 1), short_tails()).await;
    fill(&life, (0..200).map(|n| format!("r{n:03}"))).await;
    let mut ada = Connection::default();
    for n in 0..200 {
        let name = format!("r{:03}", n * 7 % 200);
        ada.append(&life, proposal(&name, "ada", &format!("m{n}"), "y"), None, 0).expect("taken");
        let names = list(&life, 13);
        assert_eq!(names.len(), 200);
        assert!(names.is_sorted());
        ada.outcomes().await;
    }
    assert!(list(&life, 1_000).iter().all(|it| it.ends_with(":2")), "the newest heads");
}
