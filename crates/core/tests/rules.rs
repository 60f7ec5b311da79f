//! Newer rules, in a cluster that is upgraded one node after the other.

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
    life::{Connection, LONG, Life, identity, in_time, small_windows},
    memory::MemoryArchive,
};
use speaking::{Hears, Speaking};
use tokio::time::sleep;

/// All visible nodes must know a version for this long before a block names it.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// With this many nodes no newer version begins.
const MAX_NODES: usize = 256;

/// How long newer rules take to begin after the first block that ends an idle time.
const SOON: Duration = Duration::from_secs(6);

/// Longer than a silent node counts.
const CUT_OFF_FOR: Duration = Duration::from_secs(40);

/// A node's number, and what survives its end.
struct Site {
    number: u8,
    archive: Arc<MemoryArchive>,
}

impl Site {
    fn of(number: u8) -> Self {
        Self { number, archive: Arc::default() }
    }

    fn over(&self, journal: &Arc<Speaking>, incarnation: u64, knows: Rules) -> Life {
        let settings = NodeSettings { knows, ..small_windows() };
        let identity = identity(self.number, incarnation);

        Life::over(journal.clone(), self.archive.clone(), identity, settings)
    }

    /// Starts a node that knows these rules, and waits until it has caught up.
    async fn start(&self, journal: &Arc<Speaking>, incarnation: u64, knows: Rules) -> Life {
        let life = self.over(journal, incarnation, knows);
        life.has_caught_up().await;
        life
    }
}

/// Appends at a node; returns the slot and the time of the entry. The journal's own time is
/// constant.
async fn append(connection: &mut Connection, life: &Life, id: &str) -> (u64, u64) {
    match connection.say(life, proposal("general", "ada", id, id)).await {
        AppendOutcome::Committed { slot, committed_at, .. } => (slot, committed_at),
        other => panic!("{other:?}"),
    }
}

