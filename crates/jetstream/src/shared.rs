//! What the tasks of a journal share: counters, and how far each stream is known to be.

use std::sync::atomic::{AtomicU64, Ordering};

use roomlog_core::journal::JournalCounts;

/// The last position that a stream is known to have.
#[derive(Debug)]
pub(crate) struct KnownHead(AtomicU64);

impl KnownHead {
    pub(crate) fn new(head: u64) -> Self {
        Self(AtomicU64::new(head))
    }

    pub(crate) fn note(&self, position: u64) {
        self.0.fetch_max(position, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`JournalCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicU64,
    pub(crate) readers_replaced: AtomicU64,
    pub(crate) leader_changes: AtomicU64,
    pub(crate) resends: AtomicU64,
    pub(crate) untrusted_servers: AtomicU64,
}

impl Counts {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> JournalCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalCounts {
            connections: load(&self.connections),
            readers_replaced: load(&self.readers_replaced),
            leader_changes: load(&self.leader_changes),
            resends: load(&self.resends),
            untrusted_servers: load(&self.untrusted_servers),
        }
    }
}
