//! The start-up table: each refusal names the files, both positions and a remedy, and leaves the
//! directory unchanged, with or without the WALs of a killed process; and the other rows start.

mod node;

use std::{collections::BTreeMap, fs};

use node::{
    JOURNAL, Served, append, append_and_trim, append_one_by_one, bodies, directory, files, open,
    refused, remove, with_files,
};
use roomlog_core::journal::{Journal, Position};
use roomlog_sqlite::{Contents, Directory, OpenError};
use tempfile::TempDir;

type Files = BTreeMap<String, Vec<u8>>;

/// The files of one log: early, and later with a trimmed journal. Each after a stop and after a
/// kill.
struct Log {
    early: Files,
    late: Files,
    /// `late`, killed: the newest blocks are in the WALs.
    killed: Files,
    first: Position,
}

async fn log() -> Log {
    let path = directory();
    append_one_by_one(&path, 5).await;
    let early = files(path.path());
    append_and_trim(&path, 15).await;
    let late = files(path.path());
    let directory = Directory::open_keeping(path.path(), 0).expect("a directory");
    let served = Served::on(directory).expect("a node");
    assert!(served.is_up().await);
    for body in ["last-but-one", "last"] {
        served.append(&[body]).await;
        served.folded().await;
    }
    let killed = files(path.path());
    assert!(!killed["archive.db-wal"].is_empty());
    let first = served.directory.journal.first(0).expect("a first");
    assert!(first > Position(6), "it was trimmed: {first}");
    served.end().await.expect("a good end");
    Log { early, late, killed, first }
}

/// The parts of `of` that are `file` with its WAL, or all segments.
fn part<'a>(of: &'a Files, file: &'a str) -> impl Iterator<Item = (String, Vec<u8>)> + 'a {
    let own =
        move |(name, _): &(&String, &Vec<u8>)| name.starts_with(file) && !name.ends_with("-shm");
    of.iter().filter(own).map(|(name, bytes)| (name.clone(), bytes.clone()))
}

