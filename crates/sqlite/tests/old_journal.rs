//! A directory with a journal of format 3, a SQLite file: its blocks are copied into segments, once.

mod node;
mod old;

use std::{fs, time::Duration};

use node::{directory, files, segment, with_files};
use old::{LOG, OldJournal};
use roomlog_core::journal::{Durable, Journal, JournalError, Position};
use roomlog_sqlite::SegmentJournal;
use tempfile::TempDir;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

fn block(n: u64) -> Vec<u8> {
    format!("block {n} ").repeat(if n.is_multiple_of(50) { 9_000 } else { 9 }).into_bytes()
}

fn time(n: u64) -> u64 {
    1_700_000_000_000 + n
}

/// A journal with blocks after a position, stopped or killed.
fn old(positions: std::ops::RangeInclusive<u64>, killed: bool) -> TempDir {
    let path = directory();
    let trimmed = positions.start() - 1;
    let trimmed = (trimmed > 0).then_some((trimmed, time(trimmed)));
    let journal = OldJournal::create(&path.path().join("journal.db"), trimmed);
    positions.for_each(|n| journal.insert(n, time(n), &block(n)));
    if killed { with_files(&files(path.path())) } else { path }
}

async fn all(journal: &SegmentJournal) -> Vec<Durable> {
    let (Ok(Position(first)), Ok(Position(head))) = (journal.first(0), journal.head(0)) else {
        panic!("no journal");
    };
    let (mut follow, mut all) = (journal.follow(0, Position(first - 1).into()), Vec::new());
    for _ in first..=head {
        all.push(timeout(LONG, follow.next()).await.expect("in time").expect("a block"));
    }
    all
}

fn durable(n: u64) -> Durable {
    Durable { position: Position(n), time: time(n), block: block(n).into() }
}

#[tokio::test]
async fn every_block_is_copied_with_its_position_and_time() {
    for positions in [1..=300, 201..=205, 1..=1] {
        for killed in [false, true] {
            let path = old(positions.clone(), killed);
            // Also what a copy that was cut off has left.
            fs::write(segment(&path, 1), "half").expect("a file");
            fs::write(segment(&path, 2), [0; 9_000]).expect("a file");
            let journal = SegmentJournal::open(path.path()).expect("a journal");
            assert_eq!(journal.facts().log, LOG);
            assert_eq!(all(&journal).await, positions.clone().map(durable).collect::<Vec<_>>());
            drop(journal);
            let names: Vec<_> = files(path.path()).into_keys().collect();
            assert!(names.iter().all(|name| name.starts_with("journal-")), "{names:?}");
            let journal = SegmentJournal::open(path.path()).expect("a journal");
            assert_eq!(all(&journal).await.len() as u64, positions.end() + 1 - positions.start());
        }
    }
}

#[tokio::test]
async fn one_that_has_no_block_keeps_its_position_and_time() {
    let path = directory();
    drop(OldJournal::create(&path.path().join("journal.db"), Some((77, 4_000_000_000_000))));
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    assert_eq!((journal.first(0), journal.head(0)), (Ok(Position(78)), Ok(Position(77))));
    let _durable = journal.propose(0, "more".into()).await;
    assert_eq!(all(&journal).await[0].time, 4_000_000_000_000);
}

/// The message of a start that refuses, and changes nothing.
fn refused(path: &TempDir) -> String {
    let before = files(path.path());
    let Err(JournalError(message)) = SegmentJournal::open(path.path()) else {
        panic!("it was opened");
    };
    let mut after = files(path.path());
    after.retain(|name, _| !name.starts_with("journal-"));
    assert!(after == before, "it was changed: {message}");
    message
}

#[tokio::test]
async fn what_is_not_as_it_was_written_is_refused_and_stays() {
    for (sql, says) in [
        (
            "UPDATE blocks SET time = time + 1 WHERE position = 2",
            "position 2 of the journal is not",
        ),
        ("UPDATE blocks SET sum = sum + 1 WHERE position = 3", "position 3 of the journal is not"),
        ("UPDATE blocks SET block = x'00' WHERE position = 4", "position 4 of the journal is not"),
        ("DELETE FROM blocks WHERE position = 3", "positions 1 to 5 it holds 4"),
        ("DELETE FROM blocks WHERE position = 1", "positions 1 to 5 it holds 4"),
        ("UPDATE reached SET position = 6", "the position that it had reached"),
        ("UPDATE log SET id = '01M81WSNW9CE6W6228NGE1B62F'", "the log's name is not"),
        ("DELETE FROM reached", "cannot be opened"),
        ("DROP TABLE blocks", "its tables are not those"),
        ("UPDATE log SET format = 1", "format 1 is not known to this version, which writes 4"),
    ] {
        let path = directory();
        let journal = OldJournal::create(&path.path().join("journal.db"), None);
        (1..=5).for_each(|n| journal.insert(n, time(n), &block(n)));
        journal.execute(sql);
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        drop(journal);
        let message = refused(&path);
        assert!(message.starts_with("journal.db: ") && message.contains(says), "{sql}: {message}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let path = directory();
    let text = "a text, and longer than the header of a database".repeat(9);
    fs::write(path.path().join("journal.db"), text).expect("a file");
    assert!(refused(&path).contains("cannot be opened"));
}
