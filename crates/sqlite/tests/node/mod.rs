//! A node on a directory, for tests: it appends, folds, and ends.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use roomlog_core::{
    Node, NodeError, NodeSettings,
    archive::Archive,
    journal::Journal,
    mailbox::{Mailbox, Outcome},
    merge::QueueId,
    proposal::Stored,
    reader::PageLimits,
    sequencer::{Submit, Ticket},
    suites::archive::{proposal, room},
};
use roomlog_protocol::Span;
use roomlog_sqlite::{Directory, JOURNAL_BYTES, OpenError};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};

pub(crate) const LONG: Duration = Duration::from_secs(30);

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

pub(crate) fn remove(path: &TempDir, file: &str) {
    for end in ["", "-wal", "-shm"] {
        let _was_not_there = fs::remove_file(path.path().join(format!("{file}{end}")));
    }
}

/// Every file of a directory with its bytes, except the lock.
pub(crate) fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).expect("a directory").map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(path).expect("a file"))
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
    pub(crate) node: Node,
    task: JoinHandle<Result<(), NodeError>>,
    fold: std::thread::JoinHandle<()>,
    mailbox: Arc<Mailbox>,
}

impl Served {
    pub(crate) fn on(directory: Directory) -> Result<Self, NodeError> {
        let settings =
            NodeSettings { fold_wait: Duration::from_millis(1), ..NodeSettings::default() };
        let Directory { identity, journal, archive, .. } = &directory;
        let (node, running) = Node::open(*identity, journal.clone(), archive.clone(), settings)?;
        let (task, folder) = running.one();
        let fold = std::thread::spawn(move || folder.run());
        let task = tokio::spawn(task.run());
        Ok(Self { directory, node, task, fold, mailbox: Arc::default() })
    }

    /// Whether it has caught up.
    pub(crate) async fn is_up(&self) -> bool {
        timeout(LONG, self.node.caught_up()).await.expect("in time")
    }

    /// Appends all these in `general` at once, and waits until they are committed.
    pub(crate) async fn say(&self, bodies: &[&str]) {
        self.say_in("general", bodies).await;
    }

    /// As [`Self::say`], in a room.
    pub(crate) async fn say_in(&self, room: &str, bodies: &[&str]) {
        for (token, body) in (0..).zip(bodies) {
            let mailbox = self.mailbox.clone();
            let ticket = Ticket { mailbox, token, queue: QueueId(1), seq: None };
            let proposal = proposal(room, "ada", body, body);
            self.node.inbox.submit(Submit { proposal, time: 0, ticket }).expect("taken");
        }
        let mut outcomes = Vec::new();
        while outcomes.len() < bodies.len() {
            timeout(LONG, self.mailbox.wait()).await.expect("an outcome in time");
            outcomes.extend(self.mailbox.take().outcomes);
        }
        let committed =
            |(_, outcome): &(u64, Outcome)| matches!(outcome, Outcome::Committed { .. });
        assert!(outcomes.iter().all(committed), "{outcomes:?}");
    }

    /// The log of `general`.
    pub(crate) async fn log(&self) -> Vec<Stored> {
        let limits = PageLimits { entries: 100_000, bytes: usize::MAX };
        let page = self.node.reader.read(&room("general"), Span::After(-1), None, limits).await;
        page.expect("a page").entries
    }

    /// Waits until everything is folded, or the node has failed.
    pub(crate) async fn folded(&self) {
        let Directory { journal, archive, .. } = &self.directory;
        let is_folded = || archive.applied(0).ok().map(|it| it.position) == journal.head(0).ok();
        let fold = async {
            while !is_folded() && !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, fold).await.expect("folded in time");
    }

    pub(crate) async fn end(self) -> Result<(), NodeError> {
        self.node.inbox.close();
        let ended = timeout(LONG, self.task).await.expect("in time").expect("no panic");
        self.fold.join().expect("no panic");
        ended
    }
}

/// Runs a node on a directory until it has appended and folded these; gives the log of `general`.
pub(crate) async fn say(path: &TempDir, bodies: &[&str]) -> Result<Vec<Stored>, NodeError> {
    let served = Served::on(open(path))?;
    let mut log = Vec::new();
    if served.is_up().await {
        served.say(bodies).await;
        log = served.log().await;
        served.folded().await;
    }
    served.end().await.map(|()| log)
}

/// Appends `count` entries, each in its own block, folded before the next, with a journal that keeps
/// as little as it can.
pub(crate) async fn say_and_trim(path: &TempDir, count: usize) -> Vec<Stored> {
    say_keeping(path, count, 0).await
}

/// As [`say_and_trim`], with a journal that keeps everything.
pub(crate) async fn say_one_by_one(path: &TempDir, count: usize) -> Vec<Stored> {
    say_keeping(path, count, JOURNAL_BYTES).await
}

async fn say_keeping(path: &TempDir, count: usize, keep: u64) -> Vec<Stored> {
    let directory = Directory::open_keeping(path.path(), keep).expect("a directory");
    let served = Served::on(directory).expect("a node");
    assert!(served.is_up().await);
    let before = served.log().await.len();
    for n in before..before + count {
        served.say(&[&format!("body-{n}")]).await;
        served.folded().await;
    }
    let log = served.log().await;
    served.end().await.expect("a good end");
    log
}

pub(crate) fn bodies(log: &[Stored]) -> Vec<&str> {
    log.iter().map(|stored| &*stored.entry.body).collect()
}
