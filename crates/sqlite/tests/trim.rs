//! The trim on the disk: what is deleted, what stays, and that the file is bounded.

mod node;

use std::{fs, time::Duration};

use bytes::Bytes;
use node::{
    JOURNAL, Served, append, append_and_trim, bodies, directory, files, open, remove, segment,
    with_files,
};
use roomlog_core::{
    archive::Archive,
    journal::{Journal, Position, Proposed},
};
use roomlog_sqlite::{Directory, OpenError, SegmentJournal};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

async fn propose(journal: &SegmentJournal, bytes: usize) -> Position {
    let block = Bytes::from(vec![7; bytes]);
    match timeout(LONG, journal.propose(0, block)).await.expect("an answer in time") {
        Proposed::Durable(position) => position,
        other => panic!("{other:?}"),
    }
}

fn journal(path: &TempDir, keep: u64) -> SegmentJournal {
    SegmentJournal::open_keeping(path.path(), keep).expect("a journal")
}

fn first(journal: &SegmentJournal) -> u64 {
    journal.first(0).expect("a first").0
}

/// Proposes blocks; what may be trimmed follows `behind` positions later, as after folds.
async fn write(journal: &SegmentJournal, blocks: usize, bytes: usize, behind: u64) {
    for _ in 0..blocks {
        let position = propose(journal, bytes).await;
        if journal.has_surplus(0) {
            journal.trim(0, Position(position.0.saturating_sub(behind)));
        }
    }
}

/// Waits until the thread that trims has brought the first position there.
async fn trimmed_to(journal: &SegmentJournal, position: u64) {
    let there = async {
        while first(journal) != position {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, there).await.expect("in time");
}

/// The bytes of all files of a directory.
fn bytes(path: &TempDir) -> u64 {
    files(path.path()).values().map(|bytes| bytes.len() as u64).sum()
}

#[tokio::test]
async fn the_files_stay_near_their_limit_however_much_is_written() {
    const KEEP: u64 = 256 << 10;
    for size in [2_000, 40_000] {
        let path = directory();
        let journal = journal(&path, KEEP);
        let blocks = usize::try_from(8 * KEEP).expect("a number") / size;
        write(&journal, blocks, size, 3).await;
        assert!(first(&journal) > 1, "blocks of {size}: nothing went");
        drop(journal);
        // The surplus of an eighth, what may not be trimmed yet, and the segments that are blank.
        let bound = KEEP + KEEP / 8 + 5 * size as u64 + 4 * (16 << 10).max(2 * size as u64);
        assert!(
            bytes(&path) < bound,
            "blocks of {size}: {} bytes, more than {bound}",
            bytes(&path)
        );
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
    drop(journal);
    let journal = self::journal(&path, KEEP);
    let kept = (1_100 - first(&journal)) * 5_000;
    assert!(first(&journal) > 1 && kept > KEEP / 2, "{kept} bytes of blocks are kept");
}

#[tokio::test]
async fn nothing_is_trimmed_before_it_is_allowed_or_while_it_is_held() {
    let path = directory();
    let journal = journal(&path, 0);
    // A segment of 4 KiB holds two of these.
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
    journal.trim(0, Position(40));
    propose(&journal, 1_000).await;
    assert_eq!(first(&journal), 1, "the other one holds it still");
    drop(another);
    journal.trim(0, Position(40));
    trimmed_to(&journal, 41).await;
    journal.trim(0, Position(42));
    trimmed_to(&journal, 43).await;
    assert_eq!(propose(&journal, 1_000).await, Position(72));
}

#[tokio::test]
async fn the_newest_segment_is_never_trimmed() {
    let path = directory();
    let journal = journal(&path, 0);
    let mut head = Position(0);
    for _ in 0..20 {
        head = propose(&journal, 1_000).await;
        journal.trim(0, head);
    }
    trimmed_to(&journal, 19).await;
    drop(journal);
    let journal = self::journal(&path, 0);
    assert_eq!((first(&journal), journal.head(0)), (19, Ok(head)));
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
async fn a_journal_that_lost_its_oldest_segment_is_not_taken_for_one_that_has_all() {
    let path = directory();
    append_and_trim(&path, 1).await;
    let directory = Directory::open_keeping(path.path(), 0).expect("a directory");
    let hold = directory.journal.hold_trim();
    for _ in 0..20 {
        propose(&directory.journal, 1_000).await;
    }
    drop((hold, directory));
    remove(&path, "archive.db");
    fs::remove_file(segment(&path, 1)).expect("removed");
    match Directory::open(path.path()) {
        Err(OpenError::ArchiveMissing { first, .. }) => assert!(first > Position(1), "{first}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
    assert!(!files(path.path()).keys().any(|name| name.starts_with("archive")));
    remove(&path, JOURNAL);
}