/// Appends these slots, over the time in which a silent node may still be there.
async fn append_by_first_rules(connection: &mut Connection, life: &Life, slots: Range<u64>) {
    let every = SEEN_WITHIN / u32::try_from(slots.end - slots.start).expect("a few");
    for slot in slots {
        let got = append(connection, life, &slot.to_string()).await;
        assert_eq!(got, (slot, 0), "a silent node may still be there");
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
async fn newer_rules_begin_when_the_last_node_knows_them_and_all_logs_are_equal() {
    let journal = Arc::new(Speaking::new());
    let (first, second) = (Site::of(1), Site::of(2));
    let new = first.start(&journal, 1, TRIAL).await;
    let old = second.start(&journal, 1, Rules::FIRST).await;
    let mut ada = Connection::default();
    assert_eq!(append(&mut ada, &new, "a").await, (0, 0));

    // Side by side, for any time: both use the rules that both know.
    sleep(3 * SEEN_WITHIN).await;
    assert_eq!(append(&mut ada, &new, "b").await, (1, 0));
    assert_eq!(append(&mut ada, &old, "c").await, (2, 0));

    old.end().await.expect("a good end");
    let brought = second.start(&journal, 2, TRIAL).await;
    assert_eq!(append(&mut ada, &brought, "d").await, (3, 0));
    sleep(2 * SEEN_WITHIN).await;
    assert_eq!(
        append(&mut ada, &brought, "e").await,
        (4, 0),
        "the first block after an idle time uses the old rules"
    );
    sleep(SOON).await;
    assert_eq!(
        append(&mut ada, &brought, "f").await,
        (5, 1),
        "no two entries have the same time now"
    );
    reaches(&new, 6).await;
    assert_eq!(append(&mut ada, &new, "g").await, (6, 2));

    reaches(&brought, 7).await;
    let heads = [&new, &brought].map(|life| {
        let general = life.tail(&room("general")).expect("a room");
        (general.head().end, general.head().digest)
    });
    assert_eq!(heads[0], heads[1]);

    // A node that builds its archive from the journal gets the same log; one that does not know the
    // rules stops.
    let third = Site::of(3).start(&journal, 1, TRIAL).await;
    assert_eq!(third.bodies("general").await, ["a", "b", "c", "d", "e", "f", "g"]);
    let late = Site::of(4).over(&journal, 1, Rules::FIRST);
    let ended = in_time("its end", late.has_ended()).await;
    let Err(NodeError::Block { problem: BlockError::Newer { rules, .. }, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(rules, TRIAL.number());
    for life in [new, brought, third] {
        life.end().await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_started_under_newer_rules_follows_them_at_once() {
    let journal = Arc::new(Speaking::new());
    let first = Site::of(1);
    let one = first.start(&journal, 1, TRIAL).await;
    let mut ada = Connection::default();
    append_by_first_rules(&mut ada, &one, 0..7).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(append(&mut ada, &one, "b").await, (7, 1));
    let two = Site::of(2).start(&journal, 1, TRIAL).await;
    assert_eq!(
        append(&mut ada, &two, "c").await,
        (8, 2),
        "the blocks it read name the rules in force"
    );
    for life in [one, two] {
        life.end().await.expect("a good end");
    }
}

/// Two nodes that have appended; only one of them knows newer rules.
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
        let new = Site::of(1).start(&here, 1, TRIAL).await;
        let old = Site::of(2).start(&there, 1, Rules::FIRST).await;
        let mut two =
            Self { here, new, old, ada: Connection::default(), bea: Connection::default() };
        two.append_new(0).await;
        two.append_old(1).await;
        two
    }

    /// Appends at the node that knows newer rules.
    async fn append_new(&mut self, slot: u64) {
        let got = append(&mut self.ada, &self.new, &format!("a{slot}")).await;
        assert_eq!(got, (slot, 0), "by rules that both know");
    }

    async fn append_old(&mut self, slot: u64) {
        let got = append(&mut self.bea, &self.old, &format!("b{slot}")).await;
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
async fn a_node_that_was_cut_off_continues_with_rules_that_the_others_know() {
    let mut two = Two::start().await;
    two.here.set_has_journal(false);
    two.here.set_hears(Hears::Itself);
    sleep(CUT_OFF_FOR).await;
    // An append there meanwhile; and blocks get through again before the reports of the other node.
    let later = async {
        sleep(LONG / 2).await;
        two.here.set_has_journal(true);
    };
    let (got, ()) = tokio::join!(append(&mut two.ada, &two.new, "a2"), later);
    assert_eq!(got, (2, 0));
    sleep(Duration::from_secs(3)).await;
    two.append_new(3).await;
    two.here.set_hears(Hears::All);
    sleep(Duration::from_secs(3)).await;
    two.append_new(4).await;
    sleep(SOON).await;
    two.append_new(5).await;
    two.append_old(6).await;
    two.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_reports_of_others_continues_with_rules_that_their_blocks_name() {
    for hears in [Hears::Itself, Hears::Nobody] {
        let mut two = Two::start().await;
        two.here.set_hears(hears);
        for n in 1..20 {
            sleep(Duration::from_secs(4)).await;
            two.append_old(2 * n).await;
            two.append_new(2 * n + 1).await;
        }
        two.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn newer_rules_wait_for_an_absent_node_but_not_forever() {
    let Two { new, old, mut ada, .. } = Two::start().await;
    sleep(SEEN_WITHIN).await;
    old.end().await.expect("a good end");
    append_by_first_rules(&mut ada, &new, 2..9).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(append(&mut ada, &new, "later").await, (9, 1));
    new.end().await.expect("a good end");
}

#[tokio::test(start_paused = true)]
async fn with_too_many_nodes_no_newer_rules_begin() {
    for (others, begins) in [(MAX_NODES - 2, true), (MAX_NODES - 1, false)] {
        let journal = Arc::new(Speaking::new());
        let one = Site::of(1).start(&journal, 1, TRIAL).await;
        let peers = journal.peers().expect("a shared journal");
        let mut ada = Connection::default();
        let mut got = Vec::new();
        for second in 0..SEEN_WITHIN.as_secs() + 10 {
            for other in 0..others {
                // A report of a node with this number that knows newer rules, without chains.
                let mut report = BytesMut::from(&b"RLA1"[..]);
                report.put_u64(other as u64);
                report.put_u64(9);
                report.put_u64(1);
                report.put_u16(TRIAL.number());
                report.put_u32(0);
                peers.broadcast(report.freeze()).await;
            }
            got.push(append(&mut ada, &one, &second.to_string()).await.1);
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(got.last() > Some(&0), begins, "{others} others: {got:?}");
        one.end().await.expect("a good end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_its_own_reports_continues_with_the_rules_in_force() {
    let mut two = Two::start().await;
    two.here.set_hears(Hears::Nobody);
    for n in 2..20 {
        sleep(Duration::from_secs(4)).await;
        two.append_new(n).await;
    }
    two.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_continues_with_the_rules_in_force() {
    let journal = Arc::new(Speaking::new());
    let site = Site::of(1);
    let one = site.start(&journal, 1, TRIAL).await;
    let mut ada = Connection::default();
    assert_eq!(append(&mut ada, &one, "a").await, (0, 0));
    sleep(2 * SEEN_WITHIN).await;
    assert_eq!(append(&mut ada, &one, "b").await, (1, 0));
    sleep(SOON).await;
    assert_eq!(append(&mut ada, &one, "c").await, (2, 1));
    let head = journal.head(0).expect("a head");
    while site.archive.applied(0).expect("an archive").position < head {
        sleep(Duration::from_millis(1)).await;
    }
    one.end().await.expect("a good end");

    let two = site.start(&journal, 2, TRIAL).await;
    assert_eq!(append(&mut ada, &two, "d").await, (3, 2));
    two.end().await.expect("a good end");

    let (archive, older) = (site.archive.clone(), identity(1, 3));
    let settings = NodeSettings { knows: Rules::FIRST, ..small_windows() };
    let opened = Life::try_over(journal, archive, older, settings).map(drop);
    let Err(NodeError::NewerRules { rules }) = opened else { panic!("{opened:?}") };
    assert_eq!(rules, TRIAL.number());
}
