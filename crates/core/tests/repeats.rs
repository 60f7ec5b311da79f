//! What repeats of archived entries cost others: each is three reads of the archive on the path of acks.

use roomlog_core::outcome::AppendOutcome;
use roomlog_testkit::{
    fixtures::proposal,
    life::{Connection, Disk, Life, identity, small_windows},
};

/// Submits these entries of `mallory` together, and returns how many blocks they took.
async fn blocks_of(life: &Life, mallory: &mut Connection, ids: std::ops::Range<usize>) -> u64 {
    let (before, mut left) = (life.stats().blocks, ids.len());
    for id in ids {
        let again = proposal("general", "mallory", &format!("m-{id}"), "");
        mallory.append(life, again, None, 0).expect("taken");
    }
    while left > 0 {
        let outcomes = mallory.outcomes().await;
        let is_stored = |outcome| matches!(outcome, &AppendOutcome::Committed { .. });
        assert!(outcomes.iter().all(|(_, outcome)| is_stored(outcome)), "{outcomes:?}");
        left -= outcomes.len();
    }
    life.stats().blocks - before
}

#[tokio::test]
async fn repeats_come_a_few_per_block_and_other_appends_of_the_same_author_many_again() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut mallory = Connection::charged_to(life.append_budget().member().member());
    assert_eq!(blocks_of(&life, &mut mallory, 0..400).await, 1);
    disk.folded().await;
    // The first block of repeats shows what they cost.
    assert_eq!(blocks_of(&life, &mut mallory, 0..400).await, 1);
    // 512 KiB are 32 reads of 16 KiB.
    let blocks = blocks_of(&life, &mut mallory, 0..400).await;
    assert!((12..=15).contains(&blocks), "{blocks}");
    // Who repeats nothing pays nothing, as soon as that is known.
    blocks_of(&life, &mut mallory, 400..500).await;
    assert_eq!(blocks_of(&life, &mut mallory, 500..900).await, 1);
    assert_eq!(life.end().await, Ok(()));
}
