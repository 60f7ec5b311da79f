//! The data directory: opened by one process, completely or not at all.

mod node;

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use node::{JOURNAL, Served, append, bodies, directory, flip, open, refused, remove, segment};
use roomlog_core::{NodeError, archive::Archive, journal::Position};
use roomlog_sqlite::{Directory, OpenError};
use rusqlite::Connection;

#[test]
fn a_directory_is_opened_by_one_at_a_time() {
    let path = directory();
    let first = open(&path);
    let error = refused(&path);
    assert!(matches!(&error, OpenError::Locked(locked) if locked == path.path()), "{error}");
    drop(first);
    open(&path);
}

#[test]
fn a_missing_directory_is_created() {
    let path = directory();
    let deeper = path.path().join("a/b");
    let opened = Directory::open(&deeper).expect("a directory");
    assert_eq!(opened.identity.incarnation, 1);
    assert!(deeper.join("journal-00000001").exists() && deeper.join("archive.db").exists());
}

#[tokio::test]
async fn a_closed_directory_holds_everything_in_its_files() {
    let path = directory();
    append(&path, &["one", "two"]).await.expect("a good end");
    let left = fs::metadata(path.path().join("archive.db-wal")).map_or(0, |wal| wal.len());
    assert_eq!(left, 0, "the WAL was not copied into its file");
}

#[test]
fn each_start_is_a_new_incarnation_of_the_same_node() {
    let path = directory();
    let first = open(&path).identity;
    for incarnation in 2..5 {
        let again = open(&path).identity;
        assert_eq!((again.node, again.incarnation), (first.node, incarnation));
    }
    // A start that was interrupted while it wrote the file.
    fs::write(path.path().join("node.new"), "node").expect("a file");
    assert_eq!(open(&path).identity.incarnation, 5);
}

#[test]
fn a_damaged_node_file_is_named_and_without_it_the_directory_is_another_node() {
    let path = directory();
    let first = open(&path).identity;
    let file = path.path().join("node");
    let whole = fs::read_to_string(&file).expect("the node file");
    for damaged in ["", "node", &whole.replace("node ", "nose "), &whole.replace("incarnation", "")]
    {
        fs::write(&file, damaged).expect("a file");
        let message = refused(&path).to_string();
        assert!(message.contains("is not a node file; remove it to go on"), "{message}");
        assert_eq!(fs::read_to_string(&file).expect("the node file"), damaged, "it was changed");
    }
    fs::remove_file(&file).expect("removed");
    let other = open(&path).identity;
    assert_ne!(other.node, first.node);
    assert_eq!(other.incarnation, 1);
}

#[tokio::test]
async fn an_archive_without_its_journal_is_refused_unchanged() {
    let path = directory();
    append(&path, &["one"]).await.expect("a good end");
    let journal = fs::read(segment(&path, 1)).expect("the journal");
    remove(&path, JOURNAL);
    let archive = fs::read(path.path().join("archive.db")).expect("the archive");
    let error = refused(&path);
    assert!(matches!(error, OpenError::JournalMissing { applied: Position(1), .. }), "{error}");
    assert!(!segment(&path, 1).exists(), "no new log was begun");
    assert_eq!(fs::read(path.path().join("archive.db")).expect("the archive"), archive);
    // With its journal it opens again.
    fs::write(segment(&path, 1), journal).expect("written");
    assert_eq!(bodies(&append(&path, &["two"]).await.expect("a good end")), ["one", "two"]);
}

#[tokio::test]
async fn a_missing_archive_is_rebuilt_from_the_journal() {
    let path = directory();
    let log = append(&path, &["one", "two", "three"]).await.expect("a good end");
    remove(&path, "archive.db");
    assert_eq!(append(&path, &[]).await.expect("a good end"), log);
    // A repeat is recognised without the archive too.
    remove(&path, "archive.db");
    let again = append(&path, &["two", "four"]).await.expect("a good end");
    assert_eq!(bodies(&again), ["one", "two", "three", "four"]);
    assert_eq!(again[..3], log);
}

