//! The journal: after an earlier process, and with followers that are behind.

mod old;

use std::{fs, time::Duration};

use bytes::Bytes;
use old::OldJournal;
use roomlog_core::journal::{Durable, Follow, Journal, JournalError, Position, Proposed};
use roomlog_sqlite::SegmentJournal;
use tempfile::TempDir;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(directory: &TempDir) -> SegmentJournal {
    SegmentJournal::open(directory.path()).expect("a journal")
}

fn block(n: u64) -> Bytes {
    Bytes::from(format!("block {n}"))
}

async fn propose(journal: &SegmentJournal, block: Bytes) -> Position {
    match timeout(LONG, journal.propose(0, block)).await.expect("an answer in time") {
        Proposed::Durable(position) => position,
        other => panic!("{other:?}"),
    }
}

async fn next(follow: &mut Box<dyn Follow>) -> Result<Durable, JournalError> {
    timeout(LONG, follow.next()).await.expect("a block in time")
}

#[tokio::test]
async fn a_reopened_journal_continues() {
    let directory = directory();
    let journal = open(&directory);
    let log = journal.facts().log.clone();
    for n in 1..=3 {
        assert_eq!(propose(&journal, block(n)).await, Position(n));
    }
    let mut follow = journal.follow(0, Position(2).into());
    let third = next(&mut follow).await.expect("a block");
    drop((journal, follow));

    let journal = open(&directory);
    assert_eq!((&journal.facts().log, journal.head(0)), (&log, Ok(Position(3))));
    assert_eq!(propose(&journal, block(4)).await, Position(4));
    let mut follow = journal.follow(0, Position(2).into());
    assert_eq!(next(&mut follow).await, Ok(third.clone()));
    let fourth = next(&mut follow).await.expect("a block");
    assert_eq!(fourth.block, block(4));
    assert!(fourth.time >= third.time, "the journal's time goes back");
}

#[tokio::test]
async fn the_time_of_a_journal_does_not_go_back_when_the_clock_did() {
    let directory = directory();
    let far = 4_000_000_000_000_u64;
    drop(OldJournal::create(&directory.path().join("journal.db"), Some((1, far))));
    for n in 2..5 {
        let journal = open(&directory);
        propose(&journal, block(n)).await;
        let mut follow = journal.follow(0, Position(n - 1).into());
        assert_eq!(next(&mut follow).await.expect("a block").time, far);
    }
}

#[tokio::test]
async fn a_block_of_any_size_comes_back_as_it_was() {
    let directory = directory();
    let sizes = [0, 1, 4_000, 4_095, 4_096, 4_097, 65_536, 600_000, 3_000_000];
    let content = |size: usize| -> Bytes { (0..size).map(|n| (n * 31 % 251) as u8).collect() };
    let journal = open(&directory);
    for size in sizes {
        propose(&journal, content(size)).await;
    }
    drop(journal);
    // From the file: no block is in memory.
    let journal = open(&directory);
    let mut follow = journal.follow(0, Position(0).into());
    for size in sizes {
        let durable = next(&mut follow).await.expect("a block");
        assert!(durable.block == content(size), "a block of {size} bytes");
    }
}

#[tokio::test]
async fn a_follower_far_behind_reads_the_file_and_goes_live_without_a_gap() {
    const BEFORE: u64 = 500;
    const MEANWHILE: u64 = 1_500;
    let directory = directory();
    let journal = open(&directory);
    for n in 1..=BEFORE {
        propose(&journal, block(n)).await;
    }
    let follow_from = async |after: u64| {
        let mut follow = journal.follow(0, Position(after).into());
        for n in after + 1..=BEFORE + MEANWHILE {
            let durable = next(&mut follow).await.expect("a block");
            assert_eq!((durable.position, durable.block), (Position(n), block(n)));
            if n % 50 == 0 {
                // Falls behind now and then.
                tokio::task::yield_now().await;
            }
        }
    };
    let write = async {
        for n in BEFORE + 1..=BEFORE + MEANWHILE {
            propose(&journal, block(n)).await;
        }
    };
    tokio::join!(write, follow_from(0), follow_from(3), follow_from(450), follow_from(BEFORE));
}

#[tokio::test]
async fn a_follower_is_notified_when_the_journal_is_dropped() {
    let directory = directory();
    let journal = open(&directory);
    propose(&journal, block(1)).await;
    let mut follow = journal.follow(0, Position(0).into());
    assert_eq!(next(&mut follow).await.expect("a block").block, block(1));
    drop(journal);
    let JournalError(message) = next(&mut follow).await.expect_err("no writer");
    assert!(message.contains("the writer has ended"), "{message}");
}

#[tokio::test]
async fn a_follower_across_many_segments_gets_every_block() {
    let directory = directory();
    let open = || SegmentJournal::open_keeping(directory.path(), 0).expect("a journal");
    let journal = open();
    // From records that share a segment to those that are longer than one.
    let content = |n: u64| Bytes::from(vec![n as u8; [10, 700, 9_000][n as usize % 3]]);
    for n in 1..=60 {
        assert_eq!(propose(&journal, content(n)).await, Position(n));
    }
    drop(journal);
    let segments = fs::read_dir(directory.path()).expect("a directory").count();
    assert!(segments > 20, "{segments} files");
    let journal = open();
    for after in [0, 1, 2, 30, 59] {
        let mut follow = journal.follow(0, Position(after).into());
        for n in after + 1..=60 {
            let durable = next(&mut follow).await.expect("a block");
            assert_eq!((durable.position, durable.block), (Position(n), content(n)));
        }
    }
}
