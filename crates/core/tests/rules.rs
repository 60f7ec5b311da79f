//! A newer version of the rules, in a cluster that is brought to it one node after the other.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Connection, LONG, Life, identity, small_windows, speaking::Speaking};
use roomlog_core::{
    Node, NodeError, NodeSettings,
    archive::Archive,
    block::BlockError,
    journal::Journal,
    mailbox::Outcome,
    memory::MemoryArchive,
    rules::{HEARD_FOR, Rules},
    suites::archive::{proposal, room},
};
use tokio::time::{sleep, timeout};

/// How long newer rules take to begin after the first block of a quiet time.
const SOON: Duration = Duration::from_secs(6);

/// Longer than a node counts that is not heard.
const CUT_OFF_FOR: Duration = Duration::from_secs(40);

/// Of a node, its number and what stays when it ends.
struct Place {
    number: u8,
    archive: Arc<MemoryArchive>,
}

impl Place {
    fn of(number: u8) -> Self {
        Self { number, archive: Arc::default() }
    }

    fn over(&self, journal: &Arc<Speaking>, incarnation: u64, knows: Rules) -> Life {
        let settings = NodeSettings { knows, ..small_windows() };
        let identity = identity(self.number, incarnation);
        let mut life = Life::over(journal.clone(), self.archive.clone(), identity, settings);
        life.start_fold();
        life
    }

    /// A node of a build that knows these rules, which has caught up.
    async fn start(&self, journal: &Arc<Speaking>, incarnation: u64, knows: Rules) -> Life {
        let life = self.over(journal, incarnation, knows);
        life.caught_up().await;
        life
    }
}

/// Says something at a node; the slot and the time that it got. The journal's own time stands still.
async fn said(connection: &mut Connection, life: &Life, id: &str) -> (u64, u64) {
    match connection.say(&life.node, proposal("general", "ada", id, id)).await {
        Outcome::Committed { slot, committed_at, .. } => (slot, committed_at),
        other => panic!("{other:?}"),
    }
}