#[tokio::test]
async fn files_of_two_logs_are_refused_and_nothing_is_changed() {
    let (path, other) = (directory(), directory());
    let log = append(&path, &["one"]).await.expect("a good end");
    append(&other, &["else"]).await.expect("a good end");
    let file = |path: &Path| path.join("archive.db");
    let mine = fs::read(file(path.path())).expect("the archive");
    remove(&path, "archive.db");
    fs::copy(file(other.path()), file(path.path())).expect("copied");
    let error = refused(&path);
    assert!(matches!(error, OpenError::LogsDiffer { .. }), "{error}");
    let theirs = fs::read(file(other.path())).expect("the archive");
    assert_eq!(fs::read(file(path.path())).expect("the archive"), theirs);

    remove(&path, "archive.db");
    fs::write(file(path.path()), mine).expect("brought back");
    assert_eq!(open(&path).identity.incarnation, 2, "what was refused was not a start");
    assert_eq!(append(&path, &[]).await.expect("a good end"), log);
}

#[tokio::test]
async fn an_archive_ahead_of_its_journal_is_refused_with_both_positions() {
    let path = directory();
    append(&path, &["one"]).await.expect("a good end");
    let journal = fs::read(segment(&path, 1)).expect("the journal");
    for body in ["two", "three"] {
        append(&path, &[body]).await.expect("a good end");
    }
    let applied = open(&path).archive.applied(0).expect("applied").position;
    assert_eq!(applied, Position(3));
    // An older copy of one file.
    remove(&path, JOURNAL);
    fs::write(segment(&path, 1), journal).expect("written");
    let error = refused(&path);
    let behind = matches!(&error, OpenError::JournalBehind { applied: there, head: Position(1), .. }
        if *there == applied);
    assert!(behind, "{error}");
    let message = error.to_string();
    assert!(
        message.contains(&format!("position {applied}")) && message.contains("ends at 1"),
        "{message}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_locks_of_sqlite_keep_other_programs_from_removing_a_wal() {
    let path = directory();
    let _opened = open(&path);
    let locks = fs::read_to_string("/proc/locks").expect("the locks");
    let inode = fs::metadata(path.path().join("archive.db")).expect("a file").ino();
    let is_locked = |lock: &str| lock.contains("POSIX") && lock.contains(&format!(":{inode} "));
    assert!(locks.lines().any(is_locked), "archive.db ({inode}) is not locked: {locks}");
}

#[tokio::test]
async fn a_failed_fold_stops_the_node_and_the_next_start_repeats_it() {
    let path = directory();
    append(&path, &["one"]).await.expect("a good end");
    let archive = path.path().join("archive.db");
    let execute = |sql: &str| {
        Connection::open(&archive).and_then(|file| file.execute_batch(sql)).expect("a change");
    };
    let bodies_said: Vec<String> = (0..20).map(|n| format!("more-{n}")).collect();
    let all: Vec<&str> = bodies_said.iter().map(String::as_str).collect();
    let served = Served::on(open(&path)).expect("a node");
    assert!(served.is_up().await);
    // The fold waits until all are acked, and fails then.
    let file = Connection::open(&archive).expect("the file");
    file.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TRIGGER cut BEFORE INSERT ON state BEGIN SELECT RAISE(ABORT, 'cut'); END",
    )
    .expect("a trigger");
    served.append(&all).await;
    file.execute_batch("COMMIT").expect("a commit");
    drop(file);
    served.folded().await;
    let ended = served.end().await;
    assert!(matches!(ended, Err(NodeError::Archive(_))), "{ended:?}");
    execute("DROP TRIGGER cut");
    let log = append(&path, &["last"]).await.expect("a good end");
    assert_eq!(bodies(&log), [&["one"], &all[..], &["last"]].concat());
}

#[tokio::test]
async fn a_block_changed_on_the_disk_stops_the_node_and_is_not_skipped() {
    let path = directory();
    for body in ["one", "two", "three"] {
        append(&path, &[body]).await.expect("a good end");
    }
    // The archive is rebuilt, so the journal is read from its first block.
    remove(&path, "archive.db");
    // Each record takes a sector here.
    flip(&segment(&path, 1), 1_024 + 512 + 100);
    let message = refused(&path).to_string();
    assert!(message.contains("position 2 is not what was written"), "{message}");
}
