//! A journal in memory, which can be full, takes its time from the test, and trims at once.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::sync::watch;

use roomlog_core::journal::{
    Durable, Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
    Position, Proposed, Wipe,
};

/// A journal in memory with one partition.
pub struct MemoryJournal {
    facts: JournalFacts,
    state: Arc<Mutex<State>>,
    head: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Oldest first, those not trimmed.
    blocks: VecDeque<Durable>,
    trimmed: u64,
    time: u64,
    full: bool,
    keeps_little: bool,
    wiped_since: Vec<u64>,
}

impl MemoryJournal {
    /// An empty journal of a log with this name.
    #[must_use]
    pub fn new(log: &str) -> Self {
        let facts = JournalFacts {
            log: log.into(),
            partitions: 1,
            depth: 1,
            is_blocking: false,
            head_is_exact: true,
            is_exclusive: false,
        };
        Self { facts, state: Arc::default(), head: watch::channel(0).0 }
    }

    /// Changes only its properties, not its behaviour.
    #[must_use]
    pub fn described(mut self, describe: impl FnOnce(&mut JournalFacts)) -> Self {
        describe(&mut self.facts);
        self
    }

    /// Sets the time of the next blocks, ms since the epoch.
    pub fn set_time(&self, time: u64) {
        self.state.lock().time = time;
    }

    /// The `since` of each wipe.
    #[must_use]
    pub fn wiped_since(&self) -> Vec<u64> {
        self.state.lock().wiped_since.clone()
    }

    /// Sets whether it is full.
    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// Sets whether it asks for a trim whenever it holds blocks.
    pub fn set_keeps_little(&self, keeps_little: bool) {
        self.state.lock().keeps_little = keeps_little;
    }
}

impl Journal for MemoryJournal {
    fn facts(&self) -> &JournalFacts {
        &self.facts
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        None
    }

    fn counts(&self) -> Option<JournalCounts> {
        None
    }

    fn propose(&self, _: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let mut state = self.state.lock();
        if state.full {
            return futures_util::future::ready(Proposed::Refused("no room".into())).boxed();
        }
        let position = Position(state.trimmed + state.blocks.len() as u64 + 1);
        let time = state.time;
        state.blocks.push_back(Durable { position, time, block });
        self.head.send_replace(position.0);
        futures_util::future::ready(Proposed::Durable(position)).boxed()
    }

    fn follow(&self, _: Partition, after: Mark) -> Box<dyn Follow> {
        Box::new(MemoryFollow {
            state: self.state.clone(),
            head: self.head.subscribe(),
            after: after.position.0,
        })
    }

    fn head(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(*self.head.borrow()))
    }

    fn first(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(self.state.lock().trimmed + 1))
    }

    fn has_surplus(&self, _: Partition) -> bool {
        let state = self.state.lock();
        state.keeps_little && !state.blocks.is_empty()
    }

    fn trim(&self, _: Partition, upto: Position) {
        let state = &mut *self.state.lock();
        while state.blocks.pop_front_if(|oldest| oldest.position <= upto).is_some() {
            state.trimmed += 1;
        }
    }

    fn wipe(&self, partition: Partition, wipe: &Wipe) -> Result<bool, JournalError> {
        self.trim(partition, wipe.upto);
        self.state.lock().wiped_since.push(wipe.since);
        Ok(true)
    }
}

struct MemoryFollow {
    state: Arc<Mutex<State>>,
    head: watch::Receiver<u64>,
    after: u64,
}

impl Follow for MemoryFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let after = self.after;
            self.head
                .wait_for(|head| *head > after)
                .await
                .map_err(|_| JournalError("the journal is closed".into()))?;
            let next = {
                let state = self.state.lock();
                // The first block kept is the one after `trimmed`.
                let index = after.checked_sub(state.trimmed);
                let index = index.and_then(|index| usize::try_from(index).ok());
                index.and_then(|index| state.blocks.get(index).cloned())
            };
            self.after += 1;
            next.ok_or_else(|| JournalError(format!("block {} was trimmed", after + 1)))
        }
        .boxed()
    }
}
