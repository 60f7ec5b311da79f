//! The trim on the disk: what is deleted, what stays, and that the file is bounded.

mod node;

use std::{fs, time::Duration};

use bytes::Bytes;
use node::{Served, append, append_and_trim, bodies, directory, files, open, remove, with_files};
use roomlog_core::{
    archive::Archive,
    journal::{Journal, Position, Proposed},
};
use roomlog_sqlite::{Directory, OpenError, SqliteJournal};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

async fn propose(journal: &SqliteJournal, bytes: usize) -> Position {
    let block = Bytes::from(vec![7; bytes]);
    match timeout(LONG, journal.propose(0, block)).await.expect("an answer in time") {
        Proposed::Durable(position) => position,
        other => panic!("{other:?}"),
    }
}

fn journal(path: &TempDir, keep: u64) -> SqliteJournal {
    SqliteJournal::open_keeping(&path.path().join("journal.db"), keep).expect("a journal")
}

fn first(journal: &SqliteJournal) -> u64 {
    journal.first(0).expect("a first").0
}

/// Proposes blocks; what may be trimmed follows `behind` positions later, as after folds.
async fn write(journal: &SqliteJournal, blocks: usize, bytes: usize, behind: u64) {
    for _ in 0..blocks {
        let position = propose(journal, bytes).await;
        if journal.has_surplus(0) {
            journal.trim(0, Position(position.0.saturating_sub(behind)));
        }
    }
}

#[tokio::test]
async fn the_file_stays_near_its_limit_however_much_is_written() {
    const KEEP: u64 = 256 << 10;
    for bytes in [2_000, 40_000] {
        let path = directory();
        let journal = journal(&path, KEEP);
        let blocks = usize::try_from(8 * KEEP).expect("a number") / bytes;
        write(&journal, blocks, bytes, 3).await;
        assert!(first(&journal) > 1, "blocks of {bytes}: nothing went");
        drop(journal);
        let length = fs::metadata(path.path().join("journal.db")).expect("a file").len();
        // The surplus of an eighth, and what may not be trimmed yet.
        let bound = KEEP + KEEP / 8 + 5 * bytes as u64 + (128 << 10);
        assert!(length < bound, "blocks of {bytes}: {length} bytes, more than {bound}");
    }
}

#[tokio::test]
async fn blocks_within_the_limit_are_kept_although_they_may_be_trimmed() {
    const KEEP: u64 = 1 << 20;
    let path = directory();
    let journal = journal(&path, KEEP);
    // Half of it: a young log can be rebuilt from its journal.
    for _ in 0..100 {
        let position = propose(&journal, 5_000).await;
        assert!(!journal.has_surplus(0));
        journal.trim(0, position);
    }
    assert_eq!(first(&journal), 1);
    write(&journal, 1_000, 5_000, 0).await;
    let kept = (1_100 - first(&journal)) * 5_000;
    assert!(first(&journal) > 1 && kept > KEEP / 2, "{kept} bytes of blocks are kept");
}

#[tokio::test]
async fn nothing_is_trimmed_before_it_is_allowed_or_while_it_is_held() {
    let path = directory();
    let journal = journal(&path, 0);
    for _ in 0..50 {
        propose(&journal, 1_000).await;
    }
    assert!(journal.has_surplus(0));
    assert_eq!(first(&journal), 1);
    let hold = journal.hold_trim();
    journal.trim(0, Position(40));
    for _ in 0..20 {
        propose(&journal, 1_000).await;
    }
    assert!(!journal.has_surplus(0), "nobody has to ask while it is held");
    assert_eq!(first(&journal), 1);
    let another = journal.hold_trim();
    drop(hold);
    propose(&journal, 1_000).await;
    assert_eq!(first(&journal), 1, "the other one holds it still");
    drop(another);
    for _ in 0..20 {
        propose(&journal, 1_000).await;
    }
    assert_eq!(first(&journal), 41);
}