/// Refused with all of these texts, and not a byte of the directory changed.
fn refuses(path: &TempDir, says: &[&str]) -> OpenError {
    let before = files(path.path());
    let error = refused(path);
    let message = error.to_string();
    for part in says {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    let after = files(path.path());
    assert!(before.keys().eq(after.keys()), "{:?} became {:?}", before.keys(), after.keys());
    assert!(before == after, "a file was changed by a start that refused: {message}");
    error
}

#[tokio::test]
async fn an_archive_is_missing_though_the_journal_was_trimmed() {
    let Log { late, killed, first, .. } = log().await;
    let begins = format!("positions {first} to 22");
    for (of, positions) in [(late, "to 20"), (killed, &begins)] {
        let path = with_files(&part(&of, JOURNAL).collect());
        let says = ["holds a journal", positions, "no archive.db", "bring archive.db back"];
        let error = refuses(&path, &says);
        assert!(matches!(error, OpenError::ArchiveMissing { .. }), "{error}");
        // An empty file counts as none.
        fs::write(path.path().join("archive.db"), "").expect("a file");
        assert!(matches!(refuses(&path, &says), OpenError::ArchiveMissing { .. }));
    }
}

#[tokio::test]
async fn an_archive_is_older_than_what_the_journal_begins_with() {
    let Log { early, late, killed, .. } = log().await;
    for of in [late, killed] {
        let path = with_files(&part(&of, JOURNAL).chain(part(&early, "archive.db")).collect());
        let says = [
            "archive.db is at position 5",
            "the journal begins at ",
            "bring the matching archive.db back",
        ];
        let error = refuses(&path, &says);
        assert!(matches!(error, OpenError::ArchiveBehind { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_journal_ends_before_what_the_archive_has() {
    let Log { early, late, killed, .. } = log().await;
    for (of, applied) in [(late, "position 20"), (killed, "position 22")] {
        let path = with_files(&part(&early, JOURNAL).chain(part(&of, "archive.db")).collect());
        let says = [
            "archive.db is at ",
            applied,
            "the journal ends at 5",
            "bring the matching files journal-… back",
        ];
        let error = refuses(&path, &says);
        assert!(matches!(error, OpenError::JournalBehind { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_journal_is_missing_and_there_is_no_manifest() {
    let Log { late, killed, .. } = log().await;
    for (of, applied) in [(late, "at position 20"), (killed, "at position 22")] {
        let path = with_files(&part(&of, "archive.db").collect());
        let says = [applied, "no journal", "no manifest.json", "bring the files journal-… back"];
        let error = refuses(&path, &says);
        assert!(matches!(error, OpenError::JournalMissing { .. }), "{error}");
    }
}

#[tokio::test]
async fn journal_and_archive_are_of_two_logs() {
    let (ours, theirs) = (log().await, log().await);
    for (journal, archive) in [(&ours.late, &theirs.killed), (&ours.killed, &theirs.late)] {
        let path = with_files(&part(journal, JOURNAL).chain(part(archive, "archive.db")).collect());
        let says = [
            "the journal is of log 0",
            "archive.db is of log 0",
            "position 2",
            "bring the matching file back",
        ];
        let error = refuses(&path, &says);
        assert!(matches!(error, OpenError::LogsDiffer { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_wal_without_its_database_file_is_refused() {
    let Log { mut killed, .. } = log().await;
    killed.remove("archive.db").expect("the file");
    let mut of_old = killed.clone();
    of_old.retain(|name, _| !name.starts_with(JOURNAL) && !name.starts_with("archive"));
    of_old.insert("journal.db-wal".into(), vec![1; 100]);
    for (files, file) in [(killed, "archive.db"), (of_old, "journal.db")] {
        let says = [&format!("holds {file}-wal but no {file}"), &format!("bring {file} back")];
        let error = refuses(&with_files(&files), &[says[0], says[1]]);
        assert!(matches!(error, OpenError::WalAlone { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_was_refused_is_served_when_the_file_is_brought_back() {
    let Log { killed, .. } = log().await;
    let path = with_files(&part(&killed, "archive.db").collect());
    refuses(&path, &["bring the files journal-… back"]);
    for (name, bytes) in part(&killed, JOURNAL) {
        fs::write(path.path().join(name), bytes).expect("a file");
    }
    let log = append(&path, &["and-on"]).await.expect("a good end");
    assert_eq!(log.len(), 23);
    assert_eq!(bodies(&log[20..]), ["last-but-one", "last", "and-on"]);
}

#[tokio::test]
async fn an_empty_directory_is_a_new_log_and_a_missing_archive_is_rebuilt() {
    let path = directory();
    assert_eq!(open(&path).found, Contents::Empty);
    assert_eq!(open(&path).found, Contents::Log);
    let log = append(&path, &["one", "two"]).await.expect("a good end");
    let name = open(&path).journal.facts().log.clone();
    remove(&path, "archive.db");
    let directory = open(&path);
    assert_eq!((&directory.found, &directory.journal.facts().log), (&Contents::JournalOnly, &name));
    drop(directory);
    assert_eq!(append(&path, &[]).await.expect("a good end"), log);
}

#[tokio::test]
async fn an_interrupted_backup_is_neither_served_nor_used_for_a_new_log() {
    let Log { late, .. } = log().await;
    let archive = late["archive.db"].clone();
    let manifest = || b"{".to_vec();
    for files in [
        vec![("archive.db.part", archive[..4_096].to_vec())],
        vec![("archive.db.part", archive.clone()), ("manifest.json.part", manifest())],
        vec![("archive.db", archive.clone()), ("manifest.json.part", manifest())],
    ] {
        let path = with_files(&files.into_iter().map(|(name, it)| (name.into(), it)).collect());
        let error = refuses(&path, &[".part", "a backup that was cut off", "take another backup"]);
        assert!(matches!(error, OpenError::CutOff { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_directory_may_have_any_name() {
    let parent = directory();
    let path = parent.path().join("a?mode=ro#b %41 ä");
    for found in [Contents::Empty, Contents::Log] {
        assert_eq!(Directory::open(&path).expect("a directory").found, found);
    }
    for number in 1..=2 {
        fs::remove_file(path.join(format!("{JOURNAL}{number:08}"))).expect("removed");
    }
    assert!(matches!(Directory::open(&path), Err(OpenError::JournalMissing { .. })));
}

#[tokio::test]
async fn a_new_log_that_a_crash_interrupted_is_begun_again() {
    for empty in [&["journal-00000001"][..], &["journal-00000001", "archive.db"], &["journal.db"]] {
        let path = directory();
        for file in empty {
            fs::write(path.path().join(file), "").expect("a file");
        }
        assert_eq!(open(&path).found, Contents::Empty);
        assert_eq!(bodies(&append(&path, &["one"]).await.expect("a good end")), ["one"]);
    }
}
