//! A journal that several nodes share, as a stream on a cluster: late, lossy, and in one order.
//!
//! ```text
//!  propose ──► unread ──publish──► the wire: late, lost, doubled ──► stored ──late──► follow
//!                └────── sent again until it is read in its place ◄───────────────────┘
//! ```
//!
//! Enters: blocks, faults. Leaves: the blocks that were stored, to all nodes. Invariants: what is stored stays,
//! in its place; an engine sends its blocks again, with all behind them, until it reads them one behind the
//! other; what a node that crashed has published may still be stored.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use roomlog_core::{
    block,
    journal::{
        Durable, Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition,
        PeerMessages, Peers, Position, Proposed, Wipe,
    },
};
use tokio::sync::{broadcast, oneshot, watch};

use crate::clock;

/// How long an engine waits for its oldest block before it sends all again, in ms.
const RESEND_AFTER: u64 = 250;

/// How many reports of nodes wait for a slow one.
const REPORTS: usize = 64;

/// How bad the way to and from the stream is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// The longest delay of a publish or a delivery, in ms.
    pub(crate) delay: u64,
    /// How many publishes of 100 are lost.
    pub(crate) lost: u32,
    /// How many of 100 are stored again, up to 5 s later.
    pub(crate) doubled: u32,
}

impl Weather {
    pub(crate) const FINE: Self = Self { delay: 4, lost: 0, doubled: 1 };
    pub(crate) const BAD: Self = Self { delay: 60, lost: 20, doubled: 20 };
}

/// The stream.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Mutex<StreamState>>);

struct StreamState {
    random: SmallRng,
    weather: Weather,
    blocks: Vec<Durable>,
    /// When each is shown to each node.
    shown_at: Vec<Vec<u64>>,
    /// Added to the clock of the journal, in ms.
    skew: i64,
    /// By arrival and number.
    wire: BTreeMap<(u64, u64), Bytes>,
    published: u64,
    engines: Vec<Engine>,
    /// By node.
    cut: Vec<bool>,
    reports: broadcast::Sender<Bytes>,
}

/// What the stream knows of a node.
struct Engine {
    visible: watch::Sender<u64>,
    /// Proposed and not read in its place, oldest first.
    unread: VecDeque<(Bytes, oneshot::Sender<Proposed>)>,
    /// How far it was looked for them.
    read: u64,
    /// When the last publish arrives: the next is not earlier.
    arrives: u64,
    progress: u64,
}

impl Stream {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let engine = |_| Engine {
            visible: watch::channel(0).0,
            unread: VecDeque::new(),
            read: 0,
            arrives: 0,
            progress: 0,
        };
        Self(Arc::new(Mutex::new(StreamState {
            random: SmallRng::seed_from_u64(seed),
            weather: Weather::FINE,
            blocks: Vec::new(),
            shown_at: vec![Vec::new(); nodes],
            skew: 0,
            wire: BTreeMap::new(),
            published: 0,
            engines: (0..nodes).map(engine).collect(),
            cut: vec![false; nodes],
            reports: broadcast::channel(REPORTS).0,
        })))
    }

    /// The engine of a node that starts. What the one before it was waiting for, nobody waits for any more.
    pub(crate) fn engine(&self, node: usize) -> SimJournal {
        let mut state = self.0.lock();
        let end = state.blocks.len() as u64;
        let engine = &mut state.engines[node];
        engine.unread.clear();
        engine.read = end;
        let facts = JournalFacts {
            log: "simulated".into(),
            partitions: 1,
            depth: 8,
            is_blocking: false,
            head_is_exact: false,
            is_exclusive: false,
        };
        SimJournal { facts, node, stream: self.clone() }
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    pub(crate) fn cut(&self, node: usize, is_cut: bool) {
        self.0.lock().cut[node] = is_cut;
    }

    /// Sets by how much the clock of the journal is wrong, in ms.
    pub(crate) fn set_skew(&self, skew: i64) {
        self.0.lock().skew = skew;
    }

    /// Loses all blocks behind a position, as a stream that was restored from an old copy.
    pub(crate) fn set_back(&self, position: u64) {
        let state = &mut *self.0.lock();
        let kept = usize::try_from(position).unwrap_or(usize::MAX);
        state.blocks.truncate(kept);
        state.shown_at.iter_mut().for_each(|shown| shown.truncate(kept));
        state.wire.clear();
        for engine in &mut state.engines {
            engine.unread.clear();
            engine.read = engine.read.min(position);
            engine.visible.send_if_modified(|visible| {
                *visible = (*visible).min(position);
                true
            });
        }
    }

    /// Stores what has arrived, shows it to nodes, and sends again what is late.
    pub(crate) fn advance(&self) {
        let (state, now) = (&mut *self.0.lock(), clock::now());
        while let Some(entry) = state.wire.first_entry().filter(|entry| entry.key().0 <= now) {
            let block = entry.remove();
            state.store(block, now);
        }
        for node in 0..state.engines.len() {
            if !state.cut[node] {
                state.show(node, now);
                state.resend(node, now);
            }
        }
    }
}

impl StreamState {
    fn store(&mut self, block: Bytes, now: u64) {
        let position = Position(self.blocks.len() as u64 + 1);
        let time = clock::wall().saturating_add_signed(self.skew);
        self.blocks.push(Durable { position, time, block });
        for shown in &mut self.shown_at {
            let delay = self.random.random_range(0..=self.weather.delay);
            shown.push(now + delay);
        }
    }

