//! The fold: applied entries go into the archive in large windows, on a thread of its own.
//!
//! Enters: what each block did, from the partition, in order. Leaves: windows into the archive, and
//! word to the partition when one is in. Invariant: a window is whole blocks, and the next is begun
//! when the one before is in. What waits here is bounded by the partition, which stops reading the
//! journal at its bound.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use crate::{
    archive::{Applied, Archive, ArchiveError, Window},
    journal::Partition,
    tail::Commit,
};

/// What one block did.
#[derive(Debug, Clone)]
pub struct Effect {
    /// To each room it touched.
    pub commits: Vec<Arc<Commit>>,
    /// What is applied when it is in the archive.
    pub applied: Applied,
}

impl Effect {
    /// How many entries it made.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.commits.iter().map(|commit| commit.entries.len()).sum()
    }
}

/// A window that is in the archive, or why it is not.
pub type Folded = Result<Vec<Effect>, ArchiveError>;

/// When a window is begun.
#[derive(Debug, Clone, Copy)]
pub struct FoldSettings {
    /// As soon as this many entries wait; also the most in one window, but for the last block's.
    pub entries: usize,
    /// When the first of those that wait has waited this long.
    pub wait: Duration,
}

/// What waits to be folded.
pub struct FoldQueue {
    settings: FoldSettings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    effects: VecDeque<Effect>,
    entries: usize,
    closed: bool,
}

impl FoldQueue {
    pub(crate) fn new(settings: FoldSettings) -> Self {
        Self { settings, state: Mutex::default(), changed: Condvar::new() }
    }

    pub(crate) fn push(&self, effect: Effect) {
        let mut state = self.state.lock();
        let before = state.entries;
        let is_first = state.effects.is_empty();
        state.entries += effect.entries();
        state.effects.push_back(effect);
        // Only when it is waited for: waking a thread for each block costs as much as applying one.
        let most = self.settings.entries;
        if is_first || before < most && state.entries >= most {
            self.changed.notify_one();
        }
    }

    /// Lets the thread end; what waits stays in the journal and is replayed at the next start.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for a window; `None` when there will be no more.
    fn next(&self) -> Option<Vec<Effect>> {
        let settings = &self.settings;
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.effects.is_empty() && !state.closed);
        let _timed_out = self.changed.wait_while_for(
            &mut state,
            |state| state.entries < settings.entries && !state.closed,
            settings.wait,
        );
        if state.closed {
            return None;
        }
        let mut window = Vec::new();
        let mut entries = 0;
        while entries < settings.entries {
            let Some(effect) = state.effects.pop_front() else { break };
            entries += effect.entries();
            window.push(effect);
        }
        state.entries -= entries;
        Some(window)
    }
}

/// The fold's thread.
pub struct Folder {
    pub(crate) queue: Arc<FoldQueue>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) partition: Partition,
    pub(crate) done: mpsc::Sender<Folded>,
}

impl Folder {
    /// Folds until the queue is closed or the archive fails; blocks its thread.
    pub fn run(self) {
        while let Some(effects) = self.queue.next() {
            let Some(last) = effects.last() else { continue };
            let window = Window {
                partition: self.partition,
                commits: effects.iter().flat_map(|effect| effect.commits.iter().cloned()).collect(),
                applied: last.applied.clone(),
            };
            let folded = self.archive.fold(&window).map(|()| effects);
            let failed = folded.is_err();
            // A partition that is gone needs no word; one that is there stops on an error.
            if self.done.blocking_send(folded).is_err() || failed {
                return;
            }
        }
    }
}
