//! A running node for tests, and connections that append to it.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use roomlog_core::{
    Engines, Identity, Node, NodeError, NodeSettings,
    applied::Applied,
    archive::{Archive, ArchiveError, IdKey, Keep, Window},
    budget::Account,
    head::{Head, Known},
    identity::NodeId,
    journal::{Journal, Partition, Position},
    mailbox::Mailbox,
    outcome::AppendOutcome,
    proposal::{Proposal, Stored},
    queue::{Draft, Queue},
    reader::{Page, PageLimits},
};
use roomlog_protocol::{ClientAppend, Digest, Latest, RoomName, RoomRange, Slot, Span};
use tokio::time::timeout;

use crate::{
    fixtures::{SALT, room},
    memory::{MemoryArchive, MemoryJournal},
};

/// A timeout longer than anything takes in a test.
pub const LONG: Duration = Duration::from_secs(30);

/// Waits for a future, for as long as [`LONG`]. A paused clock runs ahead while a real thread, as a
/// fold's, is about to wake a task: so the timeout is counted by the real clock too.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let begun = std::time::Instant::now();
    let mut future = std::pin::pin!(future);
    loop {
        match timeout(LONG, &mut future).await {
            Ok(output) => return output,
            Err(_) if begun.elapsed() < LONG => std::thread::yield_now(),
            Err(_) => panic!("{what}: not in time"),
        }
    }
}

/// A page without limits.
pub const WHOLE: PageLimits = PageLimits { entries: u64::MAX >> 2, bytes: usize::MAX };

/// Settings that fold 8 entries at a time without delay, so that ids soon come from the archive.
#[must_use]
pub fn small_windows() -> NodeSettings {
    NodeSettings {
        fold_entries: 8,
        fold_wait: Duration::from_micros(100),
        ..NodeSettings::default()
    }
}

/// These settings, but fold only on [`Node::fold_to_head`].
#[must_use]
pub fn without_fold(settings: NodeSettings) -> NodeSettings {
    NodeSettings { fold_entries: usize::MAX, fold_wait: Duration::from_secs(3_600), ..settings }
}

/// The node with this number, in this incarnation.
#[must_use]
pub fn identity(node: u8, incarnation: u64) -> Identity {
    Identity { node: NodeId([node; 16]), incarnation }
}

/// What survives the end of a process.
#[derive(Clone)]
pub struct Disk {
    /// The journal.
    pub journal: Arc<MemoryJournal>,
    /// The archive.
    pub archive: Arc<MemoryArchive>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { journal: Arc::new(MemoryJournal::new("log")), archive: Arc::default() }
    }
}

impl Disk {
    /// The same journal with an empty archive.
    #[must_use]
    pub fn without_archive(&self) -> Self {
        Self { archive: Arc::default(), ..self.clone() }
    }

    /// Waits until the archive has everything up to the journal's head.
    pub async fn folded(&self) {
        folded(self.journal.as_ref(), self.archive.as_ref()).await;
    }
}

