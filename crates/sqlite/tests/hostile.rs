//! Directories and backups that another user or program prepared: links, FIFOs and wide modes where
//! Roomlog has its files, and databases with more than its tables.

mod node;
mod old;

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use node::{JOURNAL, Served, append, bodies, directory, files, open, refused, remove, with_files};
use old::OldJournal;
use roomlog_core::backup::Backup;
use roomlog_protocol::{Digest, MANIFEST_FILE, Manifest};
use roomlog_sqlite::{Derived, Directory, OpenError, claim};
use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a stopped directory with one entry.
async fn stopped() -> Files {
    let path = directory();
    append(&path, &["one"]).await.expect("a good end");
    files(path.path())
}

/// The files of a directory with a journal of format 3.
fn of_format_3() -> Files {
    let path = directory();
    drop(OldJournal::create(&path.path().join("journal.db"), None));
    files(path.path())
}

/// A backup of a directory with one entry.
async fn backup() -> Files {
    let path = directory();
    append(&path, &["one"]).await.expect("a good end");
    let mut copy = open(&path).backup().copy(&mut |_| true).expect("a copy");
    let mut archive = Vec::new();
    std::io::Read::read_to_end(&mut copy.archive, &mut archive).expect("the bytes");
    described(Files::from([("archive.db".into(), archive)]), copy.manifest)
}

/// A backup whose manifest describes its archive, byte by byte, whatever is in that.
fn described(mut backup: Files, manifest: Manifest) -> Files {
    let archive = &backup["archive.db"];
    let sha256 = Some(Digest(Sha256::digest(archive).into()));
    let manifest = Manifest { archive_bytes: archive.len() as u64, sha256, ..manifest };
    backup.insert(MANIFEST_FILE.into(), manifest.to_json().into_bytes());
    backup
}

/// These files after SQL of another program in one of them.
fn with_sql(before: &Files, file: &str, sql: &str) -> Files {
    let path = with_files(before);
    let connection = Connection::open(path.path().join(file)).expect("the file");
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    drop(connection);
    files(path.path())
}

