//! A node on the engines of a directory, for tests that check what it finds there.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use roomlog_core::{
    Node, NodeError, NodeSettings,
    archive::Archive,
    journal::Journal,
    mailbox::{Mailbox, Outcome},
    merge::QueueId,
    proposal::{Proposal, Stored},
    reader::PageLimits,
    sequencer::{Submit, Ticket},
    suites::archive::{proposal, room},
};
use roomlog_protocol::Span;
use roomlog_sqlite::Directory;
use tokio::{task::JoinHandle, time::timeout};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// How many entries a page has: several pages per room.
const PAGE: u64 = 40;

/// The log of each room.
pub(crate) type Logs = BTreeMap<String, Vec<Stored>>;

/// A running node.
pub(crate) struct Life {
    pub(crate) node: Node,
    directory: Directory,
    task: JoinHandle<Result<(), NodeError>>,
    fold: std::thread::JoinHandle<()>,
    mailbox: Arc<Mailbox>,
}

/// The `n`-th append, in room `n % rooms`: always the same.
pub(crate) fn said(n: usize) -> Proposal {
    let room = format!("room-{}", n % 5);
    // Some of them take a page and more of a file.
    let body = format!("body {n} ").repeat(if n.is_multiple_of(37) { 600 } else { 1 + n % 7 });
    let mut said = proposal(&room, ["ada", "grace"][n / 5 % 2], &format!("id-{n}"), &body);
    said.sent_at = n.is_multiple_of(3).then_some(1_700_000_000_000 + n as u64);
    said.reference = (n >= 50 && n.is_multiple_of(4)).then_some(1);
    said
}

impl Life {
    /// Starts a node and waits until it has caught up; or why it does not start.
    ///
    /// A fold begins when a hundred entries are pending, or after this delay.
    pub(crate) async fn start(path: &Path, fold_wait: Duration) -> Result<Self, String> {
        let directory = Directory::open(path).map_err(|why| why.to_string())?;
        let settings = NodeSettings { fold_wait, fold_entries: 100, ..NodeSettings::default() };
        let Directory { identity, journal, archive, .. } = &directory;
        let opened = Node::open(*identity, journal.clone(), archive.clone(), settings);
        let (node, running) = opened.map_err(|why| why.to_string())?;
        let (task, folder) = running.one();
        let fold = std::thread::spawn(move || folder.run());
        let (task, mailbox) = (tokio::spawn(task.run()), Arc::default());
        let life = Self { node, directory, task, fold, mailbox };
        if timeout(LONG, life.node.caught_up()).await.expect("in time") {
            return Ok(life);
        }
        Err(life.end().await.expect_err("it did not catch up").to_string())
    }

    /// Appends these, in one block or a few, and gives their outcomes; fewer if the node stops.
    pub(crate) async fn say(&self, all: impl Iterator<Item = usize>) -> Vec<(usize, Outcome)> {
        let mut waiting = 0;
        for n in all {
            let ticket = Ticket {
                mailbox: self.mailbox.clone(),
                token: n as u64,
                queue: QueueId(1 + n as u64 % 5),
                seq: None,
            };
            let taken = self.node.inbox.submit(Submit { proposal: said(n), time: 0, ticket });
            waiting += usize::from(taken.is_ok());
        }
        let mut outcomes = Vec::new();
        while outcomes.len() < waiting {
            timeout(LONG, self.mailbox.wait()).await.expect("an outcome in time");
            let came = self.mailbox.take().outcomes.into_iter();
            outcomes.extend(came.map(|(n, outcome)| (n as usize, outcome)));
        }
        outcomes
    }

    /// Waits until everything is folded.
    pub(crate) async fn folded(&self) {
        let Directory { journal, archive, .. } = &self.directory;
        let is_folded = || archive.applied(0).ok().map(|it| it.position) == journal.head(0).ok();
        let folded = async {
            while !is_folded() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, folded).await.expect("folded in time");
    }

    /// The log of a room, page by page, or the reader's error.
    pub(crate) async fn log(&self, name: &str) -> Result<Vec<Stored>, String> {
        let limits = PageLimits { entries: PAGE, bytes: usize::MAX };
        let (room, mut log): (_, Vec<Stored>) = (room(name), Vec::new());
        loop {
            let span = Span::After(log.len() as i64 - 1);
            let read = self.node.reader.read(&room, span, None, limits);
            let page =
                timeout(LONG, read).await.expect("in time").map_err(|why| why.to_string())?;
            let more = !page.entries.is_empty();
            log.extend(page.entries);
            if !more || log.len() as u64 >= page.head.end {
                return Ok(log);
            }
        }
    }

    /// Closes it; gives how it ended.
    pub(crate) async fn end(self) -> Result<(), NodeError> {
        self.node.inbox.close();
        let ended = timeout(LONG, self.task).await.expect("in time").expect("no panic");
        let joined = tokio::task::spawn_blocking(|| self.fold.join());
        timeout(LONG, joined).await.expect("in time").expect("joined").expect("no panic");
        ended
    }
}
