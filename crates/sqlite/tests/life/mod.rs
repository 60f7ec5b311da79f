//! A node on the engines of a directory, for tests that check what it finds there.

use std::{collections::BTreeMap, path::Path, time::Duration};

use roomlog_core::{
    NodeError, NodeSettings,
    outcome::AppendOutcome,
    proposal::{Proposal, Stored},
    reader::PageLimits,
};
use roomlog_protocol::{Latest, Span};
use roomlog_sqlite::{Directory, JOURNAL_BYTES};
use roomlog_testkit::{
    fixtures::{proposal, room},
    life::{Connection, LONG, Life, folded},
};
use tokio::time::timeout;

/// How many entries a page has: several pages per room.
const PAGE: u64 = 40;

/// The log of each room.
pub(crate) type Logs = BTreeMap<String, Vec<Stored>>;

/// A node that runs on a directory.
pub(crate) struct Served {
    pub(crate) node: Life,
    directory: Directory,
}

/// The `n`-th append, in room `n % rooms`: always the same.
pub(crate) fn nth_append(n: usize) -> Proposal {
    let room = format!("room-{}", n % 5);
    // Some of them take a page and more of a file.
    let body = format!("body {n} ").repeat(if n.is_multiple_of(37) { 600 } else { 1 + n % 7 });
    let mut append = proposal(&room, ["ada", "grace"][n / 5 % 2], &format!("id-{n}"), &body);
    append.sent_at = n.is_multiple_of(3).then_some(1_700_000_000_000 + n as u64);
    append.reference = (n >= 50 && n.is_multiple_of(4)).then_some(1);
    append
}

impl Served {
    /// Starts a node and waits until it has caught up; or why it does not start.
    ///
    /// A fold begins when a hundred entries are pending, or after this delay.
    pub(crate) async fn start(path: &Path, fold_wait: Duration) -> Result<Self, String> {
        Self::start_keeping(path, fold_wait, JOURNAL_BYTES).await
    }

    /// As [`Self::start`], with a journal that keeps this many bytes.
    pub(crate) async fn start_keeping(
        path: &Path,
        fold_wait: Duration,
        keep: u64,
    ) -> Result<Self, String> {
        let directory = Directory::open_keeping(path, keep).map_err(|why| why.to_string())?;
        let settings = NodeSettings { fold_wait, fold_entries: 100, ..NodeSettings::default() };
        let Directory { identity, journal, archive, .. } = &directory;
        let node = Life::try_over(journal.clone(), archive.clone(), *identity, settings);
        let served = Self { node: node.map_err(|why| why.to_string())?, directory };
        if timeout(LONG, served.node.caught_up()).await.expect("in time") {
            return Ok(served);
        }
        Err(served.end().await.expect_err("it did not catch up").to_string())
    }

    /// Appends these, in one block or a few, and gives their outcomes; fewer if the node stops.
    pub(crate) async fn append(
        &self,
        all: impl Iterator<Item = usize>,
    ) -> Vec<(usize, AppendOutcome)> {
        let (mut accepted, mut authors) = (Vec::new(), Connection::default());
        for n in all {
            if authors.append(&self.node, nth_append(n), None, 0).is_ok() {
                accepted.push(n);
            }
        }
        let outcomes = authors.outcomes().await.into_iter().map(|(_, outcome)| outcome);
        accepted.into_iter().zip(outcomes).collect()
    }

    /// Waits until everything is folded.
    pub(crate) async fn folded(&self) {
        let Directory { journal, archive, .. } = &self.directory;
        folded(journal.as_ref(), archive.as_ref()).await;
    }

    /// The log of a room, page by page, or the reader's error.
    pub(crate) async fn log(&self, name: &str) -> Result<Vec<Stored>, String> {
        let limits = PageLimits { entries: PAGE, bytes: usize::MAX };
        let (room, mut log): (_, Vec<Stored>) = (room(name), Vec::new());
        loop {
            let span = Span::After(Latest::before(log.len() as u64));
            let read = self.node.read(&room, span, None, limits);
            let page =
                timeout(LONG, read).await.expect("in time").map_err(|why| why.to_string())?;
            let more = !page.entries.is_empty();
            log.extend(page.entries);
            if !more || log.len() as u64 >= page.head.end {
                return Ok(log);
            }
        }
    }

    /// Stops it; gives how it ended.
    pub(crate) async fn end(self) -> Result<(), NodeError> {
        self.node.end().await
    }
}