async fn reaches(life: &Life, end: u64) {
    let general = life.node.rooms.open(&room("general")).expect("a room");
    while general.head().end < end {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn newer_rules_begin_when_the_last_node_knows_them_and_all_nodes_hold_one_log() {
    let journal = Arc::new(Speaking::new());
    let (first, second) = (Place::of(1), Place::of(2));
    let new = first.start(&journal, 1, Rules::TRIAL).await;
    let old = second.start(&journal, 1, Rules::FIRST).await;
    let mut ada = Connection::new(1);
    assert_eq!(said(&mut ada, &new, "a").await, (0, 0));

    // Side by side, for as long as it takes: both go on by the rules that both know.
    sleep(3 * HEARD_FOR).await;
    assert_eq!(said(&mut ada, &new, "b").await, (1, 0));
    assert_eq!(said(&mut ada, &old, "c").await, (2, 0));

    old.end().await.expect("a good end");
    let brought = second.start(&journal, 2, Rules::TRIAL).await;
    assert_eq!(said(&mut ada, &brought, "d").await, (3, 0));
    sleep(2 * HEARD_FOR).await;
    assert_eq!(said(&mut ada, &brought, "e").await, (4, 0), "after a quiet time not the first");
    sleep(SOON).await;
    assert_eq!(said(&mut ada, &brought, "f").await, (5, 1), "no two entries have one time now");
    reaches(&new, 6).await;
    assert_eq!(said(&mut ada, &new, "g").await, (6, 2));

    reaches(&brought, 7).await;
    let heads = [&new, &brought].map(|life| {
        let general = life.node.rooms.open(&room("general")).expect("a room");
        (general.head().end, general.head().digest)
    });
    assert_eq!(heads[0], heads[1]);

    // Who makes its archive from the whole journal comes to the same; who does not know the rules stops.
    let third = Place::of(3).start(&journal, 1, Rules::TRIAL).await;
    assert_eq!(third.bodies("general").await, ["a", "b", "c", "d", "e", "f", "g"]);
    let late = Place::of(4).over(&journal, 1, Rules::FIRST);
    let ended = timeout(LONG, late.ended()).await.expect("it stops");
    let Err(NodeError::Block { problem: BlockError::Newer { rules, .. }, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(rules, Rules::TRIAL.number());
    for life in [new, brought, third] {
        life.end().await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_knows_newer_rules_and_starts_beside_them_follows_at_once() {
    let journal = Arc::new(Speaking::new());
    let first = Place::of(1);
    let one = first.start(&journal, 1, Rules::TRIAL).await;
    let mut ada = Connection::new(1);
    sleep(2 * HEARD_FOR).await;
    assert_eq!(said(&mut ada, &one, "a").await, (0, 0));
    sleep(SOON).await;
    assert_eq!(said(&mut ada, &one, "b").await, (1, 1));
    let two = Place::of(2).start(&journal, 1, Rules::TRIAL).await;
    assert_eq!(
        said(&mut ada, &two, "c").await,
        (2, 2),
        "what it read says which rules are in force"
    );
    for life in [one, two] {
        life.end().await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_goes_on_by_the_rules_that_the_others_know() {
    let journal = Arc::new(Speaking::new());
    let apart = Arc::new(journal.beside());
    let new = Place::of(1).start(&apart, 1, Rules::TRIAL).await;
    let old = Place::of(2).start(&journal, 1, Rules::FIRST).await;
    let (mut ada, mut bea) = (Connection::new(1), Connection::new(2));
    assert_eq!(said(&mut ada, &new, "a").await, (0, 0));

    // Quiet while it was cut off, then somebody else is the first to say something.
    apart.set_together(false);
    sleep(CUT_OFF_FOR).await;
    apart.set_together(true);
    assert_eq!(said(&mut bea, &old, "b").await, (1, 0));
    reaches(&new, 2).await;
    assert_eq!(said(&mut ada, &new, "c").await, (2, 0));

    // Somebody says something there while it is cut off.
    apart.set_together(false);
    sleep(CUT_OFF_FOR).await;
    let later = async {
        sleep(LONG / 2).await;
        apart.set_together(true);
    };
    let (got, ()) = tokio::join!(said(&mut ada, &new, "d"), later);
    assert_eq!(got, (3, 0));
    sleep(3 * HEARD_FOR).await;
    assert_eq!(said(&mut bea, &old, "e").await, (4, 0), "both go on");
    for life in [new, old] {
        life.end().await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_started_again_goes_on_by_the_rules_that_were_in_force() {
    let journal = Arc::new(Speaking::new());
    let place = Place::of(1);
    let one = place.start(&journal, 1, Rules::TRIAL).await;
    let mut ada = Connection::new(1);
    assert_eq!(said(&mut ada, &one, "a").await, (0, 0));
    sleep(2 * HEARD_FOR).await;
    assert_eq!(said(&mut ada, &one, "b").await, (1, 0));
    sleep(SOON).await;
    assert_eq!(said(&mut ada, &one, "c").await, (2, 1));
    let head = journal.head(0).expect("a head");
    while place.archive.applied(0).expect("an archive").position < head {
        sleep(Duration::from_millis(1)).await;
    }
    one.end().await.expect("a good end");

    let two = place.start(&journal, 2, Rules::TRIAL).await;
    assert_eq!(said(&mut ada, &two, "d").await, (3, 2));
    two.end().await.expect("a good end");

    let (archive, older) = (place.archive.clone(), identity(1, 3));
    let settings = NodeSettings { knows: Rules::FIRST, ..small_windows() };
    let opened = Node::open(older, journal, archive, settings).map(drop);
    let Err(NodeError::NewerRules { rules }) = opened else { panic!("{opened:?}") };
    assert_eq!(rules, Rules::TRIAL.number());
}
