//! A backup of a directory that is served, and how it starts: alone, beside the journal of its log,
//! and beside another journal.

mod node;

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use node::{
    JOURNAL, LONG, Served, append, append_and_trim, bodies, directory, files, open, refused,
    with_files,
};
use roomlog_core::{
    archive::Archive,
    backup::{ArchiveCopy, Backup, BackupError, Progress},
    journal::{Journal, Position},
};
use roomlog_protocol::{Digest, MANIFEST_FILE, Manifest};
use roomlog_sqlite::{Contents, Directory, OpenError};
use roomlog_testkit::fixtures::{Speaker, window};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

type Files = BTreeMap<String, Vec<u8>>;

/// Takes a backup as the gateway does.
async fn backup(served: &Served) -> (Manifest, Files) {
    backup_while(served, |_| true).await
}

/// As [`backup`]; `go_on` is called after each step.
async fn backup_while(
    served: &Served,
    mut go_on: impl FnMut(Progress) -> bool + Send + 'static,
) -> (Manifest, Files) {
    let engine = served.directory.backup();
    let _hold = engine.hold();
    served.node.fold_to_head().await.expect("folded");
    let copy = tokio::task::spawn_blocking(move || engine.copy(&mut go_on));
    files_of(copy.await.expect("no panic").expect("a copy"))
}

fn files_of(copy: ArchiveCopy) -> (Manifest, Files) {
    let (mut bytes, mut archive) = (Vec::new(), copy.archive);
    archive.read_to_end(&mut bytes).expect("the bytes");
    assert_eq!(bytes.len() as u64, copy.manifest.archive_bytes);
    let sha256 = Some(Digest(Sha256::digest(&bytes).into()));
    let manifest = Manifest { sha256, ..copy.manifest };
    let mut files = Files::new();
    files.insert("archive.db".into(), bytes);
    files.insert(MANIFEST_FILE.into(), manifest.to_json().into_bytes());
    (manifest, files)
}

async fn served(path: &TempDir, keep: u64) -> Served {
    let directory = Directory::open_keeping(path.path(), keep).expect("a directory");
    let served = Served::on(directory).expect("a node");
    assert!(served.is_up().await);
    served
}

