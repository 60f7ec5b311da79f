//! The journal: one resender and publisher per partition, and one reader per follower.
//!
//! Invariants: those of `roomlog_core::journal`. The resender of a partition keeps the order of
//! proposes; a reader is a task of its own, so a dropped future of a follower loses nothing.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client,
    jetstream::{Context, stream},
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use parking_lot::Mutex;
use roomlog_core::journal::{
    Durable, Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
    Position, Proposed, Wipe,
};
use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle};

use crate::{
    check,
    eraser::Eraser,
    error::OpenError,
    open,
    options::Options,
    peers::JetStreamPeers,
    publisher::Publisher,
    reader::{READ_AHEAD, Reader},
    resender::Resender,
    shared::{Counts, KnownHead},
    sync,
};

/// How many blocks are proposed concurrently; more would be smaller ones with their own fsyncs.
const DEPTH: usize = 8;

/// The longest delay before a node erases texts.
const ERASE_AFTER: Duration = Duration::from_secs(5);

/// What an ack of the journal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A quorum of servers, which were seen to fsync, has the block.
    Quorum,
    /// A single server, which was seen to fsync, has it: a stream has one replica.
    Fsync,
    /// Servers have it of which the operator declared that they fsync.
    Declared,
}

pub(crate) struct PartitionStream {
    pub(crate) name: String,
    subject: String,
    pub(crate) head: Arc<KnownHead>,
    resender: Resender,
    erasing: Mutex<Option<Erasing>>,
}

/// An [`Eraser`] that runs, up to a position.
struct Erasing {
    upto: Position,
    /// Set when it has ended.
    result: Arc<Mutex<Option<Result<(), String>>>>,
    task: AbortHandle,
}

impl Drop for Erasing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The journal of a cluster.
pub struct JetStreamJournal {
    facts: JournalFacts,
    pub(crate) context: Context,
    client: Client,
    promise: Promise,
    counts: Arc<Counts>,
    peers: Arc<JetStreamPeers>,
    /// One per partition.
    pub(crate) streams: Vec<PartitionStream>,
    runtime: Handle,
    /// Checks regularly whether the servers fsync.
    watch: Option<AbortHandle>,
}

impl JetStreamJournal {
    /// Opens the streams of a log, creating missing ones. Runs tasks on the current runtime.
    ///
    /// # Errors
    /// [`OpenError`] gives the reason and a remedy.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let counts = Arc::new(Counts::default());
        let opened = open::open(options, &counts).await?;
        let (client, context) = (opened.client, opened.context);
        let stream = |(partition, info): (u32, stream::Info)| {
            let head = Arc::new(KnownHead::new(info.state.last_sequence));
            let publisher = Publisher {
                client: client.clone(),
                context: context.clone(),
                stream: info.config.name.clone(),
                subject: check::subject(options, partition),
                head: head.clone(),
            };
            let resender = Resender::start(publisher, counts.clone());
            let (name, subject) = (info.config.name, check::subject(options, partition));
            PartitionStream { name, subject, head, resender, erasing: Mutex::new(None) }
        };
        let promise = promise(opened.seen, &opened.streams);
        let streams: Vec<_> = (0..).zip(opened.streams).map(stream).collect();
        let subject = check::peers_subject(options);
        let peers = Arc::new(JetStreamPeers { client: client.clone(), subject });
        let watch = opened.seen.then(|| {
            tokio::spawn(sync::watch_servers(client.clone(), counts.clone())).abort_handle()
        });
        let facts = JournalFacts {
            log: opened.log,
            partitions: u32::try_from(streams.len()).unwrap_or(u32::MAX),
            depth: DEPTH,
            is_blocking: false,
            head_is_exact: false,
            // Others may have the right to publish to the subject.
            is_exclusive: false,
        };
        let runtime = Handle::current();
        Ok(Self { facts, context, client, promise, counts, peers, streams, runtime, watch })
    }

    /// What an ack means.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.promise
    }

    fn stream(&self, partition: Partition) -> Result<&PartitionStream, JournalError> {
        let stream = usize::try_from(partition).ok().and_then(|index| self.streams.get(index));
        stream.ok_or_else(|| JournalError(format!("there is no partition {partition}")))
    }
}

impl Drop for JetStreamJournal {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
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
        match self.stream(partition) {
            Ok(stream) => stream.resender.propose(block),
            Err(why) => ready(Proposed::Unknown(why.to_string())).boxed(),
        }
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        let (output, blocks) = mpsc::channel(READ_AHEAD);
        let Ok(stream) = self.stream(partition) else {
            return Box::new(JetStreamFollow { blocks, task: None });
        };
        let reader = Reader {
            client: self.client.clone(),
            context: self.context.clone(),
            stream: stream.name.clone(),
            subject: stream.subject.clone(),
            head: stream.head.clone(),
            counts: self.counts.clone(),
            mark: after,
            output,
            leader: None,
            missing: None,
            behind_at: None,
            replaced: 0,
        };
        let task = Some(tokio::spawn(reader.run()).abort_handle());
        stream.resender.observe(Box::new(JetStreamFollow { blocks, task }))
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        self.stream(partition).map(|stream| Position(stream.head.get()))
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        // Nothing is ever trimmed; the reader detects missing blocks.
        self.stream(partition).map(|_| Position(1))
    }

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}

    fn wipe(&self, partition: Partition, wipe: &Wipe) -> Result<bool, JournalError> {
        let stream = self.stream(partition)?;
        let mut erasing = stream.erasing.lock();
        let ended = erasing.take_if(|erasing| erasing.task.is_finished());
        if let Some(ended) = ended {
            let result = ended.result.lock().take();
            let result = result.unwrap_or_else(|| Err("it was cut off".into()));
            let why = |why| JournalError(format!("stream {}: {why}", stream.name));
            return result.map(|()| ended.upto >= wipe.upto).map_err(why);
        }
        if erasing.is_some() {
            return Ok(false);
        }
        let eraser = Eraser {
            context: self.context.clone(),
            stream: stream.name.clone(),
            subject: stream.subject.clone(),
        };
        let (upto, wipe, result) = (wipe.upto, wipe.clone(), Arc::new(Mutex::new(None)));
        let told = result.clone();
        let task = self.runtime.spawn(async move {
            // All nodes have the same to erase: who is first leaves the others little.
            tokio::time::sleep(ERASE_AFTER.mul_f64(rand::random())).await;
            *told.lock() = Some(eraser.run(wipe).await);
        });
        *erasing = Some(Erasing { upto, result, task: task.abort_handle() });
        Ok(false)
    }
}

struct JetStreamFollow {
    blocks: mpsc::Receiver<Result<Durable, JournalError>>,
    task: Option<AbortHandle>,
}

impl Follow for JetStreamFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let ended = || Err(JournalError("the reader of this partition has ended".into()));
            self.blocks.recv().await.unwrap_or_else(ended)
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

fn promise(seen: bool, streams: &[stream::Info]) -> Promise {
    match streams.iter().map(|stream| stream.config.num_replicas).min() {
        _ if !seen => Promise::Declared,
        Some(2..) => Promise::Quorum,
        _ => Promise::Fsync,
    }
}
