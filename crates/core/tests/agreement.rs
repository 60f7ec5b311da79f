//! Nodes compare the effects of one journal; one that differs from the majority stops.

#[path = "play/speaking.rs"]
#[allow(dead_code, reason = "these nodes are never cut off")]
mod speaking;

use std::{sync::Arc, time::Duration};

use roomlog_core::{
    NodeError,
    applied::{Applied, Chain},
    archive::{Archive, Urgency, Window},
    journal::Journal,
};
use roomlog_testkit::{
    fixtures::{proposal, room},
    life::{Connection, Life, committed, identity, in_time, small_windows},
    memory::MemoryArchive,
};
use speaking::Speaking;
use tokio::time::sleep;

async fn start(journal: &Arc<Speaking>, node: u8, archive: Arc<MemoryArchive>) -> Life {
    let life = Life::over(journal.clone(), archive, identity(node, 1), small_windows());
    life.has_caught_up().await;
    life
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_different_log_stops_and_the_other_two_continue() {
    let journal = Arc::new(Speaking::new());
    let one = start(&journal, 1, Arc::default()).await;
    let two = start(&journal, 2, Arc::default()).await;
    let mut ada = Connection::default();
    assert_eq!(ada.say(&one, proposal("general", "ada", "1", "one")).await, committed(0));

    // An archive that claims to hold all of that, but does not.
    let archive = Arc::<MemoryArchive>::default();
    let position = journal.head(0).expect("a head");
    let applied = Applied { position, chain: Some(Chain([9; 32])), ..Applied::default() };
    let window = Window { partition: 0, commits: Vec::new(), applied, urgency: Urgency::now() };
    archive.fold(&window).expect("a fold");
    let three = start(&journal, 3, archive).await;

    let ended = in_time("its end", three.has_ended()).await;
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
