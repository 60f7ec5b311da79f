//! Nodes that compare what came of one journal: who differs from the most of them stops.

#[path = "play/speaking.rs"]
#[allow(dead_code, reason = "nodes here always hear each other")]
mod speaking;

use std::{sync::Arc, time::Duration};

use roomlog_core::{
    NodeError,
    applied::{Applied, Chain},
    archive::{Archive, Hurry, Window},
    journal::Journal,
};
use roomlog_testkit::{
    fixtures::{proposal, room},
    life::{Connection, LONG, Life, committed, identity, small_windows},
    memory::MemoryArchive,
};
use speaking::Speaking;
use tokio::time::{sleep, timeout};

async fn start(journal: &Arc<Speaking>, node: u8, archive: Arc<MemoryArchive>) -> Life {
    let life = Life::over(journal.clone(), archive, identity(node, 1), small_windows());
    life.has_caught_up().await;
    life
}

#[tokio::test(start_paused = true)]
async fn a_node_with_another_log_stops_and_the_other_two_go_on() {
    let journal = Arc::new(Speaking::new());
    let one = start(&journal, 1, Arc::default()).await;
    let two = start(&journal, 2, Arc::default()).await;
    let mut ada = Connection::default();
    assert_eq!(ada.say(&one, proposal("general", "ada", "1", "one")).await, committed(0));

    // An archive that says it has all of that, and has not.
    let archive = Arc::<MemoryArchive>::default();
    let position = journal.head(0).expect("a head");
    let applied = Applied { position, chain: Some(Chain([9; 32])), ..Applied::default() };
    let window = Window { partition: 0, commits: Vec::new(), applied, hurry: Hurry::now() };
    archive.fold(&window).expect("a fold");
    let three = start(&journal, 3, archive).await;

    let ended = timeout(LONG, three.has_ended()).await.expect("it stops");
    assert!(matches!(ended, Err(NodeError::Disagrees { others: 2, .. })), "{ended:?}");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(ada.say(&two, proposal("general", "ada", "2", "two")).await, committed(1));
    let general = one.tail(&room("general")).expect("a room");
    while general.head().end < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(one.bodies("general").await, ["one", "two"]);
    for life in [one, two] {
        life.end().await.expect("a good end");
    }
}
