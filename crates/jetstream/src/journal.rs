//! The journal: what the core holds of the streams.
//!
//! Enters: proposes, wishes to follow. Leaves: outcomes and blocks. Invariant: that of
//! `roomlog_core::journal`; the order of proposes is kept by one publisher a partition, and what is read
//! is read by a task of its own, so that a wait that is dropped loses nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client,
    jetstream::{Context, stream},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::journal::{
    Durable, Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
    Position, Proposed,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use crate::{
    check,
    open::{self, OpenError, said},
    options::Options,
    peers::JetStreamPeers,
    publisher::{Ask, Publisher, WAITING},
    reader::{READ_AHEAD, Reader},
    sync,
};

/// How many blocks are under way at once: more would be smaller blocks, each with fsyncs of its own.
const DEPTH: usize = 8;

/// How often a sealed stream is asked where it ends, how many times in a row it says the same until that is
/// taken, and how long after it is asked again.
const SEAL_ASKED: u32 = 60;
const SEAL_SAME: u32 = 3;
const SEAL_AGAIN: Duration = Duration::from_millis(500);

/// What an ack of the journal stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A quorum of servers that were seen to fsync.
    Quorum,
    /// One server that was seen to: where a stream has one replica.
    Fsync,
    /// Servers that the operator says do.
    Declared,
}

/// The last position that is known to be there: nobody who is behind it has all.
#[derive(Debug)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    fn new(head: u64) -> Self {
        Self(AtomicU64::new(head))
    }

    pub(crate) fn note(&self, position: u64) {
        self.0.fetch_max(position, Ordering::Relaxed);
    }

    pub(crate) fn head(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted, by whoever sees it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicU64,
    pub(crate) readers_replaced: AtomicU64,
    pub(crate) leader_changes: AtomicU64,
    pub(crate) untrusted_servers: AtomicU64,
}

impl Counts {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> JournalCounts {
        let at = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalCounts {
            connections: at(&self.connections),
            readers_replaced: at(&self.readers_replaced),
            leader_changes: at(&self.leader_changes),
            untrusted_servers: at(&self.untrusted_servers),
        }
    }
}

struct Stream {
    name: String,
    seen: Arc<Seen>,
    asks: mpsc::Sender<Ask>,
    publisher: AbortHandle,
}

/// The journal of a cluster.
pub struct JetStreamJournal {
    facts: JournalFacts,
    context: Context,
    client: Client,
    promise: Promise,
    counts: Arc<Counts>,
    peers: Arc<JetStreamPeers>,
    /// One a partition.
    streams: Vec<Stream>,
    /// Asks again and again whether the servers can be trusted.
    watch: Option<AbortHandle>,
}

/// How often the servers are asked whether they fsync: those that were away at the start, too.
const SERVERS_ASKED_EVERY: Duration = Duration::from_secs(30);

async fn watch_servers(client: Client, counts: Arc<Counts>) {
    loop {
        tokio::time::sleep(SERVERS_ASKED_EVERY).await;
        let servers = sync::ask(&client).await;
        let bad: Vec<_> = servers.iter().filter(|server| !server.is_trusted()).collect();
        let untrusted = bad.len() as u64;
        let before = counts.untrusted_servers.swap(untrusted, Ordering::Relaxed);
        if untrusted > before {
            let names: Vec<_> = bad.iter().map(|server| server.name.as_str()).collect();
            tracing::error!(
                servers = names.join(", "),
                "NATS servers ack before they fsync, or are too old: a power cut may lose what is acked now"
            );
        }
    }
}

