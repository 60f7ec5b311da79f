//! A node on engines in memory, and connections that append to it.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod speaking;

use std::{sync::Arc, thread, time::Duration};

use futures_util::future::join_all;
use roomlog_core::{
    Identity, Node, NodeError, NodeSettings,
    append::{
        inbox::Turned,
        merge::QueueId,
        sequencer::{Submit, Ticket},
    },
    apply::fold::Folder,
    archive::Archive,
    identity::NodeId,
    journal::Journal,
    mailbox::Mailbox,
    node::partition::PartitionTask,
    outcome::Outcome,
    proposal::{Proposal, Stored},
    read::reader::{Page, PageLimits},
};
use roomlog_protocol::{Digest, RoomName, Span};
use roomlog_testkit::{
    fixtures::room,
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::{task::JoinHandle, time::timeout};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A page without bounds.
pub(crate) const WHOLE: PageLimits = PageLimits { entries: u64::MAX >> 2, bytes: usize::MAX };

/// Windows of 8 entries that wait for nobody, so that ids come from the archive as soon as may be.
pub(crate) fn small_windows() -> NodeSettings {
    NodeSettings {
        fold_entries: 8,
        fold_wait: Duration::from_micros(100),
        ..NodeSettings::default()
    }
}

/// The node with this number, in this incarnation.
pub(crate) fn identity(node: u8, incarnation: u64) -> Identity {
    Identity { node: NodeId([node; 16]), incarnation }
}

/// What stays when a process ends.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) archive: Arc<MemoryArchive>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { journal: Arc::new(MemoryJournal::new("log")), archive: Arc::default() }
    }

    /// The same journal with an archive that knows nothing.
    pub(crate) fn without_archive(&self) -> Self {
        Self { archive: Arc::default(), ..self.clone() }
    }
}

/// A node that runs.
pub(crate) struct Life {
    pub(crate) node: Node,
    task: JoinHandle<Result<(), NodeError>>,
    folders: Vec<Folder>,
    folds: Vec<thread::JoinHandle<()>>,
}

impl Life {
    /// Starts a node and waits until it has caught up with the journal.
    pub(crate) async fn start(disk: &Disk, identity: Identity, settings: NodeSettings) -> Self {
        let mut life = Self::start_without_fold(disk, identity, settings);
        life.start_fold();
        life.caught_up().await;
        life
    }

    /// Starts a node whose applied entries stay where they are.
    pub(crate) fn start_without_fold(
        disk: &Disk,
        identity: Identity,
        settings: NodeSettings,
    ) -> Self {
        Self::over(disk.journal.clone(), disk.archive.clone(), identity, settings)
    }

    /// Starts a node over a journal of the test's own.
    pub(crate) fn over(
        journal: Arc<dyn Journal>,
        archive: Arc<MemoryArchive>,
        identity: Identity,
        settings: NodeSettings,
    ) -> Self {
        let opened = Node::open(identity, journal, archive, settings);
        let (node, running) = opened.expect("a node");
        let (tasks, folders): (Vec<_>, Vec<_>) = running.partitions.into_iter().unzip();
        let all = async {
            let ended = join_all(tasks.into_iter().map(PartitionTask::run)).await;
            ended.into_iter().fold(Ok(()), Result::and)
        };
        Self { node, task: tokio::spawn(all), folders, folds: Vec::new() }
    }

    pub(crate) fn start_fold(&mut self) {
        assert!(!self.folders.is_empty(), "a fold that was not started");
        let folders = std::mem::take(&mut self.folders).into_iter();
        self.folds = folders.map(|folder| thread::spawn(move || folder.run())).collect();
    }

    pub(crate) async fn caught_up(&self) {
        assert!(timeout(LONG, self.node.caught_up()).await.expect("in time"), "it stopped");
    }

    /// Closes the node; gives how it ended.
    pub(crate) async fn end(self) -> Result<(), NodeError> {
        self.node.inbox.close();
        self.ended().await
    }

    /// Waits until the node has ended by itself; gives how.
    pub(crate) async fn ended(self) -> Result<(), NodeError> {
        let ended = timeout(LONG, self.task).await.expect("in time").expect("no panic");
        join(self.folds).await;
        ended
    }

