//! A node whose journal is full, holds blocks that must not be applied, or is shared by mistake.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use roomlog_core::{
    NodeError, NodeSettings,
    archive::Archive,
    block::{BlockError, BlockName, PastEntry, encode, encode_history},
    identity::NodeId,
    journal::{Journal, Partition, Position, Proposed},
    outcome::AppendOutcome,
    proposal::Proposal,
    rules::Rules,
};
use roomlog_testkit::{
    delegate_journal,
    fixtures::proposal,
    life::{Connection, Disk, LONG, Life, committed, identity, repeat, small_windows},
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::time::timeout;

fn says(id: &str) -> Proposal {
    proposal("general", "ada", id, id)
}

/// The block `incarnation.n` of a node, with these bodies from `ada`.
fn block(node: u8, incarnation: u64, n: u64, says_all: &[&str]) -> Vec<u8> {
    let name = BlockName { node: NodeId([node; 16]), incarnation, n };
    let says = |body: &&str| proposal("general", "ada", &body.replace(' ', "-"), body);
    let proposals: Vec<Proposal> = says_all.iter().map(says).collect();
    encode(name, Rules::FIRST, proposals.iter()).to_vec()
}

async fn store(disk: &Disk, block: Vec<u8>) {
    let stored = disk.journal.propose(0, block.into()).await;
    assert!(matches!(stored, Proposed::Durable(_)), "{stored:?}");
}

#[tokio::test]
async fn when_full_the_first_of_a_numbered_queue_gets_the_reason_and_the_rest_out_of_order() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    disk.journal.set_full(true);
    for seq in 0..3 {
        ada.append(&life, says(&format!("id-{seq}")), Some(seq), 0).expect("taken");
    }
    let refused = [
        (0, AppendOutcome::StorageFull),
        (1, AppendOutcome::OutOfOrder { expected: None }),
        (2, AppendOutcome::OutOfOrder { expected: None }),
    ];
    assert_eq!(ada.outcomes().await, refused);

    // There is room again, but the first append has not been resent yet.
    disk.journal.set_full(false);
    ada.append(&life, says("id-3"), Some(3), 0).expect("taken");
    ada.append(&life, says("id-1"), Some(1), 0).expect("taken");
    assert_eq!(
        ada.outcomes().await,
        [
            (3, AppendOutcome::OutOfOrder { expected: None }),
            (4, AppendOutcome::OutOfOrder { expected: None })
        ]
    );
    for seq in 0..4 {
        ada.append(&life, says(&format!("id-{seq}")), Some(seq), 0).expect("taken");
    }
    let taken: Vec<_> = (0..4).map(|slot| (5 + slot, committed(slot))).collect();
    assert_eq!(ada.outcomes().await, taken);
    assert_eq!(life.bodies("general").await, ["id-0", "id-1", "id-2", "id-3"]);
}

#[tokio::test]
async fn a_refused_queue_does_not_block_others() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let (mut ada, mut bob) = (Connection::default(), Connection::default());
    disk.journal.set_full(true);
    ada.append(&life, says("a-0"), Some(0), 0).expect("taken");
    ada.append(&life, proposal("other", "ada", "o-0", "o"), Some(0), 0).expect("taken");
    bob.append(&life, says("b-0"), None, 0).expect("taken");
    bob.append(&life, says("b-1"), None, 0).expect("taken");
    let full = AppendOutcome::StorageFull;
    assert_eq!(ada.outcomes().await, [(0, full.clone()), (1, full.clone())]);
    assert_eq!(bob.outcomes().await, [(0, full.clone()), (1, full)]);
    disk.journal.set_full(false);
    // Unnumbered queues are not blocked, and each room has its own queue.
    assert_eq!(bob.say(&life, says("b-1")).await, committed(0));
    ada.append(&life, proposal("other", "ada", "o-0", "o"), Some(0), 0).expect("taken");
    assert_eq!(ada.outcomes().await, [(2, committed(0))]);
}