/// Waits until the archive has everything of partition 0 up to the journal's head.
pub async fn folded(journal: &dyn Journal, archive: &dyn Archive) {
    let is_folded = || archive.applied(0).ok().map(|it| it.position) == journal.head(0).ok();
    let folded = async {
        while !is_folded() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    in_time("the fold", folded).await;
}

/// A wrapper of a node's archive: its last reference is dropped when nothing of the node runs any
/// more.
struct TrackedArchive(Arc<dyn Archive>);

impl Archive for TrackedArchive {
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError> {
        self.0.applied(partition)
    }

    fn head(&self, room: &RoomName) -> Result<Option<Head>, ArchiveError> {
        self.0.head(room)
    }

    fn page(
        &self,
        room: &RoomName,
        first: Slot,
        end: Slot,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError> {
        self.0.page(room, first, end, bytes, keep)
    }

    fn find(&self, keys: &[IdKey]) -> Result<Vec<Option<Known>>, ArchiveError> {
        self.0.find(keys)
    }

    fn rooms(
        &self,
        range: &RoomRange,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        self.0.rooms(range, limit)
    }

    fn room_count(&self) -> Result<u64, ArchiveError> {
        self.0.room_count()
    }

    fn fold(&self, window: &Window) -> Result<Option<u64>, ArchiveError> {
        self.0.fold(window)
    }

    fn make_durable(&self, partition: Partition) -> Result<Position, ArchiveError> {
        self.0.make_durable(partition)
    }

    fn wipe(&self) -> Result<bool, ArchiveError> {
        self.0.wipe()
    }
}

/// A running node.
pub struct Life {
    node: Node,
    /// Distinguishes its queues from those of other nodes.
    number: u64,
    /// Alive as long as the node, its tasks and its threads.
    held: Weak<TrackedArchive>,
}

impl Deref for Life {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Life {
    /// Starts a node on engines in memory and waits until it has caught up with the journal.
    ///
    /// # Panics
    /// If it does not.
    pub async fn start(disk: &Disk, identity: Identity, settings: NodeSettings) -> Self {
        let life = Self::over(disk.journal.clone(), disk.archive.clone(), identity, settings);
        life.has_caught_up().await;
        life
    }

    /// Starts a node on any engines.
    ///
    /// # Panics
    /// If it cannot start.
    pub fn over(
        journal: Arc<dyn Journal>,
        archive: Arc<dyn Archive>,
        identity: Identity,
        settings: NodeSettings,
    ) -> Self {
        Self::try_over(journal, archive, identity, settings).expect("a node")
    }

    /// Starts a node on any engines.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn try_over(
        journal: Arc<dyn Journal>,
        archive: Arc<dyn Archive>,
        identity: Identity,
        settings: NodeSettings,
    ) -> Result<Self, NodeError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let archive = Arc::new(TrackedArchive(archive));
        let held = Arc::downgrade(&archive);
        let node = Node::start(Engines { identity, journal, archive, backup: None }, settings)?;
        Ok(Self { node, number: NUMBERS.fetch_add(1, Ordering::Relaxed), held })
    }

    /// Waits until it has caught up with the journal.
    ///
    /// # Panics
    /// If it stops before, or that takes too long.
    pub async fn has_caught_up(&self) {
        assert!(in_time("the journal's head", self.caught_up()).await, "it stopped");
    }

    /// Stops the node; returns how it ended.
    pub async fn end(self) -> Result<(), NodeError> {
        in_time("the end", self.stop()).await
    }

    /// Waits until the node has ended by itself; returns how.
    pub async fn has_ended(self) -> Result<(), NodeError> {
        in_time("the end", self.ended()).await;
        self.end().await
    }

    /// Aborts it between two steps, like a crash: nothing is finished, nobody is notified.
    pub async fn crash(self) {
        let Self { node, held, .. } = self;
        drop(node);
        let ended = async {
            while held.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        in_time("the end of its tasks and threads", ended).await;
    }

    /// A page of a room.
    ///
    /// # Panics
    /// If it cannot be read.
    pub async fn page(&self, name: &str, span: Span) -> Page {
        let room = room(name);
        let read = self.read(&room, span, None, WHOLE);
        in_time("a page", read).await.expect("a page")
    }

    /// The complete log of a room; checks slots and digests.
    pub async fn log_of(&self, name: &str) -> Vec<Stored> {
        let page = self.page(name, Span::After(Latest(-1))).await;
        let mut digest = Digest::start(&room(name));
        for (slot, stored) in (0..).zip(&page.entries) {
            assert_eq!(stored.entry.slot, slot, "a log has no gaps");
            digest = digest.then(&stored.entry);
            assert_eq!(stored.digest, digest, "slot {slot} of {name}");
        }
        assert_eq!((page.head.end, page.head.digest), (page.entries.len() as u64, digest));
        page.entries
    }

    /// The bodies of a room's log.
    ///
    /// # Panics
    /// As [`Life::log_of`].
    pub async fn bodies(&self, name: &str) -> Vec<String> {
        self.log_of(name).await.iter().map(|stored| stored.entry.body().to_owned()).collect()
    }
}

/// A connection: a mailbox, and a queue per room.
#[derive(Default)]
pub struct Connection {
    queues: HashMap<(u64, RoomName), Queue>,
    mailbox: Arc<Mailbox>,
    tokens: u64,
    outcomes: Vec<(u64, AppendOutcome)>,
    account: Option<Account>,
}

impl Connection {
    /// A connection whose appends are charged to this account; others to the budget itself.
    #[must_use]
    pub fn charged_to(account: Account) -> Self {
        Self { account: Some(account), ..Self::default() }
    }

    /// Appends; returns the token of its outcome. `time` orders it among the queues of its room.
    pub fn append(
        &mut self,
        life: &Life,
        proposal: Proposal,
        seq: Option<u64>,
        time: u64,
    ) -> Result<u64, AppendOutcome> {
        let token = self.tokens;
        let queue = self.queues.entry((life.number, proposal.room.clone()));
        let queue = queue.or_insert_with(|| life.queue(&self.mailbox));
        let account = self.account.as_ref().unwrap_or_else(|| life.append_budget());
        queue.append(token, draft(account, proposal, seq, time)?)?;
        life.flush();
        self.tokens += 1;
        Ok(token)
    }

    /// Waits until every append has its outcome; returns those since the last call, by token.
    pub async fn outcomes(&mut self) -> Vec<(u64, AppendOutcome)> {
        let seen = self.outcomes.len();
        while (self.outcomes.len() as u64) < self.tokens {
            self.outcomes.extend(self.mailbox.take().outcomes);
            if (self.outcomes.len() as u64) < self.tokens {
                in_time("an outcome", self.mailbox.wait()).await;
            }
        }
        let mut new = self.outcomes[seen..].to_vec();
        new.sort_by_key(|(token, _)| *token);
        let tokens: Vec<u64> = new.iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, (seen as u64..self.tokens).collect::<Vec<_>>(), "each once");
        new
    }

    /// Appends and waits for its outcome, which must be the only one pending.
    pub async fn say(&mut self, life: &Life, proposal: Proposal) -> AppendOutcome {
        self.append(life, proposal, None, 0).expect("taken");
        let (_, outcome) = self.outcomes().await.pop().expect("an outcome");
        outcome
    }
}

/// The draft of a proposal that was received at this time. Fails if `account` may not hold it.
pub fn draft(
    account: &Account,
    proposal: Proposal,
    seq: Option<u64>,
    time: u64,
) -> Result<Draft, AppendOutcome> {
    let Proposal { room, author, id, kind, reference, sent_at, expect, .. } = proposal;
    let (content, may_remove) = (proposal.content, proposal.may_remove);
    let append = ClientAppend {
        room,
        body: content.body().into(),
        id: Some(id.clone()),
        seq,
        after: None,
        expect,
        kind,
        reference,
        meta: content.meta().map(str::to_owned),
        sent_at,
        author: None,
        req: None,
    };
    let charge = Draft::charge(&append, account)?;
    let salt = content.salt().unwrap_or(SALT);
    let draft = Draft::new(append, (author, id, salt), time, charge);
    Ok(if may_remove { draft.with_right_to_remove() } else { draft })
}

/// Committed at this slot, at time 0, not a repeat.
#[must_use]
pub fn committed(slot: u64) -> AppendOutcome {
    AppendOutcome::Committed { slot, committed_at: 0, repeat: false }
}

/// A repeat of the entry at this slot, at time 0.
#[must_use]
pub fn repeat(slot: u64) -> AppendOutcome {
    AppendOutcome::Committed { slot, committed_at: 0, repeat: true }
}
