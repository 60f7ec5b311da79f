//! A node on a directory, for tests: it appends, folds, and ends.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use roomlog_core::{NodeError, NodeSettings, outcome::AppendOutcome, proposal::Stored};
use roomlog_protocol::{Latest, Span};
use roomlog_sqlite::{Directory, JOURNAL_BYTES, OpenError};
pub(crate) use roomlog_testkit::life::LONG;
use roomlog_testkit::{
    fixtures::proposal,
    life::{Connection, Life, folded},
};
use tempfile::TempDir;
use tokio::time::timeout;

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub(crate) fn open(path: &TempDir) -> Directory {
    Directory::open(path.path()).expect("a directory")
}

pub(crate) fn refused(path: &TempDir) -> OpenError {
    match Directory::open(path.path()) {
        Err(error) => error,
        Ok(_) => panic!("it was opened"),
    }
}

/// Removes the files whose names begin so: a database with its WAL, or the segments of a journal.
pub(crate) fn remove(path: &TempDir, file: &str) {
    let names = files(path.path()).into_keys().filter(|name| name.starts_with(file));
    names.for_each(|name| fs::remove_file(path.path().join(name)).expect("removed"));
}

/// What the names of the journal's segments begin with.
pub(crate) const JOURNAL: &str = "journal-";

/// The path of a segment.
pub(crate) fn segment(path: &TempDir, number: u64) -> PathBuf {
    path.path().join(format!("{JOURNAL}{number:08}"))
}

/// Changes one bit of a file.
pub(crate) fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[byte] ^= 4;
    fs::write(path, bytes).expect("written");
}

/// Every file of a directory with its bytes, except the lock. One that a journal renames meanwhile may be
/// missing.
pub(crate) fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).expect("a directory").filter_map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        Some((name, fs::read(path).ok()?))
    });
    entries.filter(|(name, _)| name != "lock").collect()
}

/// A directory with these files.
pub(crate) fn with_files(files: &BTreeMap<String, Vec<u8>>) -> TempDir {
    let path = directory();
    for (name, bytes) in files {
        fs::write(path.path().join(name), bytes).expect("a file");
    }
    path
}

/// A node that serves a directory.
pub(crate) struct Served {
    pub(crate) directory: Directory,
    pub(crate) node: Life,
}

impl Served {
    pub(crate) fn on(directory: Directory) -> Result<Self, NodeError> {
        let settings =
            NodeSettings { fold_wait: Duration::from_millis(1), ..NodeSettings::default() };
        let Directory { identity, journal, archive, .. } = &directory;
        let node = Life::try_over(journal.clone(), archive.clone(), *identity, settings)?;
        Ok(Self { directory, node })
    }

    /// Whether it has caught up.
    pub(crate) async fn is_up(&self) -> bool {
        timeout(LONG, self.node.caught_up()).await.expect("in time")
    }

    /// Appends all these in `general` at once, and waits until they are committed.
    pub(crate) async fn append(&self, bodies: &[&str]) {
        self.append_in("general", bodies).await;
    }

    /// As [`Self::append`], in a room.
    pub(crate) async fn append_in(&self, room: &str, bodies: &[&str]) {
        let mut ada = Connection::default();
        for body in bodies {
            ada.append(&self.node, proposal(room, "ada", body, body), None, 0).expect("taken");
        }
        for (_, outcome) in ada.outcomes().await {
            assert!(matches!(outcome, AppendOutcome::Committed { .. }), "{outcome:?}");
        }
    }

    /// The log of `general`.
    pub(crate) async fn log(&self) -> Vec<Stored> {
        self.node.page("general", Span::After(Latest(-1))).await.entries
    }

    /// Waits until everything is folded, or the node has failed.
    pub(crate) async fn folded(&self) {
        let Directory { journal, archive, .. } = &self.directory;
        tokio::select! {
            () = folded(journal.as_ref(), archive.as_ref()) => {}
            () = self.node.ended() => {}
        }
    }

    pub(crate) async fn end(self) -> Result<(), NodeError> {
        self.node.end().await
    }
}

/// Runs a node on a directory until it has appended and folded these; gives the log of `general`.
pub(crate) async fn append(path: &TempDir, bodies: &[&str]) -> Result<Vec<Stored>, NodeError> {
    let served = Served::on(open(path))?;
    let mut log = Vec::new();
    if served.is_up().await {
        served.append(bodies).await;
        log = served.log().await;
        served.folded().await;
    }
    served.end().await.map(|()| log)
}

/// Appends `count` entries, each in its own block and folded before the next; the journal keeps as
/// little as it can.
pub(crate) async fn append_and_trim(path: &TempDir, count: usize) -> Vec<Stored> {
    append_keeping(path, count, 0).await
}

/// As [`append_and_trim`], with a journal that keeps everything.
pub(crate) async fn append_one_by_one(path: &TempDir, count: usize) -> Vec<Stored> {
    append_keeping(path, count, JOURNAL_BYTES).await
}

async fn append_keeping(path: &TempDir, count: usize, keep: u64) -> Vec<Stored> {
    let directory = Directory::open_keeping(path.path(), keep).expect("a directory");
    let served = Served::on(directory).expect("a node");
    assert!(served.is_up().await);
    let before = served.log().await.len();
    for n in before..before + count {
        served.append(&[&format!("body-{n}")]).await;
        served.folded().await;
    }
    let log = served.log().await;
    served.end().await.expect("a good end");
    log
}

pub(crate) fn bodies(log: &[Stored]) -> Vec<&str> {
    log.iter().map(|stored| stored.entry.body()).collect()
}
