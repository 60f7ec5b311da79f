//! The resender of a partition: sends each block until it is durable in its place.
//!
//! Enters: blocks, in order; acks of the stream; the blocks that a follower reads. Leaves: an answer
//! for each block, in order. Invariants: no answer means that a block may be stored, now or later,
//! so the same bytes are sent again, and all blocks behind them. A block that is stored before its
//! predecessor is skipped by every node: while there is a follower, it is kept until it is read in its
//! place, even if it was acked.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, pending},
    stream::FuturesOrdered,
};
use parking_lot::Mutex;
use roomlog_core::{
    block,
    episode::Episode,
    journal::{Durable, Follow, JournalError, Position, Proposed},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tracing::warn;

use crate::shared::Counts;

/// How many blocks may wait to be sent for the first time: more than a node proposes at once.
const QUEUE: usize = 64;

/// How many blocks may be unread, acked or not; beyond, the next ones wait. A node has at most as many
/// in flight.
const MAX_UNREAD: usize = 64;

/// The delay before unanswered blocks are sent again.
const RESEND_AFTER: Duration = Duration::from_millis(300);

/// The ack of a block: its position, or why there is none.
pub(crate) type Ack = BoxFuture<'static, Result<Position, String>>;

/// A connection to a stream.
pub(crate) trait Publish: Send + Sync + 'static {
    /// Sends a block after all earlier ones; returns its ack to come. Fails if it was not sent.
    fn publish(&self, block: Bytes) -> BoxFuture<'_, Result<Ack, String>>;
}

struct Request {
    block: Bytes,
    answer: oneshot::Sender<Proposed>,
}

/// A block that was not read in its place yet.
struct Unread {
    block: Bytes,
    /// `None` once it was used.
    answer: Option<oneshot::Sender<Proposed>>,
}

impl Unread {
    fn answer(&mut self, position: Position) {
        if let Some(answer) = self.answer.take() {
            let _proposer_may_be_gone = answer.send(Proposed::Durable(position));
        }
    }
}

#[derive(Default)]
struct Line {
    /// In the order in which they were proposed.
    unread: Mutex<VecDeque<Unread>>,
    /// Followers that read; without one, a block is not kept after its ack.
    followers: AtomicUsize,
    /// Fewer than [`MAX_UNREAD`] again.
    freed: Notify,
    /// One was read before its predecessor.
    gap: Notify,
}

impl Line {
    fn acked(&self, block: &Bytes, position: Position) {
        let mut unread = self.unread.lock();
        if let Some(acked) = unread.iter_mut().find(|it| it.block == *block) {
            acked.answer(position);
        }
        drop(unread);
        self.release_unfollowed();
    }

    /// Without a follower, no block is kept after its ack.
    fn release_unfollowed(&self) {
        if self.followers.load(Ordering::Acquire) == 0 {
            let mut unread = self.unread.lock();
            while unread.pop_front_if(|first| first.answer.is_none()).is_some() {}
            self.freed.notify_one();
        }
    }

    fn read(&self, durable: &Durable) {
        let mut unread = self.unread.lock();
        match unread.iter().position(|it| block::is_same(durable, &it.block)) {
            Some(0) => {
                if unread.len() == MAX_UNREAD {
                    self.freed.notify_one();
                }
                let first = unread.pop_front();
                first.into_iter().for_each(|mut first| first.answer(durable.position));
            }
            Some(_) => self.gap.notify_one(),
            // Another node's, or a copy.
            None => {}
        }
    }

    fn is_full(&self) -> bool {
        self.unread.lock().len() >= MAX_UNREAD
    }

    fn is_unread(&self, block: &Bytes) -> bool {
        self.unread.lock().iter().any(|it| it.block == *block)
    }

    fn blocks(&self) -> Vec<Bytes> {
        self.unread.lock().iter().map(|it| it.block.clone()).collect()
    }
}

/// See the module. Dropping it ends its task; blocks without an answer are then unknown.
pub(crate) struct Resender {
    requests: mpsc::Sender<Request>,
    line: Arc<Line>,
    task: AbortHandle,
}

