//! The journal's file: after an earlier process, after damage, and with followers that are behind.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use roomlog_core::journal::{Durable, Follow, Journal, JournalError, Position, Proposed};
use roomlog_sqlite::SqliteJournal;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(directory: &TempDir) -> SqliteJournal {
    SqliteJournal::open(&path(directory)).expect("a journal")
}

fn path(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("journal.db")
}

fn execute(path: &Path, sql: &str) {
    Connection::open(path).and_then(|file| file.execute_batch(sql)).expect("a change of the file");
}

fn block(n: u64) -> Bytes {
    Bytes::from(format!("block {n}"))
}

async fn propose(journal: &SqliteJournal, block: Bytes) -> Position {
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
    propose(&open(&directory), block(1)).await;
    let far = 4_000_000_000_000_u64;
    let mut sum = crc32fast::Hasher::new();
    sum.update(b"block");
    sum.update(&1_u64.to_be_bytes());
    sum.update(&far.to_be_bytes());
    sum.update(&block(1));
    let sum = sum.finalize();
    execute(&path(&directory), &format!("UPDATE blocks SET time = {far}, sum = {sum}"));
    let journal = open(&directory);
    propose(&journal, block(2)).await;
    let mut follow = journal.follow(0, Position(1).into());
    assert_eq!(next(&mut follow).await.expect("a block").time, far);
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
async fn a_missing_row_is_named_and_nothing_after_it_is_given() {
    let directory = directory();
    let journal = open(&directory);
    for n in 1..=5 {
        propose(&journal, block(n)).await;
    }
    drop(journal);
    execute(&path(&directory), "DELETE FROM blocks WHERE position = 3");
    let journal = open(&directory);
    let mut follow = journal.follow(0, Position(0).into());
    assert_eq!(next(&mut follow).await.expect("a block").block, block(1));
    assert_eq!(next(&mut follow).await.expect("a block").block, block(2));
    let JournalError(message) = next(&mut follow).await.expect_err("a gap");
    assert!(message.contains("position 3 is missing"), "{message}");
    let mut behind = journal.follow(0, Position(3).into());
    assert_eq!(next(&mut behind).await.expect("a block").block, block(4));
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
async fn a_journal_of_an_unknown_format_is_refused() {
    let directory = directory();
    drop(open(&directory));
    execute(&path(&directory), "UPDATE log SET format = 4");
    let Err(JournalError(message)) = SqliteJournal::open(&path(&directory)) else {
        panic!("it was opened");
    };
    assert!(message.contains("format 4 is not known to this version"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = directory();
    std::fs::write(path(&directory), "a text, and longer than the header of a database".repeat(9))
        .expect("a file");
    let Err(JournalError(message)) = SqliteJournal::open(&path(&directory)) else {
        panic!("it was opened");
    };
    assert!(message.contains("cannot be opened"), "{message}");
}

/// Makes a journal of five blocks, changes its file, and gives the error: when it is opened, or
/// when it is followed from its beginning.
async fn changed(sql: &str) -> String {
    let directory = directory();
    let journal = open(&directory);
    for n in 1..=5 {
        propose(&journal, block(n)).await;
    }
    drop(journal);
    execute(&path(&directory), sql);
    let journal = match SqliteJournal::open(&path(&directory)) {
        Ok(journal) => journal,
        Err(JournalError(message)) => return message,
    };
    let mut follow = journal.follow(0, Position(0).into());
    for n in 1..=5 {
        match next(&mut follow).await {
            Ok(durable) => assert_eq!((durable.position, durable.block), (Position(n), block(n))),
            Err(JournalError(message)) => return message,
        }
    }
    panic!("{sql}: all of it was given");
}

#[tokio::test]
async fn whatever_was_changed_in_a_row_is_named_by_its_position() {
    for (sql, position) in [
        ("UPDATE blocks SET time = time + 1 WHERE position = 2", 2),
        ("UPDATE blocks SET time = time + 1 WHERE position = 5", 5),
        ("UPDATE blocks SET sum = sum + 1 WHERE position = 3", 3),
        ("UPDATE blocks SET block = x'00' WHERE position = 4", 4),
        ("UPDATE blocks SET position = 9 WHERE position = 5", 9),
    ] {
        let message = changed(sql).await;
        let names = format!("position {position} of the journal is not what was written");
        assert!(
            message.contains(&names) && message.contains("restore a backup"),
            "{sql}: {message}"
        );
    }
}

#[tokio::test]
async fn missing_last_rows_are_reported_with_both_positions() {
    for (sql, head) in [
        ("DELETE FROM blocks WHERE position = 5", 4),
        ("DELETE FROM blocks WHERE position > 1", 1),
        ("DELETE FROM blocks", 0),
    ] {
        let message = changed(sql).await;
        let both = format!("ends at position {head} and had reached position 5");
        assert!(
            message.contains(&both) && message.contains("restore a backup"),
            "{sql}: {message}"
        );
    }
}

#[tokio::test]
async fn changed_metadata_is_detected() {
    for sql in [
        "UPDATE log SET id = '01M81WSNW9CE6W6228NGE1B62F'",
        "UPDATE reached SET position = 3",
        "DELETE FROM reached",
        "DELETE FROM log",
        "DROP TABLE blocks",
        "ALTER TABLE blocks RENAME TO block",
        "DROP TABLE blocks; DROP TABLE reached; DROP TABLE log",
    ] {
        let message = changed(sql).await;
        assert!(message.starts_with("journal.db: "), "{sql}: {message}");
    }
}

#[tokio::test]
async fn a_journal_of_the_previous_format_is_refused_unchanged() {
    let directory = directory();
    execute(
        &path(&directory),
        "CREATE TABLE log (id TEXT NOT NULL, format INTEGER NOT NULL) STRICT;
         INSERT INTO log VALUES ('01M81WSNW9CE6W6228NGE1B62F', 1);
         CREATE TABLE blocks (position INTEGER PRIMARY KEY, time INTEGER, block BLOB) STRICT;",
    );
    let Err(JournalError(message)) = SqliteJournal::open(&path(&directory)) else {
        panic!("it was opened");
    };
    assert!(message.contains("format 1 is not known to this version, which writes 3"), "{message}");
}