#[tokio::test]
async fn more_than_one_pending_block_is_refused_in_order() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    disk.journal.set_full(true);
    for seq in 0..600 {
        ada.append(&life, says(&format!("id-{seq}")), Some(seq), 0).expect("taken");
    }
    let outcomes = ada.outcomes().await;
    assert_eq!(outcomes[0], (0, AppendOutcome::StorageFull));
    assert!(
        outcomes[1..]
            .iter()
            .all(|(_, outcome)| *outcome == AppendOutcome::OutOfOrder { expected: None })
    );
    disk.journal.set_full(false);
    ada.append(&life, says("id-0"), Some(0), 0).expect("taken");
    assert_eq!(ada.outcomes().await, [(600, committed(0))]);
    // This block reused the number of the refused one, so a restart finds no gap.
    life.end().await.expect("a good end");
    let life = Life::start(&disk.without_archive(), identity(1, 2), small_windows()).await;
    assert_eq!(life.bodies("general").await, ["id-0"]);
}

#[tokio::test]
async fn foreign_and_repeated_blocks_are_skipped() {
    let disk = Disk::default();
    store(&disk, block(1, 1, 0, &["one"])).await;
    store(&disk, b"nothing of ours".to_vec()).await;
    store(&disk, block(1, 1, 0, &["one"])).await;
    store(&disk, block(2, 1, 0, &["of another node"])).await;
    store(&disk, block(1, 2, 0, &["two"])).await;
    store(&disk, block(1, 1, 1, &["a late one of the first incarnation"])).await;
    store(&disk, block(1, 2, 2, &["behind a gap"])).await;
    let mut damaged = block(1, 2, 1, &["damaged"]);
    damaged[60] ^= 1;
    store(&disk, damaged).await;
    store(&disk, block(1, 2, 1, &["three", "one"])).await;

    let log = ["one", "of another node", "two", "three"];
    let life = Life::start(&disk, identity(3, 1), small_windows()).await;
    assert_eq!(life.bodies("general").await, log);
    disk.folded().await;
    assert_eq!(disk.archive.applied(0).expect("applied").position, Position(9));
    let mut ada = Connection::default();
    assert_eq!(ada.say(&life, says("one")).await, repeat(0));
    assert_eq!(ada.say(&life, says("behind-a-gap")).await, committed(4));
    life.end().await.expect("a good end");

    let life = Life::start(&disk.without_archive(), identity(3, 2), small_windows()).await;
    assert_eq!(life.bodies("general").await, [&log[..], &["behind-a-gap"]].concat());
}

#[tokio::test]
async fn a_late_block_of_the_old_incarnation_is_fenced_while_the_new_one_lives() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    assert_eq!(ada.say(&life, says("one")).await, committed(0));
    life.end().await.expect("a good end");

    let life = Life::start(&disk, identity(1, 2), small_windows()).await;
    assert_eq!(ada.say(&life, says("two")).await, committed(1));
    store(&disk, block(1, 1, 1, &["late"])).await;
    assert_eq!(ada.say(&life, says("three")).await, committed(2));
    assert_eq!(life.bodies("general").await, ["one", "two", "three"]);
}

#[tokio::test]
async fn another_process_with_this_identity_stops_the_node_and_pending_appends_are_answered() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    assert_eq!(ada.say(&life, says("one")).await, committed(0));
    // The other process is newer: its first block fences this one, which stops when it reads it.
    store(&disk, block(1, 2, 0, &["of the other"])).await;
    let told = ada.say(&life, says("two")).await;
    assert!(matches!(told, AppendOutcome::Unknown | AppendOutcome::Unavailable), "{told:?}");
    assert_eq!(life.has_ended().await, Err(NodeError::Fenced(Position(2))));

    let life = Life::start(&disk, identity(1, 3), small_windows()).await;
    assert_eq!(life.bodies("general").await, ["one", "of the other"]);
}

#[tokio::test]
async fn a_block_of_newer_rules_stops_the_node_before_later_blocks_are_applied() {
    let disk = Disk::default();
    store(&disk, block(1, 1, 0, &["one"])).await;
    let mut newer = block(1, 1, 1, &["by rules we do not know"]);
    newer[11] += 1;
    let crc = crc32fast::hash(&newer[8..]).to_be_bytes();
    newer[4..8].copy_from_slice(&crc);
    store(&disk, newer).await;
    store(&disk, block(1, 1, 2, &["three"])).await;

    let life = Life::over(
        disk.journal.clone(),
        disk.archive.clone(),
        identity(3, 1),
        NodeSettings::default(),
    );
    assert!(!life.caught_up().await);
    let problem = BlockError::Newer { format: 2, rules: 2, kind: 0 };
    let stopped = NodeError::Block { position: Position(2), problem };
    assert_eq!(life.has_ended().await, Err(stopped));
}