impl Resender {
    /// Starts on the current runtime.
    pub(crate) fn start(publisher: impl Publish, counts: Arc<Counts>) -> Self {
        let (requests, requested) = mpsc::channel(QUEUE);
        let line = Arc::<Line>::default();
        let sending = Sending {
            publisher,
            line: line.clone(),
            counts,
            acks: FuturesOrdered::new(),
            resend_at: None,
            resends: Episode::default(),
        };
        Self { requests, line, task: tokio::spawn(sending.run(requested)).abort_handle() }
    }

    pub(crate) fn propose(&self, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (answer, answered) = oneshot::channel();
        let queued = self.requests.try_send(Request { block, answer });
        async move {
            match queued {
                Ok(()) => answered
                    .await
                    .unwrap_or_else(|_| Proposed::Unknown("the journal was closed".into())),
                Err(why) => Proposed::Unknown(why.to_string()),
            }
        }
        .boxed()
    }

    /// Learns from a follower's blocks what is durable in its place.
    pub(crate) fn observe(&self, follow: Box<dyn Follow>) -> Box<dyn Follow> {
        self.line.followers.fetch_add(1, Ordering::AcqRel);
        Box::new(ObservedFollow { follow, line: self.line.clone() })
    }
}

impl Drop for Resender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct ObservedFollow {
    follow: Box<dyn Follow>,
    line: Arc<Line>,
}

impl Follow for ObservedFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let durable = self.follow.next().await;
            durable.inspect(|durable| self.line.read(durable))
        }
        .boxed()
    }
}

impl Drop for ObservedFollow {
    fn drop(&mut self) {
        self.line.followers.fetch_sub(1, Ordering::AcqRel);
        self.line.release_unfollowed();
    }
}

type AckOf = BoxFuture<'static, (Bytes, Result<Position, String>)>;

/// The resender's task.
struct Sending<P> {
    publisher: P,
    line: Arc<Line>,
    counts: Arc<Counts>,
    /// In the order of their blocks.
    acks: FuturesOrdered<AckOf>,
    resend_at: Option<Instant>,
    resends: Episode,
}

/// However it ends, by a panic too: nobody waits for an answer for ever.
impl<P> Drop for Sending<P> {
    fn drop(&mut self) {
        self.line.unread.lock().clear();
    }
}

impl<P: Publish> Sending<P> {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let resend_at = self.resend_at;
            let resend = async {
                match resend_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.line.gap.notified() => {
                    self.schedule_resend("an earlier block is missing");
                }
                Some((block, ack)) = self.acks.next() => self.acked(&block, ack),
                () = resend => self.resend().await,
                () = self.line.freed.notified() => {}
                request = requests.recv(), if resend_at.is_none() && !self.line.is_full() => {
                    let Some(Request { block, answer }) = request else { return };
                    let unread = Unread { block: block.clone(), answer: Some(answer) };
                    self.line.unread.lock().push_back(unread);
                    self.send(block).await;
                }
            }
        }
    }

    async fn send(&mut self, block: Bytes) {
        match self.publisher.publish(block.clone()).await {
            Ok(ack) => self.acks.push_back(ack.map(|ack| (block, ack)).boxed()),
            Err(why) => self.schedule_resend(&why),
        }
    }

    fn acked(&mut self, block: &Bytes, ack: Result<Position, String>) {
        match ack {
            Ok(position) => {
                self.line.acked(block, position);
                self.note_recovered();
            }
            Err(why) if self.line.is_unread(block) => self.schedule_resend(&why),
            Err(_) => {}
        }
    }

    fn schedule_resend(&mut self, why: &str) {
        if self.resends.note_failure() {
            warn!(why, "proposing unanswered blocks again");
        }
        Counts::count(&self.counts.resends);
        self.acks = FuturesOrdered::new();
        self.resend_at.get_or_insert_with(|| Instant::now() + RESEND_AFTER);
    }

    /// A copy of a block that turns out to be durable is skipped by every node.
    async fn resend(&mut self) {
        self.resend_at = None;
        // The gap, if there is one, is filled now.
        let _noted = self.line.gap.notified().now_or_never();
        let blocks = self.line.blocks();
        if blocks.is_empty() {
            self.note_recovered();
        }
        for block in blocks {
            if self.resend_at.is_none() {
                self.send(block).await;
            }
        }
    }

    fn note_recovered(&self) {
        if let Some(times) = self.resends.note_success() {
            warn!(times, "blocks that were proposed again are durable");
        }
    }
}

#[cfg(test)]
#[path = "tests/resender.rs"]
mod tests;
