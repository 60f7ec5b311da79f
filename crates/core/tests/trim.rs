//! A node whose journal keeps as little as it can: what goes, and that nothing of it is missed.

use std::time::Duration;

use roomlog_core::{
    NodeSettings,
    journal::{Journal, Position},
};
use roomlog_testkit::fixtures::proposal;
use roomlog_testkit::life::{
    Connection, Disk, LONG, Life, committed, identity, repeat, small_windows,
};
use tokio::time::timeout;

#[tokio::test]
async fn the_journal_lets_go_of_nothing_that_is_not_on_the_archives_stable_storage() {
    let disk = Disk::default();
    disk.journal.set_keeps_little(true);
    disk.archive.keep_from_disk(3);
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for slot in 0..40 {
        let body = format!("body-{slot}");
        let outcome = ada.say(&life, proposal("general", "ada", &body, &body)).await;
        assert_eq!(outcome, committed(slot));
        disk.folded().await;
    }
    // The last fold may still be telling the journal; that it went too far would never change again.
    life.end().await.expect("a good end");
    let (first, head) = (disk.journal.first(0).expect("a first"), Position(40));
    assert_eq!(disk.journal.head(0), Ok(head));
    assert_eq!(first, Position(head.0 - 3 + 1));
}

#[tokio::test]
async fn a_node_goes_on_over_starts_with_nothing_but_its_archive() {
    let disk = Disk::default();
    disk.journal.set_keeps_little(true);
    let mut slot = 0;
    for incarnation in 1..=4 {
        let life = Life::start(&disk, identity(1, incarnation), small_windows()).await;
        let mut ada = Connection::default();
        for _ in 0..5 {
            let body = format!("body-{slot}");
            let outcome = ada.say(&life, proposal("general", "ada", &body, &body)).await;
            assert_eq!(outcome, committed(slot));
            slot += 1;
        }
        let outcome = ada.say(&life, proposal("general", "ada", "body-0", "body-0")).await;
        assert_eq!(outcome, repeat(0), "an id of a block that is gone");
        disk.folded().await;
        assert_eq!(life.log_of("general").await.len() as u64, slot);
        life.end().await.expect("a good end");
    }
    assert!(disk.journal.first(0).expect("a first") > Position(15));
}

#[tokio::test]
async fn a_fold_that_is_asked_for_waits_for_nobody() {
    let disk = Disk::default();
    let settings = NodeSettings {
        fold_entries: 1_000_000,
        fold_wait: Duration::from_secs(3_600),
        ..NodeSettings::default()
    };
    let life = Life::start(&disk, identity(1, 1), settings).await;
    let mut ada = Connection::default();
    for slot in 0..3 {
        let body = format!("body-{slot}");
        ada.say(&life, proposal("general", "ada", &body, &body)).await;
    }
    let upto = timeout(LONG, life.fold_to_head()).await.expect("in time");
    assert_eq!(upto, Ok(Position(3)));
    // Asked again, there is nothing left to do.
    let upto = timeout(LONG, life.fold_to_head()).await.expect("in time");
    assert_eq!(upto, Ok(Position(3)));
    life.end().await.expect("a good end");
}