    /// Ends it between two steps, as a crash would: nothing is finished, nobody is told.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _cut_off = timeout(LONG, self.task).await.expect("in time");
        join(self.folds).await;
    }

    /// A page of a room.
    pub(crate) async fn page(&self, name: &str, span: Span) -> Page {
        let room = room(name);
        let read = self.node.reader.read(&room, span, None, WHOLE);
        timeout(LONG, read).await.expect("in time").expect("a page")
    }

    /// The whole log of a room; its slots and digests are checked.
    pub(crate) async fn log(&self, name: &str) -> Vec<Stored> {
        let page = self.page(name, Span::After(-1)).await;
        let mut digest = Digest::start(&room(name));
        for (slot, stored) in (0..).zip(&page.entries) {
            assert_eq!(stored.entry.slot, slot, "a log has no holes");
            digest = digest.then(&stored.entry);
            assert_eq!(stored.digest, digest, "slot {slot} of {name}");
        }
        assert_eq!((page.head.end, page.head.digest), (page.entries.len() as u64, digest));
        page.entries
    }

    /// The bodies of a room's log.
    pub(crate) async fn bodies(&self, name: &str) -> Vec<String> {
        self.log(name).await.iter().map(|stored| stored.entry.body.to_string()).collect()
    }
}

async fn join(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        let joined = tokio::task::spawn_blocking(|| thread.join());
        timeout(LONG, joined)
            .await
            .expect("the fold's thread ends")
            .expect("joined")
            .expect("no panic");
    }
}

/// A connection: a mailbox, and a queue in each room.
pub(crate) struct Connection {
    number: u64,
    rooms: Vec<RoomName>,
    mailbox: Arc<Mailbox>,
    tokens: u64,
    outcomes: Vec<(u64, Outcome)>,
}

impl Connection {
    pub(crate) fn new(number: u64) -> Self {
        let (rooms, outcomes) = (Vec::new(), Vec::new());
        Self { number, rooms, mailbox: Arc::default(), tokens: 0, outcomes }
    }

    fn queue(&mut self, proposal: &Proposal) -> QueueId {
        let known = self.rooms.iter().position(|room| *room == proposal.room);
        let index = known.unwrap_or_else(|| {
            self.rooms.push(proposal.room.clone());
            self.rooms.len() - 1
        });
        QueueId(self.number * 1_000 + index as u64)
    }

    /// Puts an append into the inbox; gives its token.
    pub(crate) fn append(
        &mut self,
        node: &Node,
        proposal: Proposal,
        seq: Option<u64>,
        time: u64,
    ) -> Result<u64, Turned> {
        let token = self.tokens;
        let queue = self.queue(&proposal);
        let ticket = Ticket { mailbox: self.mailbox.clone(), token, queue, seq };
        node.inbox.submit(Submit { proposal, time, ticket })?;
        self.tokens += 1;
        Ok(token)
    }

    /// Waits until every append has its outcome; gives those that came since last asked, by token.
    pub(crate) async fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let seen = self.outcomes.len();
        while (self.outcomes.len() as u64) < self.tokens {
            self.outcomes.extend(self.mailbox.take().outcomes);
            if (self.outcomes.len() as u64) < self.tokens {
                timeout(LONG, self.mailbox.wait()).await.expect("an outcome in time");
            }
        }
        let mut new = self.outcomes[seen..].to_vec();
        new.sort_by_key(|(token, _)| *token);
        let tokens: Vec<u64> = new.iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, (seen as u64..self.tokens).collect::<Vec<_>>(), "each once");
        new
    }

    /// Appends and waits for the outcome, which must be the only one missing.
    pub(crate) async fn say(&mut self, node: &Node, proposal: Proposal) -> Outcome {
        self.append(node, proposal, None, 0).expect("taken");
        let (_, outcome) = self.outcomes().await.pop().expect("an outcome");
        outcome
    }
}

/// It is at this slot now, and was not there before; at the journal's time 0.
pub(crate) fn committed(slot: u64) -> Outcome {
    Outcome::Committed { slot, committed_at: 0, repeat: false }
}

/// It was at this slot already.
pub(crate) fn repeat(slot: u64) -> Outcome {
    Outcome::Committed { slot, committed_at: 0, repeat: true }
}

/// Waits until the archive has taken in everything up to the journal's end.
pub(crate) async fn folded(disk: &Disk) {
    let head = disk.journal.head(0).expect("a head");
    let is_folded = || disk.archive.applied(0).expect("applied").position == head;
    timeout(LONG, async {
        while !is_folded() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("folded in time");
}