fn put(files: &Files, path: &Path) {
    for (name, bytes) in files {
        fs::write(path.join(name), bytes).expect("a file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_busy_node_is_of_one_moment_and_complete_up_to_it() {
    const BEFORE: usize = 12_000;
    let path = directory();
    let served = served(&path, 0).await;
    let before: Vec<String> = (0..BEFORE).map(|n| format!("before-{n}")).collect();
    served.append(&before.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (appended, stop) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    let write = async {
        while !stop.load(Ordering::Relaxed) {
            served.append(&[&format!("while-{}", appended.load(Ordering::Relaxed))]).await;
            appended.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (heard, begun) = (appended.clone(), Instant::now());
    let (mut last, mut steps) = (0, 0);
    let copy = backup_while(&served, move |Progress { done, of }| {
        assert!(done >= last && done <= of, "{done} of {of} after {last}");
        (last, steps) = (done, steps + 1);
        // Ten more are committed during each step.
        let upto = heard.load(Ordering::Relaxed) + 10;
        while heard.load(Ordering::Relaxed) < upto && begun.elapsed() < LONG {
            std::thread::yield_now();
        }
        steps <= 1_000
    });
    let copy = async {
        let copied = copy.await;
        stop.store(true, Ordering::Relaxed);
        copied
    };
    let ((), (manifest, backup)) = tokio::join!(write, copy);
    let appended_meanwhile = appended.load(Ordering::Relaxed);
    assert!(appended_meanwhile >= 10, "appends went on meanwhile: {appended_meanwhile}");
    let log = served.log().await;
    assert_eq!(log.len(), BEFORE + appended_meanwhile);
    assert!(!path.path().join("backup.tmp").exists(), "the copy has no name any more");
    served.end().await.expect("a good end");

    let restored = with_files(&backup);
    let there = append(&restored, &["and-on"]).await.expect("a good end");
    assert!(there.len() > BEFORE);
    assert_eq!(there.len() as u64 - 1, manifest.entries);
    assert_eq!(there[..there.len() - 1], log[..there.len() - 1]);
    let opened = open(&restored);
    assert_ne!(opened.journal.facts().log, manifest.log);
    assert_eq!(opened.journal.head(0), Ok(Position(manifest.position + 1)), "positions go on");
}

#[tokio::test]
async fn a_cancelled_copy_leaves_nothing() {
    let path = directory();
    let served = served(&path, 0).await;
    served.append(&["one"]).await;
    served.node.fold_to_head().await.expect("folded");
    let ended = served.directory.backup().copy(&mut |_| false).map(|copy| copy.manifest);
    assert_eq!(ended, Err(BackupError::Ended));
    assert!(!path.path().join("backup.tmp").exists());
    served.end().await.expect("a good end");
}

#[tokio::test]
async fn a_copy_that_a_crash_left_is_removed_by_the_next_start() {
    let path = directory();
    append(&path, &["one"]).await.expect("a good end");
    for file in ["backup.tmp", "backup.tmp-journal"] {
        fs::write(path.path().join(file), "half a copy").expect("a file");
    }
    drop(open(&path));
    assert!(!path.path().join("backup.tmp").exists());
    assert!(!path.path().join("backup.tmp-journal").exists());
}

/// A directory with a trimmed journal, killed and stopped, and a backup from in between.
async fn with_its_journal() -> (Manifest, Files, Files, Files) {
    let path = directory();
    append_and_trim(&path, 20).await;
    let older = files(path.path());
    let served = served(&path, 0).await;
    served.append(&["middle"]).await;
    let (manifest, backup) = backup(&served).await;
    // Without folds nothing is trimmed, as under the hold of a running backup.
    let _hold = served.directory.journal.hold_trim();
    served.append(&["after-1"]).await;
    served.append(&["after-2"]).await;
    for n in 0..20 {
        served.append(&[&format!("more-{n}")]).await;
    }
    let whole = files(path.path());
    served.end().await.expect("a good end");
    (manifest, backup, older, whole)
}

/// The backup, the journal of these files, and their `node`.
fn beside(backup: &Files, of: &Files) -> TempDir {
    let path = with_files(backup);
    let own = |(name, _): &(&String, &Vec<u8>)| name.starts_with(JOURNAL) || *name == "node";
    put(&of.iter().filter(own).map(|(n, b)| (n.clone(), b.clone())).collect(), path.path());
    path
}

fn not_proven(path: &TempDir, part: &str) {
    let before = files(path.path());
    let error = refused(path);
    let message = error.to_string();
    assert!(matches!(error, OpenError::NotProven { .. }) && message.contains(part), "{message}");
    assert!(
        message.contains("holds a backup, at position ") && message.contains("positions "),
        "{message}"
    );
    assert!(
        message.contains("or move the files journal-…") && message.contains("a new log begins"),
        "{message}"
    );
    assert!(files(path.path()) == before, "the directory was changed: {message}");
}

#[tokio::test]
async fn a_backup_beside_its_servers_journal_continues_the_log_without_loss() {
    let (manifest, backup, _, whole) = with_its_journal().await;
    let path = beside(&backup, &whole);
    let directory = open(&path);
    assert_eq!(directory.found, Contents::BackupWithJournal(manifest.clone()));
    assert_eq!(directory.journal.facts().log, manifest.log);
    drop(directory);
    let log = append(&path, &["and-on"]).await.expect("a good end");
    assert_eq!(bodies(&log[20..24]), ["middle", "after-1", "after-2", "more-0"]);
    assert_eq!(bodies(&log[42..]), ["more-19", "and-on"]);
    assert!(path.path().join("restored.json").exists());
}

#[tokio::test]
async fn a_journal_that_is_not_the_rest_of_its_log_is_refused() {
    let (manifest, backup, older, whole) = with_its_journal().await;
    // A copy made before the backup.
    let says =
        format!("archive.db is at position {} and the journal ends at 20", manifest.position);
    not_proven(&beside(&backup, &older), &says);
    // A copy of the journal alone, which cannot show how much came after it.
    let path = beside(&backup, &whole);
    fs::remove_file(path.path().join("node")).expect("removed");
    not_proven(&path, "there is no `node` file beside the journal");
    // The node file of another directory.
    let elsewhere = directory();
    drop(open(&elsewhere));
    let node = fs::read(elsewhere.path().join("node")).expect("the file");
    fs::write(path.path().join("node"), node).expect("a file");
    not_proven(&path, "not that of the process that wrote the journal last");
    // A gap.
    let path = beside(&backup, &whole);
    let numbers: Vec<_> = whole.keys().filter(|name| name.starts_with(JOURNAL)).collect();
    fs::remove_file(path.path().join(numbers[1])).expect("removed");
    let message = refused(&path).to_string();
    assert!(message.contains(&format!("{} is missing", numbers[1])), "{message}");
    // Another log.
    let other = directory();
    append_and_trim(&other, 30).await;
    not_proven(&beside(&backup, &files(other.path())), "the journal is of log");
    // Without the journal it is a restore like any other.
    let path = with_files(&backup);
    assert_eq!(open(&path).found, Contents::Backup(manifest));
}

#[tokio::test]
async fn a_journal_that_begins_after_a_gap_is_refused() {
    let path = directory();
    let served = served(&path, 0).await;
    served.append(&["one"]).await;
    let (manifest, backup) = backup(&served).await;
    assert_eq!(manifest.position, 1);
    for n in 0..20 {
        served.append(&[&format!("more-{n}")]).await;
        served.folded().await;
    }
    assert!(served.directory.archive.applied(0).is_ok());
    let whole = files(path.path());
    served.end().await.expect("a good end");
    not_proven(&beside(&backup, &whole), "archive.db is at position 1 and the journal begins at ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_during_a_fold_can_continue_as_another_log() {
    // The interrupted fold has extended the last run, or written runs of its own too.
    for count in [1, 200] {
        let path = directory();
        let directory = open(&path);
        let (mut general, mut aside) = (Speaker::new("general"), Speaker::new("aside"));
        directory.archive.fold(&window(1, &[general.says(1, &["one", "two"])])).expect("a fold");
        let file = Connection::open(path.path().join("archive.db")).expect("the file");
        file.execute_batch(
            "CREATE TRIGGER cut BEFORE INSERT ON state WHEN NEW.state LIKE '%\"position\":2,%'
             BEGIN SELECT RAISE(ABORT, 'cut'); END",
        )
        .expect("a trigger");
        let more: Vec<String> = (0..count).map(|n| format!("not-yet-{n}")).collect();
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let cut = [general.says(2, &more), aside.says(2, &more)];
        directory.archive.fold(&window(2, &cut)).expect_err("cut off");
        file.execute_batch("DROP TRIGGER cut").expect("no trigger");
        let (manifest, backup) = files_of(directory.backup().copy(&mut |_| true).expect("a copy"));
        assert_eq!((manifest.position, manifest.entries), (1, 2));

        let path = with_files(&backup);
        let restored = Served::on(open(&path)).expect("a node");
        assert!(restored.is_up().await);
        assert_eq!(bodies(&restored.log().await), ["one", "two"]);
        restored.append(&["another"]).await;
        restored.folded().await;
        assert_eq!(bodies(&restored.log().await), ["one", "two", "another"]);
        restored.append_in("aside", &["here-too"]).await;
        restored.folded().await;
        assert_eq!(restored.end().await, Ok(()));
        assert_eq!(
            bodies(&append(&path, &["once-more"]).await.expect("a good end")),
            ["one", "two", "another", "once-more"]
        );
    }
}