#[track_caller]
fn says(error: &OpenError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// What another program may have done to a table, here `@`, and how it is named.
const MORE: [(&str, &str); 8] = [
    (
        "CREATE TRIGGER t AFTER INSERT ON @ BEGIN DELETE FROM @; END",
        "the trigger \"t\" of \"@\" is in it too",
    ),
    ("CREATE VIEW v AS SELECT randomblob(1000000000)", "the view \"v\" is in it too"),
    ("CREATE INDEX i ON @ (abs(one))", "the index \"i\" of \"@\" is in it too"),
    ("CREATE TABLE more (x)", "the table \"more\" is in it too"),
    ("CREATE VIRTUAL TABLE words USING fts5(x)", "the table \"words\" is in it too"),
    (
        "ALTER TABLE @ ADD COLUMN g INTEGER AS (abs(one)) VIRTUAL",
        "the table \"@\" is made by another statement",
    ),
    (
        "ALTER TABLE @ ADD COLUMN c TEXT CHECK (length(c) > 0)",
        "the table \"@\" is made by another statement",
    ),
    ("DROP TABLE @", "the table \"@\" is missing"),
];

fn more(table: &str) -> impl Iterator<Item = (String, String)> {
    MORE.into_iter().map(move |(sql, what)| (sql.replace('@', table), what.replace('@', table)))
}

#[tokio::test]
async fn a_start_refuses_a_file_with_other_tables_unchanged() {
    let stopped = stopped().await;
    for (of, file, table) in
        [(&stopped, "archive.db", "state"), (&of_format_3(), "journal.db", "trimmed")]
    {
        for (sql, what) in more(table) {
            let path = with_files(&with_sql(of, file, &sql));
            let before = files(path.path());
            says(&refused(&path), &[file, &what, "restore a backup that you trust"]);
            assert!(files(path.path()) == before, "{sql}: the directory was changed");
        }
    }
    let log = append(&with_files(&stopped), &["two"]).await.expect("a good end");
    assert_eq!(bodies(&log), ["one", "two"]);
}

#[tokio::test]
async fn a_trigger_that_is_only_in_the_wal_is_found() {
    for (of, file, table) in
        [(stopped().await, "archive.db", "state"), (of_format_3(), "journal.db", "blocks")]
    {
        let changed = with_files(&of);
        let connection = Connection::open(changed.path().join(file)).expect("the file");
        let trigger = format!("CREATE TRIGGER t BEFORE INSERT ON {table} BEGIN SELECT 1; END");
        connection.execute_batch(&trigger).expect("a trigger");
        let killed = with_files(&files(changed.path()));
        says(&refused(&killed), &[file, &format!("the trigger \"t\" of {table:?} is in it too")]);
    }
}

#[tokio::test]
async fn a_backup_with_other_tables_is_refused_although_its_manifest_matches() {
    let backup = backup().await;
    let manifest = String::from_utf8(backup[MANIFEST_FILE].clone()).expect("text");
    let manifest = Manifest::from_json(&manifest).expect("a manifest");
    for (sql, what) in more("state") {
        let changed = described(with_sql(&backup, "archive.db", &sql), manifest.clone());
        let path = with_files(&changed);
        let to = directory();
        let to = to.path().join("new");
        says(&Directory::restore(path.path(), &to).expect_err("refused"), &["archive.db", &what]);
        assert!(!to.exists() && !to.with_extension("part").exists(), "{sql}");
        // In place, as one node and as a node of a cluster.
        says(&refused(&path), &["archive.db", &what]);
        let derived = Derived::open(path.path(), &manifest.log).map(drop);
        says(&derived.expect_err("refused"), &["archive.db", &what]);
        assert!(files(path.path()) == changed, "{sql}: the backup was changed");
    }
    let to = directory();
    Directory::restore(with_files(&backup).path(), &to.path().join("new")).expect("a restore");
}

#[tokio::test]
async fn a_rollback_journal_is_not_played_back() {
    for (mut before, file) in [(of_format_3(), "journal.db"), (backup().await, "archive.db")] {
        let journal = format!("{file}-journal");
        // SQLite's magic: a journal of one page, which it would copy into the file.
        let magic = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7";
        before.insert(journal.clone(), [&magic[..], &[1; 4096]].concat());
        let path = with_files(&before);
        says(&refused(&path), &[&journal, "is not Roomlog's", "move it away"]);
        assert!(files(path.path()) == before, "{file} was changed");
    }
}

#[tokio::test]
async fn a_wal_beside_a_backup_is_refused_by_a_node_of_a_cluster_too() {
    let mut backup = backup().await;
    let manifest = String::from_utf8_lossy(&backup[MANIFEST_FILE]).into_owned();
    let log = Manifest::from_json(&manifest).expect("a manifest").log;
    backup.insert("archive.db-wal".into(), b"left of another".to_vec());
    let path = with_files(&backup);
    let refused = Derived::open(path.path(), &log).map(drop).expect_err("refused");
    says(&refused, &["move archive.db-wal and archive.db-shm away"]);
}

/// The names at which Roomlog opens a file of a data directory.
const NAMES: [&str; 17] = [
    "journal-00000001",
    "journal-00000002",
    "journal.blank",
    "journal.db",
    "journal.db-wal",
    "journal.db-shm",
    "journal.db-journal",
    "archive.db",
    "archive.db-wal",
    "archive.db-shm",
    "archive.db-journal",
    "journal.new",
    "backup.tmp",
    "lock",
    "node",
    "frozen",
    "manifest.json",
];

/// Puts something that is no file in the place of one; how it is named.
type Plant = fn(&Path, &Path) -> &'static str;

const PLANTS: [Plant; 4] = [
    |place, target| {
        symlink(target, place).expect("a link");
        "is a symbolic link"
    },
    |place, _| {
        symlink("/nowhere/at/all", place).expect("a link");
        "is a symbolic link"
    },
    |place, _| {
        mknodat(CWD, place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        "is a FIFO"
    },
    |place, _| {
        fs::create_dir(place).expect("a directory");
        "is a directory"
    },
];

/// Moves a file away, so that a link to it would work, and plants something in its place.
fn planted(in_directory: &Path, name: &str, plant: Plant) -> (TempDir, &'static str) {
    let away = directory();
    let (place, target) = (in_directory.join(name), away.path().join(name));
    if fs::rename(&place, &target).is_err() && fs::copy(&place, &target).is_err() {
        fs::write(&target, "").expect("a file");
    }
    let _moved = fs::remove_file(&place);
    let kind = plant(&place, &target);
    (away, kind)
}

#[tokio::test]
async fn a_start_follows_no_link_and_waits_for_no_fifo() {
    let stopped = stopped().await;
    for plant in PLANTS {
        for name in NAMES {
            let path = with_files(&stopped);
            let (away, kind) = planted(path.path(), name, plant);
            let before = files(away.path());
            says(&refused(&path), &[name, kind, "move it away"]);
            let cluster = Derived::open(path.path(), "log").map(drop).expect_err("refused");
            says(&cluster, &[name]);
            says(&Directory::lock_stopped(path.path()).expect_err("refused"), &[name, kind]);
            assert!(files(away.path()) == before, "{name}: written to through a link");
        }
    }
}

#[tokio::test]
async fn the_directory_itself_may_be_a_link() {
    let (path, at) = (with_files(&stopped().await), directory());
    symlink(path.path(), at.path().join("data")).expect("a link");
    symlink(at.path(), at.path().join("up")).expect("a link");
    let by_link = Directory::open(&at.path().join("up/data")).expect("a directory");
    let served = Served::on(by_link).expect("a node");
    assert!(served.is_up().await);
    served.append(&["two"]).await;
    served.folded().await;
    assert_eq!(bodies(&served.log().await), ["one", "two"]);
    served.end().await.expect("a good end");
}

#[tokio::test]
async fn a_link_that_appears_later_is_replaced_and_not_written_through() {
    let path = with_files(&stopped().await);
    let victim = directory();
    let victim = victim.path().join("victim");
    fs::write(&victim, "dear ada").expect("a file");
    for name in ["node.new", "frozen.new"] {
        symlink(&victim, path.path().join(name)).expect("a link");
    }
    let served = Served::on(open(&path)).expect("a node");
    assert!(served.is_up().await);
    for name in ["backup.tmp", "backup.tmp-journal", "backup.tmp-wal"] {
        symlink(&victim, path.path().join(name)).expect("a link");
    }
    let copy = served.directory.backup().copy(&mut |_| true).expect("a copy");
    assert_eq!(copy.manifest.entries, 1);
    served.directory.freeze("moved").expect("frozen");
    served.end().await.expect("a good end");
    assert_eq!(fs::read_to_string(&victim).expect("the file"), "dear ada");
    says(&refused(&path), &["is frozen: moved"]);
}

#[tokio::test]
async fn a_restore_reads_and_writes_through_no_link() {
    let backup = backup().await;
    for plant in PLANTS {
        for name in ["archive.db", "archive.db-wal", MANIFEST_FILE] {
            let (path, to) = (with_files(&backup), directory());
            let (_away, kind) = planted(path.path(), name, plant);
            let refused = Directory::restore(path.path(), &to.path().join("new"));
            says(&refused.expect_err("refused"), &[name, kind]);
            says(&Directory::is_backup(path.path()).expect_err("refused"), &[name, kind]);
            assert_eq!(fs::read_dir(to.path()).expect("a directory").count(), 0);
        }
    }
    // Where a restore makes its directory, someone else's log.
    let (path, to, other) = (with_files(&backup), directory(), with_files(&stopped().await));
    let before = files(other.path());
    symlink(other.path(), to.path().join("new.part")).expect("a link");
    let refused = Directory::restore(path.path(), &to.path().join("new")).expect_err("refused");
    says(&refused, &["new.part is not a directory of this user", "move it away"]);
    assert!(files(other.path()) == before, "another log was removed through a link");
}

#[tokio::test]
async fn a_move_and_a_served_backup_use_no_directory_behind_a_link() {
    for (name, is_backup) in [("moving", false), ("restored", true)] {
        let path = with_files(&if is_backup { backup().await } else { stopped().await });
        let other = directory();
        symlink(other.path(), path.path().join(name)).expect("a link");
        let refused = Directory::open_to_move(path.path()).map(drop);
        says(&refused.expect_err("refused"), &[name, "is a symbolic link"]);
        says(&Directory::is_backup(path.path()).expect_err("refused"), &[name]);
    }
    let path = directory();
    symlink("/nowhere/at/all", path.path().join("to")).expect("a link");
    let claimed = claim(path.path(), "to", "there").expect_err("refused");
    assert!(claimed.to_string().contains("is a symbolic link"), "{claimed}");
}

#[tokio::test]
async fn an_endless_manifest_is_not_read_to_its_end() {
    let path = with_files(&backup().await);
    let manifest = fs::File::create(path.path().join(MANIFEST_FILE)).expect("a file");
    manifest.set_len(1 << 40).expect("a length");
    says(&refused(&path), &["manifest.json does not describe this directory"]);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

#[tokio::test]
async fn a_directory_of_an_earlier_version_becomes_private_when_it_is_started() {
    let path = with_files(&stopped().await);
    let names = ["journal-00000001", "archive.db", "node", "restored.json", "lock"];
    for name in names {
        let file = path.path().join(name);
        fs::OpenOptions::new().append(true).create(true).open(&file).expect("a file");
        set_mode(&file, 0o664);
    }
    set_mode(path.path(), 0o775);
    drop(open(&path));
    assert_eq!(mode(path.path()), 0o700);
    assert_eq!(names.map(|name| mode(&path.path().join(name))), [0o600; 5]);
}

#[tokio::test]
async fn a_directory_that_is_shared_keeps_its_mode_and_other_files_keep_theirs() {
    let path = with_files(&stopped().await);
    let letter = path.path().join("letter.txt");
    fs::write(&letter, "dear ada").expect("a file");
    set_mode(&letter, 0o644);
    set_mode(&path.path().join("archive.db"), 0o644);
    set_mode(path.path(), 0o755);
    drop(open(&path));
    assert_eq!([mode(path.path()), mode(&letter)], [0o755, 0o644]);
    assert_eq!(mode(&path.path().join("archive.db")), 0o600);
    // As `/tmp`: nothing else is in it now, and others may put files there.
    fs::remove_file(letter).expect("removed");
    set_mode(path.path(), 0o1777);
    drop(open(&path));
    assert_eq!(mode(path.path()), 0o1777);
}

#[tokio::test]
async fn what_cannot_be_made_private_is_served() {
    let path = with_files(&stopped().await);
    let second = directory();
    let second = second.path().join("second");
    set_mode(&path.path().join("archive.db"), 0o644);
    fs::hard_link(path.path().join("archive.db"), &second).expect("a second name");
    drop(open(&path));
    assert_eq!(mode(&second), 0o644, "the owner of the other name may need it");
}

#[tokio::test]
async fn a_refused_directory_keeps_its_modes() {
    let path = with_files(&stopped().await);
    remove(&path, JOURNAL);
    let archive = path.path().join("archive.db");
    set_mode(&archive, 0o644);
    set_mode(path.path(), 0o755);
    refused(&path);
    assert_eq!([mode(path.path()), mode(&archive)], [0o755, 0o644]);
}