    /// Shows a node what has reached it, and answers its own blocks.
    fn show(&mut self, node: usize, now: u64) {
        let engine = &mut self.engines[node];
        let before = *engine.visible.borrow();
        let from = usize::try_from(before).unwrap_or(usize::MAX);
        let reached = self.shown_at[node].iter().skip(from).take_while(|at| **at <= now).count();
        if reached == 0 {
            return;
        }
        let visible = before + reached as u64;
        engine.visible.send_replace(visible);
        for durable in self.blocks.iter().take(from + reached).skip(from) {
            if durable.position.0 <= engine.read {
                continue;
            }
            engine.read = durable.position.0;
            if engine.unread.front().is_some_and(|(oldest, _)| *oldest == durable.block)
                && let Some((_, answer)) = engine.unread.pop_front()
            {
                engine.progress = now;
                // Nobody waits for it after a crash.
                let _answered = answer.send(Proposed::Durable(durable.position));
            }
        }
    }

    fn resend(&mut self, node: usize, now: u64) {
        let engine = &mut self.engines[node];
        if engine.unread.is_empty() || now < engine.progress + RESEND_AFTER {
            return;
        }
        engine.progress = now;
        let again: Vec<_> = engine.unread.iter().map(|(block, _)| block.clone()).collect();
        again.into_iter().for_each(|block| self.publish(node, block));
    }

    fn publish(&mut self, node: usize, block: Bytes) {
        let Weather { delay, lost, doubled } = self.weather;
        let mut chance = |of_100: u32| self.random.random_ratio(of_100, 100);
        let (is_lost, is_doubled) = (chance(lost), chance(doubled));
        if is_lost || self.cut[node] {
            return;
        }
        let arrives = clock::now() + self.random.random_range(0..=delay);
        let engine = &mut self.engines[node];
        engine.arrives = engine.arrives.max(arrives);
        let arrives = engine.arrives;
        self.published += 1;
        if is_doubled {
            let later = arrives + self.random.random_range(0..5_000);
            self.wire.insert((later, self.published), block.clone());
            self.published += 1;
        }
        self.wire.insert((arrives, self.published), block);
    }
}

/// The engine of one node.
pub(crate) struct SimJournal {
    facts: JournalFacts,
    node: usize,
    stream: Stream,
}

impl Journal for SimJournal {
    fn facts(&self) -> &JournalFacts {
        &self.facts
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        Some(Arc::new(SimPeers { node: self.node, stream: self.stream.clone() }))
    }

    fn counts(&self) -> Option<JournalCounts> {
        None
    }

    fn propose(&self, _: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.stream.0.lock();
        let engine = &mut state.engines[self.node];
        if engine.unread.is_empty() {
            engine.progress = clock::now();
        }
        engine.unread.push_back((block.clone(), answer));
        state.publish(self.node, block);
        async { answered.await.unwrap_or_else(|_| Proposed::Unknown("the engine ended".into())) }
            .boxed()
    }

    fn follow(&self, _: Partition, after: Mark) -> Box<dyn Follow> {
        let visible = self.stream.0.lock().engines[self.node].visible.subscribe();
        Box::new(SimFollow { stream: self.stream.clone(), visible, after })
    }

    fn head(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(*self.stream.0.lock().engines[self.node].visible.borrow()))
    }

    fn first(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(1))
    }

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}

    fn wipe(&self, _: Partition, _: &Wipe) -> Result<bool, JournalError> {
        Ok(true)
    }
}

struct SimFollow {
    stream: Stream,
    visible: watch::Receiver<u64>,
    after: Mark,
}

impl SimFollow {
    fn at(&self, position: u64) -> Option<Durable> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        self.stream.0.lock().blocks.get(index).cloned()
    }
}

impl Follow for SimFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let Mark { position, stamp } = self.after;
            let last = self.at(position.0).map(|durable| block::stamp(&durable.block));
            if stamp.is_some() && last != stamp {
                let why = format!("another block than before is at position {position}");
                return Err(JournalError(why));
            }
            let reached = self.visible.wait_for(|visible| *visible > position.0).await;
            reached.map_err(|_| JournalError("the stream is gone".into()))?;
            let next = self.at(position.0 + 1);
            let next = next.ok_or_else(|| JournalError("the stream was set back".into()))?;
            self.after = Mark { position: next.position, stamp: Some(block::stamp(&next.block)) };
            Ok(next)
        }
        .boxed()
    }
}

/// Reports of nodes to each other; a node that is cut off neither hears nor is heard.
struct SimPeers {
    node: usize,
    stream: Stream,
}

impl Peers for SimPeers {
    fn broadcast(&self, report: Bytes) -> BoxFuture<'_, ()> {
        let state = self.stream.0.lock();
        if !state.cut[self.node] {
            // Nobody may be there.
            let _heard_by = state.reports.send(report);
        }
        futures_util::future::ready(()).boxed()
    }

    fn subscribe(&self) -> BoxFuture<'_, Box<dyn PeerMessages>> {
        let reports = self.stream.0.lock().reports.subscribe();
        let messages = SimMessages { node: self.node, stream: self.stream.clone(), reports };
        let messages: Box<dyn PeerMessages> = Box::new(messages);
        futures_util::future::ready(messages).boxed()
    }
}

struct SimMessages {
    node: usize,
    stream: Stream,
    reports: broadcast::Receiver<Bytes>,
}

impl PeerMessages for SimMessages {
    fn next(&mut self) -> BoxFuture<'_, Bytes> {
        async {
            loop {
                match self.reports.recv().await {
                    Ok(report) if !self.stream.0.lock().cut[self.node] => return report,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => {
                        return std::future::pending().await;
                    }
                }
            }
        }
        .boxed()
    }
}