impl JetStreamJournal {
    /// Opens the streams of a log, making them where they are not there. Runs tasks on the runtime it is
    /// called on for as long as it lives.
    ///
    /// # Errors
    /// [`OpenError`] says what to change.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let counts = Arc::new(Counts::default());
        let opened = open::open(options, &counts).await?;
        let (client, context) = (opened.client, opened.context);
        let stream = |(partition, info): (u32, async_nats::jetstream::stream::Info)| {
            let seen = Arc::new(Seen::new(info.state.last_sequence));
            let (asks, asked) = mpsc::channel(WAITING);
            let publisher = Publisher {
                client: client.clone(),
                context: context.clone(),
                stream: info.config.name.clone(),
                subject: check::subject(options, partition),
                seen: seen.clone(),
            };
            let publisher = tokio::spawn(publisher.run(asked)).abort_handle();
            Stream { name: info.config.name, seen, asks, publisher }
        };
        let promise = promise(opened.seen, &opened.streams);
        let streams: Vec<_> = (0..).zip(opened.streams).map(stream).collect();
        let subject = check::peers_subject(options);
        let peers = Arc::new(JetStreamPeers { client: client.clone(), subject });
        let watched = opened.seen.then(|| watch_servers(client.clone(), counts.clone()));
        let watch = watched.map(|watched| tokio::spawn(watched).abort_handle());
        let facts = JournalFacts {
            log: opened.log,
            partitions: u32::try_from(streams.len()).unwrap_or(u32::MAX),
            depth: DEPTH,
            is_blocking: false,
            is_shared: true,
            // Whoever has rights on the subject can publish to it.
            is_exclusive: false,
        };
        Ok(Self { facts, context, client, promise, counts, peers, streams, watch })
    }

    /// What an ack stands on.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// Lets the streams be served: the log that was moved to them is whole.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer.
    pub async fn moved_here(&self) -> Result<(), OpenError> {
        for stream in &self.streams {
            self.change(&stream.name, check::moved_here).await?;
        }
        Ok(())
    }

    /// Adds nothing to the streams any more, for ever; where each of them ends.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer.
    pub async fn seal(&self, token: &str) -> Result<Vec<Position>, OpenError> {
        let mut heads = Vec::new();
        for stream in &self.streams {
            self.change(&stream.name, |config| check::gone(config, token)).await?;
            heads.push(self.end_of(stream).await?);
        }
        Ok(heads)
    }

    /// Where a sealed stream ends. One server alone may answer from before the seal, or from before its
    /// end: so it is asked until a leader says that it is sealed, and the same end some times in a row.
    async fn end_of(&self, stream: &Stream) -> Result<Position, OpenError> {
        let (mut same, mut last) = (0, 0);
        for _ in 0..SEAL_ASKED {
            let there = self.info(&stream.name).await?;
            let leads = there.cluster.as_ref().is_none_or(|cluster| cluster.leader.is_some());
            stream.seen.note(there.state.last_sequence);
            let end = stream.seen.head();
            let is_end = there.config.sealed && leads && there.state.last_sequence == end;
            same = if is_end && end == last { same + 1 } else { 0 };
            last = end;
            if same >= SEAL_SAME {
                return Ok(Position(end));
            }
            tokio::time::sleep(SEAL_AGAIN).await;
        }
        let why = "it does not say for good where it ends; run it again".to_owned();
        Err(OpenError::JetStream { name: stream.name.clone(), why })
    }

    async fn info(&self, name: &str) -> Result<stream::Info, OpenError> {
        let there = self
            .context
            .get_stream(name)
            .await
            .map_err(|why| OpenError::JetStream { name: name.into(), why: said(&why) })?;
        Ok(there.cached_info().clone())
    }

    async fn change(
        &self,
        name: &str,
        change: impl FnOnce(stream::Config) -> stream::Config,
    ) -> Result<(), OpenError> {
        let config = self.info(name).await?.config;
        let wanted = change(config.clone());
        if wanted != config {
            let changed = self.context.update_stream(wanted).await;
            changed.map_err(|why| OpenError::JetStream { name: name.into(), why: said(&why) })?;
        }
        Ok(())
    }

    fn stream(&self, partition: Partition) -> Result<&Stream, JournalError> {
        let stream = usize::try_from(partition).ok().and_then(|index| self.streams.get(index));
        stream.ok_or_else(|| JournalError(format!("there is no partition {partition}")))
    }
}

impl Drop for JetStreamJournal {
    fn drop(&mut self) {
        for task in self.streams.iter().map(|stream| &stream.publisher).chain(&self.watch) {
            task.abort();
        }
    }
}

impl Journal for JetStreamJournal {
    fn facts(&self) -> &JournalFacts {
        &self.facts
    }

    fn counts(&self) -> Option<JournalCounts> {
        Some(self.counts.get())
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        Some(self.peers.clone())
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (answer, answered) = oneshot::channel();
        let asked = match self.stream(partition) {
            Ok(stream) => {
                stream.asks.try_send(Ask { block, answer }).map_err(|why| why.to_string())
            }
            Err(why) => Err(why.to_string()),
        };
        async move {
            match asked {
                Ok(()) => answered
                    .await
                    .unwrap_or_else(|_| Proposed::Unanswered("the publisher ended".into())),
                Err(why) => Proposed::Unanswered(why),
            }
        }
        .boxed()
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        let (give, blocks) = mpsc::channel(READ_AHEAD);
        let task = self.stream(partition).map(|stream| {
            let reader = Reader::new(
                self.client.clone(),
                self.context.clone(),
                stream.name.clone(),
                stream.seen.clone(),
                self.counts.clone(),
                after,
                give,
            );
            tokio::spawn(reader.run()).abort_handle()
        });
        Box::new(JetStreamFollow { blocks, task: task.ok() })
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        self.stream(partition).map(|stream| Position(stream.seen.head()))
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        // Nothing is ever trimmed; what is missing all the same the reader finds.
        self.stream(partition).map(|_| Position(1))
    }

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}
}

struct JetStreamFollow {
    blocks: mpsc::Receiver<Result<Durable, JournalError>>,
    task: Option<AbortHandle>,
}

impl Follow for JetStreamFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let gone = || Err(JournalError("nobody reads this partition any more".into()));
            self.blocks.recv().await.unwrap_or_else(gone)
        }
        .boxed()
    }
}

impl Drop for JetStreamFollow {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What an ack stands on, of servers that were seen to fsync or not and the streams that they keep.
fn promise(seen: bool, streams: &[stream::Info]) -> Promise {
    match streams.iter().map(|stream| stream.config.num_replicas).min() {
        _ if !seen => Promise::Declared,
        Some(2..) => Promise::Quorum,
        _ => Promise::Fsync,
    }
}