#[tokio::test]
async fn dropping_a_node_ends_the_folds_thread() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    assert_eq!(ada.say(&life, says("one")).await, committed(0));
    // Nothing is pending: the thread waits for the next window. `crash` joins it with a timeout.
    disk.folded().await;
    life.crash().await;
    let life = Life::start(&disk, identity(1, 2), small_windows()).await;
    assert_eq!(life.bodies("general").await, ["one"]);
}

#[tokio::test]
async fn with_a_full_archive_appends_continue_up_to_the_bound_and_again_when_there_is_room() {
    let disk = Disk::default();
    let bounded = NodeSettings { unfolded_bytes: 20 * 512, ..small_windows() };
    let life = Life::start(&disk, identity(1, 1), bounded).await;
    let mut ada = Connection::default();
    disk.archive.set_full(true);
    for n in 0..20 {
        assert_eq!(ada.say(&life, says(&format!("id-{n}"))).await, committed(n));
    }
    // At the bound; reads continue.
    timeout(LONG, async {
        while ada.append(&life, says("too-much"), None, 0) != Err(AppendOutcome::Busy) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("busy at the bound");
    assert!(life.bodies("general").await.len() >= 20);
    disk.archive.set_full(false);
    disk.folded().await;
    ada.outcomes().await;
    timeout(LONG, async {
        while ada.append(&life, says("after"), None, 0).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("taken again");
    ada.outcomes().await;
    assert_eq!(life.bodies("general").await.last().map(String::as_str), Some("after"));
    life.end().await.expect("a good end");
}

#[tokio::test]
async fn with_a_full_archive_pending_bytes_are_bounded() {
    // Each counts twice its body plus 512 bytes: two are below the bound, the third meets it.
    let disk = Disk::default();
    let bounded = NodeSettings { unfolded_bytes: 7_536, ..small_windows() };
    let life = Life::start(&disk, identity(1, 1), bounded).await;
    let mut ada = Connection::default();
    disk.archive.set_full(true);
    let large = |id: &str| proposal("general", "ada", id, &"x".repeat(1_000));
    for n in 0..3 {
        assert_eq!(ada.say(&life, large(&format!("id-{n}"))).await, committed(n));
    }
    assert_eq!(ada.append(&life, says("more"), None, 0), Err(AppendOutcome::Busy));
    disk.archive.set_full(false);
    disk.folded().await;
    life.end().await.expect("a good end");
}

#[tokio::test]
async fn with_a_full_archive_pending_blocks_of_repeats_are_bounded() {
    let disk = Disk::default();
    let bounded = NodeSettings { unfolded_bytes: 20 * 512, ..small_windows() };
    let life = Life::start(&disk, identity(1, 1), bounded).await;
    let mut ada = Connection::default();
    assert_eq!(ada.say(&life, says("one")).await, committed(0));
    disk.folded().await;
    // No room for a row; each block without entries counts as 512 bytes.
    disk.archive.set_full(true);
    assert_eq!(ada.say(&life, says("two")).await, committed(1));
    for _ in 0..19 {
        assert_eq!(ada.say(&life, says("one")).await, repeat(0));
    }
    assert_eq!(ada.append(&life, says("one"), None, 0), Err(AppendOutcome::Busy));
    disk.archive.set_full(false);
    disk.folded().await;
    life.end().await.expect("a good end");
}

#[tokio::test]
async fn a_node_stops_with_a_full_archive_and_loses_nothing() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    disk.archive.set_full(true);
    assert_eq!(ada.say(&life, says("one")).await, committed(0));
    life.end().await.expect("a good end");
    assert_eq!(disk.archive.applied(0).expect("applied").position, Position(0));
    disk.archive.set_full(false);
    let life = Life::start(&disk, identity(1, 2), small_windows()).await;
    assert_eq!(life.bodies("general").await, ["one"]);
    assert_eq!(ada.say(&life, says("one")).await, repeat(0));
}

#[tokio::test]
async fn a_node_at_its_bound_stops_with_a_full_archive() {
    let disk = Disk::default();
    let bounded = NodeSettings { unfolded_bytes: 4 * 512, ..small_windows() };
    let life = Life::start(&disk, identity(1, 1), bounded).await;
    let mut ada = Connection::default();
    disk.archive.set_full(true);
    // In one turn, so that more is accepted than the bound allows.
    for n in 0..2_000 {
        ada.append(&life, says(&format!("id-{n}")), None, 0).expect("taken");
    }
    tokio::task::yield_now().await;
    life.end().await.expect("a good end");
    let taken: Vec<_> = (0..2_000).map(|n| (n, committed(n))).collect();
    assert_eq!(ada.outcomes().await, taken);
}

/// A block of imported entries: slots from `first` on, one second apart.
fn history(node: u8, n: u64, first: u64, bodies: &[&str]) -> Vec<u8> {
    let past = |(slot, body): (u64, &&str)| PastEntry {
        proposal: proposal("general", "ada", body, body),
        slot,
        committed_at: 5_000 + 1_000 * slot,
    };
    let history: Vec<PastEntry> = (first..).zip(bodies).map(past).collect();
    let name = BlockName { node: identity(node, 1).node, incarnation: 1, n };
    encode_history(name, &history).to_vec()
}

#[tokio::test]
async fn imported_entries_keep_their_slots_times_and_ids() {
    let disk = Disk::default();
    store(&disk, history(9, 0, 0, &["one", "two"])).await;
    // Sent again with the rest, as an interrupted import does.
    store(&disk, history(8, 0, 1, &["two", "three"])).await;
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let log = life.log_of("general").await;
    let times: Vec<u64> = log.iter().map(|stored| stored.entry.committed_at).collect();
    assert_eq!(times, [5_000, 6_000, 7_000]);
    assert_eq!(life.bodies("general").await, ["one", "two", "three"]);
    let mut ada = Connection::default();
    let again = ada.say(&life, proposal("general", "ada", "two", "two")).await;
    assert_eq!(again, AppendOutcome::Committed { slot: 1, committed_at: 6_000, repeat: true });
    // The journal's clock is behind: time does not go back.
    let next = ada.say(&life, proposal("general", "ada", "four", "four")).await;
    assert_eq!(next, AppendOutcome::Committed { slot: 3, committed_at: 7_000, repeat: false });
}

#[tokio::test]
async fn imported_entries_with_a_gap_stop_the_node() {
    let disk = Disk::default();
    store(&disk, history(9, 0, 0, &["one"])).await;
    store(&disk, history(9, 1, 2, &["three"])).await;
    let life =
        Life::over(disk.journal.clone(), disk.archive.clone(), identity(1, 1), small_windows());
    let ended = life.has_ended().await;
    let Err(NodeError::Block { position: Position(2), problem }) = ended else {
        panic!("{ended:?}");
    };
    assert!(
        problem
            .to_string()
            .contains("slot 2 does not continue room general, which ends before slot 1"),
        "{problem}"
    );
}

/// A journal whose `propose` panics.
struct Panicking {
    journal: MemoryJournal,
}

impl Journal for Panicking {
    delegate_journal!(journal: facts peers counts follow head first trim);

    fn propose(&self, _: Partition, _: Bytes) -> BoxFuture<'static, Proposed> {
        panic!("the test's journal panics")
    }
}

#[tokio::test]
async fn a_sequencer_that_panics_ends_the_node_and_whoever_waits_is_told() {
    let journal = Arc::new(Panicking { journal: MemoryJournal::new("log") });
    let archive = Arc::<MemoryArchive>::default();
    let life = Life::over(journal, archive, identity(1, 1), small_windows());
    life.has_caught_up().await;
    let mut ada = Connection::default();
    ada.append(&life, says("a"), None, 0).expect("taken");
    assert_eq!(ada.outcomes().await, [(0, AppendOutcome::Unknown)]);
    let ended = life.has_ended().await;
    assert!(matches!(ended, Err(NodeError::Thread(_))), "{ended:?}");
}
