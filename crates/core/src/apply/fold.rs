//! The fold: moves applied entries into the archive in large windows, on its own thread.
//!
//! Enters: the effect of each block, in order. Leaves: windows, to the archive; the applier is
//! notified of each. Invariants: a window is complete blocks, and begins after the previous one is
//! folded. If the archive is full, the window is retried: the journal has it, and the applier
//! bounds what is pending by not reading further. The journal is trimmed only here, and only up to
//! a position that the archive has on stable storage.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::{
    episode::Episode,
    model::{
        applied::Applied,
        archive::{Archive, ArchiveError, Urgency, Window},
        commit::Commit,
        journal::{Journal, Partition, Position},
    },
    yielding::Yielder,
};

/// The delay before a window that did not fit is retried.
const RETRY_AFTER: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub commits: Vec<Arc<Commit>>,
    pub applied: Applied,
    entries: usize,
    bytes: usize,
}

/// The size of what is applied and not folded, or its limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unfolded {
    /// Entries, and one for each block without any, because it is queued too.
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl Effect {
    /// Counted here, once: later the entries are no longer in the processor's caches, and counting
    /// would delay appends.
    pub(crate) fn new(commits: Vec<Arc<Commit>>, applied: Applied) -> Self {
        let entries = commits.iter().map(|commit| commit.entries.len()).sum();
        let bytes = commits.iter().map(|commit| commit.weight()).sum();
        Self { commits, applied, entries, bytes }
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    pub(crate) fn counted(&self) -> Unfolded {
        Unfolded { entries: self.entries.max(1), bytes: self.bytes }
    }
}

/// The effects of a folded window, or why the fold failed.
pub(crate) type FoldResult = Result<Vec<Effect>, ArchiveError>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct FoldSettings {
    /// As soon as this many entries are queued; also the size of a window, rounded up to a whole
    /// block.
    pub entries: usize,
    /// When the oldest queued entry has waited this long.
    pub wait: Duration,
}

pub(crate) struct FoldQueue {
    settings: FoldSettings,
    state: Mutex<FoldState>,
    changed: Condvar,
    folded: watch::Sender<Position>,
    /// The urgency of the current window: it is waited for, or much is queued behind it.
    urgency: Urgency,
}

#[derive(Default)]
struct FoldState {
    effects: VecDeque<Effect>,
    entries: usize,
    /// Effects up to this position are folded without waiting for more.
    urgent_upto: Position,
    closed: bool,
}

impl FoldState {
    fn is_due(&self, settings: &FoldSettings) -> bool {
        let is_urgent = |effect: &Effect| effect.applied.position <= self.urgent_upto;
        self.closed
            || self.entries >= settings.entries
            || self.effects.front().is_some_and(is_urgent)
    }
}

impl FoldQueue {
    pub(crate) fn new(settings: FoldSettings, applied: Position) -> Self {
        let folded = watch::channel(applied).0;
        let (state, changed, urgency) = (Mutex::default(), Condvar::new(), Urgency::default());
        Self { settings, state, changed, folded, urgency }
    }

    /// Folds up to this position without waiting for more, and at full speed.
    pub(crate) fn expedite(&self, upto: Position) {
        let mut state = self.state.lock();
        state.urgent_upto = state.urgent_upto.max(upto);
        self.urgency.set(true);
        self.changed.notify_one();
    }

    /// The position up to which everything is in the archive.
    pub(crate) fn folded(&self) -> watch::Receiver<Position> {
        self.folded.subscribe()
    }

    pub(crate) fn push(&self, effect: Effect) {
        let mut state = self.state.lock();
        let before = state.entries;
        let is_first = state.effects.is_empty();
        state.entries += effect.counted().entries;
        state.effects.push_back(effect);
        let most = self.settings.entries;
        // A full window is queued behind the current one.
        if state.entries >= most {
            self.urgency.set(true);
        }
        // Only if the thread waits for it: waking it for each block costs as much as applying one.
        if is_first || before < most && state.entries >= most {
            self.changed.notify_one();
        }
    }

    /// Ends the thread; what is queued is replayed from the journal at the next start.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        // `Node::stop` waits for the current window.
        self.urgency.set(true);
        self.changed.notify_one();
    }

    /// Waits for a window; `None` if the queue is closed.
    fn next(&self) -> Option<Vec<Effect>> {
        let settings = &self.settings;
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.effects.is_empty() && !state.closed);
        let _timed_out =
            self.changed.wait_while_for(&mut state, |state| !state.is_due(settings), settings.wait);
        if state.closed {
            return None;
        }
        let waited_for =
            state.effects.front().is_some_and(|it| it.applied.position <= state.urgent_upto);
        let mut window = Vec::new();
        let mut entries = 0;
        while entries < settings.entries {
            let Some(effect) = state.effects.pop_front() else { break };
            entries += effect.counted().entries;
            window.push(effect);
        }
        state.entries -= entries;
        self.urgency.set(waited_for || state.entries >= settings.entries / 4);
        Some(window)
    }

    /// Waits before a retry; `false` if the queue is closed.
    fn wait_to_retry(&self) -> bool {
        let mut state = self.state.lock();
        let _timed_out =
            self.changed.wait_while_for(&mut state, |state| !state.closed, RETRY_AFTER);
        !state.closed
    }
}

pub(crate) struct Folder {
    pub(crate) queue: Arc<FoldQueue>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) partition: Partition,
    pub(crate) done: mpsc::Sender<FoldResult>,
    pub(crate) no_room: Episode,
}

impl Folder {
    /// Folds until the queue is closed or the archive fails; blocks its thread.
    pub(crate) fn run(self) {
        while let Some(effects) = self.queue.next() {
            let Some(last) = effects.last() else { continue };
            let mut pacer = Yielder::default();
            let commits = effects.iter().flat_map(|effect| effect.commits.iter().cloned());
            let window = Window {
                partition: self.partition,
                commits: commits.inspect(|_| pacer.after_piece()).collect(),
                applied: last.applied.clone(),
                urgency: self.queue.urgency.clone(),
            };
            let position = last.applied.position;
            let folded = match self.fold(&window) {
                // Closed before there was room: replayed at the next start.
                Err(ArchiveError::NoRoom(_)) => return,
                folded => folded.map(|()| effects),
            };
            if folded.is_ok() {
                self.queue.folded.send_replace(position);
            }
            let failed = folded.is_err();
            // The applier has ended, or ends because of this error.
            if self.done.blocking_send(folded).is_err() || failed {
                return;
            }
        }
    }

    /// Folds a window; retries while there is no room.
    fn fold(&self, window: &Window) -> Result<(), ArchiveError> {
        loop {
            let folded = self.fold_once(window);
            match &folded {
                Err(ArchiveError::NoRoom(why)) if self.no_room.note_failure() => {
                    warn!(why, "the fold waits for room in the archive");
                }
                Ok(()) => {
                    if let Some(tries) = self.no_room.note_success() {
                        warn!(tries, "there is room in the archive again");
                    }
                }
                Err(_) => {}
            }
            if !matches!(folded, Err(ArchiveError::NoRoom(_))) || !self.queue.wait_to_retry() {
                return folded;
            }
        }
    }

    /// Folds a window and, if the journal keeps more than it should, allows it to trim what is on
    /// stable storage here.
    fn fold_once(&self, window: &Window) -> Result<(), ArchiveError> {
        self.archive.fold(window)?;
        if self.journal.has_surplus(self.partition) {
            let durable = self.archive.make_durable(self.partition)?;
            self.journal.trim(self.partition, durable);
        }
        Ok(())
    }
}
