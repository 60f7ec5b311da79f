//! A newer version of the rules, in a cluster that is brought to it one node after the other.

#[path = "play/speaking.rs"]
mod speaking;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use roomlog_core::{
    NodeError, NodeSettings, archive::Archive, block::BlockError, journal::Journal,
    outcome::AppendOutcome, rules::Rules,
};
use roomlog_testkit::{
    fixtures::{TRIAL, proposal, room},
    life::{Connection, LONG, Life, identity, small_windows},
    memory::MemoryArchive,
};
use speaking::{Hears, Speaking};
use tokio::time::{sleep, timeout};

/// For how long all that are heard must know a version before a block names it.
const HEARD_FOR: Duration = Duration::from_secs(30);

/// Among this many nodes no newer version begins.
const NODES: usize = 256;

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
        
        Life::over(journal.clone(), self.archive.clone(), identity, settings)
    }

    /// A node of a build that knows these rules, which has caught up.
    async fn start(&self, journal: &Arc<Speaking>, incarnation: u64, knows: Rules) -> Life {
        let life = self.over(journal, incarnation, knows);
        life.has_caught_up().await;
        life
    }
}

/// Says something at a node; the slot and the time that it got. The journal's own time stands still.
async fn said(connection: &mut Connection, life: &Life, id: &str) -> (u64, u64) {
    match connection.say(life, proposal("general", "ada", id, id)).await {
        AppendOutcome::Committed { slot, committed_at, .. } => (slot, committed_at),
        other => panic!("{other:?}"),
    }
}

/// Says something in these slots, over the time in which one that is not heard may be there.
async fn says_by_first_rules(connection: &mut Connection, life: &Life, slots: Range<u64>) {
    let every = HEARD_FOR / u32::try_from(slots.end - slots.start).expect("a few");
    for slot in slots {
        let got = said(connection, life, &slot.to_string()).await;
        assert_eq!(got, (slot, 0), "one that is not heard may be there");
        sleep(every).await;
    }
}