#[tokio::test]
async fn a_commit_trims_a_few_blocks_and_no_more() {
    let path = directory();
    let journal = journal(&path, 0);
    for _ in 0..300 {
        propose(&journal, 100).await;
    }
    journal.trim(0, Position(300));
    let mut before = first(&journal);
    while before < 301 {
        propose(&journal, 100).await;
        let now = first(&journal);
        assert!(now > before && now - before <= 32, "{} went with one commit", now - before);
        before = now;
    }
    // Large ones are trimmed one by one.
    for _ in 0..3 {
        propose(&journal, 300_000).await;
    }
    let head = propose(&journal, 300_000).await;
    journal.trim(0, head);
    let before = first(&journal);
    propose(&journal, 100).await;
    let after_small = first(&journal);
    propose(&journal, 100).await;
    assert!(after_small > before && first(&journal) == after_small + 1);
}

#[tokio::test]
async fn a_node_trims_what_its_archive_has_and_knows_every_entry_and_id_as_before() {
    let path = directory();
    let log = append_and_trim(&path, 60).await;
    let directory = open(&path);
    let (first, head) = (directory.journal.first(0), directory.journal.head(0));
    assert!(first.expect("a first") > Position(40) && head == Ok(Position(60)));
    drop(directory);
    // The id of an entry whose block was trimmed long ago.
    let again = append(&path, &["body-0", "new"]).await.expect("a good end");
    assert_eq!(again[..60], log);
    assert_eq!(bodies(&again[60..]), ["new"]);
}

#[tokio::test]
async fn a_kill_between_any_two_commits_of_a_trim_leaves_a_directory_that_starts() {
    let path = directory();
    append_and_trim(&path, 10).await;
    let served = Served::on(Directory::open_keeping(path.path(), 0).expect("a directory"));
    let served = served.expect("a node");
    assert!(served.is_up().await);
    let mut killed = Vec::new();
    for n in 10..25 {
        served.append(&[&format!("body-{n}")]).await;
        killed.push((n + 1, files(path.path())));
        served.folded().await;
        killed.push((n + 1, files(path.path())));
    }
    let log = served.log().await;
    served.end().await.expect("a good end");
    for (entries, files) in killed {
        let path = with_files(&files);
        assert_eq!(append(&path, &[]).await.expect("a good end"), log[..entries]);
    }
}

#[tokio::test]
async fn the_archive_has_trimmed_blocks_on_stable_storage() {
    let path = directory();
    let served = Served::on(Directory::open_keeping(path.path(), 0).expect("a directory"));
    let served = served.expect("a node");
    assert!(served.is_up().await);
    for n in 0..30 {
        served.append(&[&format!("body-{n}")]).await;
        served.folded().await;
        let first = served.directory.journal.first(0).expect("a first");
        let durable: Option<i64> = Connection::open(path.path().join("archive.db"))
            .and_then(|file| {
                file.query_row("SELECT max(position) FROM durable", [], |row| row.get(0))
            })
            .expect("the mark");
        let durable = durable.unwrap_or(0).unsigned_abs();
        assert!(first.0 <= durable + 1, "the journal begins at {first}, durable is {durable}");
    }
    assert!(served.directory.archive.applied(0).is_ok());
    served.end().await.expect("a good end");
}

#[tokio::test]
async fn a_journal_that_lost_its_oldest_rows_is_not_taken_for_a_trimmed_one() {
    let path = directory();
    append(&path, &["one"]).await.expect("a good end");
    append(&path, &["two"]).await.expect("a good end");
    let file = Connection::open(path.path().join("journal.db")).expect("the file");
    file.execute_batch("DELETE FROM blocks WHERE position = 1").expect("a change");
    drop(file);
    remove(&path, "archive.db");
    match Directory::open(path.path()) {
        Err(OpenError::Journal(error)) => {
            let message = error.to_string();
            assert!(
                message.contains("begins at position 2") && message.contains("and not at 1"),
                "{message}"
            );
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}