async fn reaches(life: &Life, end: u64) {
    let general = life.tail(&room("general")).expect("a room");
    while general.head().end < end {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn newer_rules_begin_when_the_last_node_knows_them_and_all_nodes_hold_one_log() {
    let journal = Arc::new(Speaking::new());
    let (first, second) = (Place::of(1), Place::of(2));
    let new = first.start(&journal, 1, TRIAL).await;
    let old = second.start(&journal, 1, Rules::FIRST).await;
    let mut ada = Connection::default();
    assert_eq!(said(&mut ada, &new, "a").await, (0, 0));

    // Side by side, for as long as it takes: both go on by the rules that both know.
    sleep(3 * HEARD_FOR).await;
    assert_eq!(said(&mut ada, &new, "b").await, (1, 0));
    assert_eq!(said(&mut ada, &old, "c").await, (2, 0));

    old.end().await.expect("a good end");
    let brought = second.start(&journal, 2, TRIAL).await;
    assert_eq!(said(&mut ada, &brought, "d").await, (3, 0));
    sleep(2 * HEARD_FOR).await;
    assert_eq!(said(&mut ada, &brought, "e").await, (4, 0), "after a quiet time not the first");
    sleep(SOON).await;
    assert_eq!(said(&mut ada, &brought, "f").await, (5, 1), "no two entries have one time now");
    reaches(&new, 6).await;
    assert_eq!(said(&mut ada, &new, "g").await, (6, 2));

    reaches(&brought, 7).await;
    let heads = [&new, &brought].map(|life| {
        let general = life.tail(&room("general")).expect("a room");
        (general.head().end, general.head().digest)
    });
    assert_eq!(heads[0], heads[1]);

    // Who makes its archive from the whole journal comes to the same; who does not know the rules stops.
    let third = Place::of(3).start(&journal, 1, TRIAL).await;
    assert_eq!(third.bodies("general").await, ["a", "b", "c", "d", "e", "f", "g"]);
    let late = Place::of(4).over(&journal, 1, Rules::FIRST);
    let ended = timeout(LONG, late.has_ended()).await.expect("it stops");
    let Err(NodeError::Block { problem: BlockError::Newer { rules, .. }, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(rules, TRIAL.number());
    for life in [new, brought, third] {
        life.end().await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_knows_newer_rules_and_starts_beside_them_follows_at_once() {
    let journal = Arc::new(Speaking::new());
    let first = Place::of(1);
    let one = first.start(&journal, 1, TRIAL).await;
    let mut ada = Connection::default();
    says_by_first_rules(&mut ada, &one, 0..7).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(said(&mut ada, &one, "b").await, (7, 1));
    let two = Place::of(2).start(&journal, 1, TRIAL).await;
    assert_eq!(
        said(&mut ada, &two, "c").await,
        (8, 2),
        "what it read says which rules are in force"
    );
    for life in [one, two] {
        life.end().await.expect("a good end");
    }
}

/// Two nodes that have said something, of which the other does not know newer rules.
struct Two {
    here: Arc<Speaking>,
    new: Life,
    old: Life,
    ada: Connection,
    bea: Connection,
}

impl Two {
    async fn start() -> Self {
        let there = Arc::new(Speaking::new());
        let here = Arc::new(there.beside());
        let new = Place::of(1).start(&here, 1, TRIAL).await;
        let old = Place::of(2).start(&there, 1, Rules::FIRST).await;
        let mut two =
            Self { here, new, old, ada: Connection::default(), bea: Connection::default() };
        two.new_says(0).await;
        two.old_says(1).await;
        two
    }

    /// Says something at the one that knows newer rules, which is decided by those that both know.
    async fn new_says(&mut self, slot: u64) {
        let got = said(&mut self.ada, &self.new, &format!("a{slot}")).await;
        assert_eq!(got, (slot, 0), "by rules that both know");
    }

    async fn old_says(&mut self, slot: u64) {
        let got = said(&mut self.bea, &self.old, &format!("b{slot}")).await;
        assert_eq!(got, (slot, 0), "by rules that both know");
        reaches(&self.new, slot + 1).await;
    }

    async fn end(self) {
        for life in [self.new, self.old] {
            life.end().await.expect("a good end");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_goes_on_by_rules_that_the_others_know() {
    let mut two = Two::start().await;
    two.here.set_has_journal(false);
    two.here.set_hears(Hears::Itself);
    sleep(CUT_OFF_FOR).await;
    // Somebody says something there while it is, and blocks come and go again before the other node is heard.
    let later = async {
        sleep(LONG / 2).await;
        two.here.set_has_journal(true);
    };
    let (got, ()) = tokio::join!(said(&mut two.ada, &two.new, "a2"), later);
    assert_eq!(got, (2, 0));
    sleep(Duration::from_secs(3)).await;
    two.new_says(3).await;
    two.here.set_hears(Hears::All);
    sleep(Duration::from_secs(3)).await;
    two.new_says(4).await;
    sleep(SOON).await;
    two.new_says(5).await;
    two.old_says(6).await;
    two.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hears_only_itself_or_nobody_goes_on_by_rules_that_blocks_of_others_name() {
    for hears in [Hears::Itself, Hears::Nobody] {
        let mut two = Two::start().await;
        two.here.set_hears(hears);
        for n in 1..20 {
            sleep(Duration::from_secs(4)).await;
            two.old_says(2 * n).await;
            two.new_says(2 * n + 1).await;
        }
        two.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_is_waited_for_and_not_for_ever() {
    let Two { new, old, mut ada, .. } = Two::start().await;
    sleep(HEARD_FOR).await;
    old.end().await.expect("a good end");
    says_by_first_rules(&mut ada, &new, 2..9).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(said(&mut ada, &new, "later").await, (9, 1));
    new.end().await.expect("a good end");
}

#[tokio::test(start_paused = true)]
async fn among_too_many_nodes_to_hear_no_newer_rules_begin() {
    for (others, begins) in [(NODES - 2, true), (NODES - 1, false)] {
        let journal = Arc::new(Speaking::new());
        let one = Place::of(1).start(&journal, 1, TRIAL).await;
        let peers = journal.peers().expect("a way to speak");
        let mut ada = Connection::default();
        let mut got = Vec::new();
        for second in 0..HEARD_FOR.as_secs() + 10 {
            for other in 0..others {
                // As a node with this number says that it knows newer rules: no chains.
                let mut said = BytesMut::from(&b"RLA1"[..]);
                said.put_u64(other as u64);
                said.put_u64(9);
                said.put_u64(1);
                said.put_u16(TRIAL.number());
                said.put_u32(0);
                peers.tell(said.freeze()).await;
            }
            got.push(said(&mut ada, &one, &second.to_string()).await.1);
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(got.last() > Some(&0), begins, "{others} others: {got:?}");
        one.end().await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_hear_itself_goes_on_by_the_rules_that_were_in_force() {
    let mut two = Two::start().await;
    two.here.set_hears(Hears::Nobody);
    for n in 2..20 {
        sleep(Duration::from_secs(4)).await;
        two.new_says(n).await;
    }
    two.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_started_again_goes_on_by_the_rules_that_were_in_force() {
    let journal = Arc::new(Speaking::new());
    let place = Place::of(1);
    let one = place.start(&journal, 1, TRIAL).await;
    let mut ada = Connection::default();
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

    let two = place.start(&journal, 2, TRIAL).await;
    assert_eq!(said(&mut ada, &two, "d").await, (3, 2));
    two.end().await.expect("a good end");

    let (archive, older) = (place.archive.clone(), identity(1, 3));
    let settings = NodeSettings { knows: Rules::FIRST, ..small_windows() };
    let opened = Life::try_over(journal, archive, older, settings).map(drop);
    let Err(NodeError::NewerRules { rules }) = opened else { panic!("{opened:?}") };
    assert_eq!(rules, TRIAL.number());
}
