//! The fold: applied entries go into the archive in large windows, on a thread of its own.
//!
//! Enters: what each block did, from the partition, in order. Leaves: windows into the archive, and
//! word to the partition when one is in. Invariant: a window is whole blocks, and the next is begun
//! when the one before is in. A window that finds no room is tried again until it is in: the journal has
//! it, and what waits here is bounded by the partition, which stops reading the journal at its bound. The
//! journal is told to let go of blocks here and nowhere else, and only up to a position that the archive
//! has on stable storage.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::{
    episode::Episode,
    give_way::GiveWay,
    model::{
        applied::Applied,
        archive::{Archive, ArchiveError, Hurry, Window},
        commit::Commit,
        journal::{Journal, Partition, Position},
    },
};

/// How long a window that found no room waits before it is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// What one block did.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    /// To each room it touched.
    pub commits: Vec<Arc<Commit>>,
    /// What is applied when it is in the archive.
    pub applied: Applied,
    entries: usize,
    bytes: usize,
}

/// What waits to be folded, or how much of it may.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unfolded {
    /// Entries, and one for each block that made none, because it waits too.
    pub(crate) entries: usize,
    /// Bytes of memory, near enough for a bound.
    pub(crate) bytes: usize,
}

impl Effect {
    /// What a block did, counted once: whoever counts later finds it gone from the processor's caches,
    /// and appends wait for that.
    pub(crate) fn new(commits: Vec<Arc<Commit>>, applied: Applied) -> Self {
        let entries = commits.iter().map(|commit| commit.entries.len()).sum();
        let bytes = commits.iter().map(|commit| commit.weight()).sum();
        Self { commits, applied, entries, bytes }
    }

    /// How many entries it made.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// What it counts for while it waits.
    pub(crate) fn counted(&self) -> Unfolded {
        Unfolded { entries: self.entries.max(1), bytes: self.bytes }
    }
}

/// A window that is in the archive, or why it is not.
pub(crate) type Folded = Result<Vec<Effect>, ArchiveError>;

/// When a window is begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoldSettings {
    /// As soon as this many entries wait; also the most in one window, but for the last block's.
    pub entries: usize,
    /// When the first of those that wait has waited this long.
    pub wait: Duration,
}

/// What waits to be folded.
pub(crate) struct FoldQueue {
    settings: FoldSettings,
    state: Mutex<State>,
    changed: Condvar,
    folded: watch::Sender<Position>,
    /// Whether the window that is being folded is waited for, or much waits behind it.
    hurry: Hurry,
}

#[derive(Default)]
struct State {
    effects: VecDeque<Effect>,
    entries: usize,
    /// Up to this position nothing waits for others to go with.
    hurry: Position,
    closed: bool,
}

impl State {
    fn is_due(&self, settings: &FoldSettings) -> bool {
        let hurries = |effect: &Effect| effect.applied.position <= self.hurry;
        self.closed || self.entries >= settings.entries || self.effects.front().is_some_and(hurries)
    }
}

impl FoldQueue {
    /// A queue behind an archive that has taken in this much.
    pub(crate) fn new(settings: FoldSettings, applied: Position) -> Self {
        let folded = watch::channel(applied).0;
        let (state, changed, hurry) = (Mutex::default(), Condvar::new(), Hurry::default());
        Self { settings, state, changed, folded, hurry }
    }

    /// Folds up to this position without waiting for others to go with.
    pub(crate) fn hurry(&self, upto: Position) {
        let mut state = self.state.lock();
        state.hurry = state.hurry.max(upto);
        self.hurry.set(true);
        self.changed.notify_one();
    }

    /// Up to which position all is in the archive.
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
        // A whole window waits behind the one that is being folded.
        if state.entries >= most {
            self.hurry.set(true);
        }
        // Only when it is waited for: waking a thread for each block costs as much as applying one.
        if is_first || before < most && state.entries >= most {
            self.changed.notify_one();
        }
    }

    /// Lets the thread end; what waits stays in the journal and is replayed at the next start.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        // Whoever ends the node waits for the window that is being folded.
        self.hurry.set(true);
        self.changed.notify_one();
    }

    /// Waits for a window; `None` when there will be no more.
    fn next(&self) -> Option<Vec<Effect>> {
        let settings = &self.settings;
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.effects.is_empty() && !state.closed);
        let _timed_out =
            self.changed.wait_while_for(&mut state, |state| !state.is_due(settings), settings.wait);
        if state.closed {
            return None;
        }
        let waited_for = state.effects.front().is_some_and(|it| it.applied.position <= state.hurry);
        let mut window = Vec::new();
        let mut entries = 0;
        while entries < settings.entries {
            let Some(effect) = state.effects.pop_front() else { break };
            entries += effect.counted().entries;
            window.push(effect);
        }
        state.entries -= entries;
        self.hurry.set(waited_for || state.entries >= settings.entries / 4);
        Some(window)
    }
}

impl FoldQueue {
    /// Waits until a window that found no room is to be tried again; `false` when there is no more
    /// time for that.
    fn again(&self) -> bool {
        let mut state = self.state.lock();
        let _timed_out = self.changed.wait_while_for(&mut state, |state| !state.closed, AGAIN);
        !state.closed
    }
}

/// The fold's thread.
pub(crate) struct Folder {
    pub(crate) queue: Arc<FoldQueue>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) partition: Partition,
    pub(crate) done: mpsc::Sender<Folded>,
    pub(crate) no_room: Episode,
}

impl Folder {
    /// Folds until the queue is closed or the archive fails; blocks its thread.
    pub(crate) fn run(self) {
        while let Some(effects) = self.queue.next() {
            let Some(last) = effects.last() else { continue };
            let mut way = GiveWay::default();
            let commits = effects.iter().flat_map(|effect| effect.commits.iter().cloned());
            let window = Window {
                partition: self.partition,
                commits: commits.inspect(|_| way.after_piece()).collect(),
                applied: last.applied.clone(),
                hurry: self.queue.hurry.clone(),
            };
            let position = last.applied.position;
            let folded = match self.fold(&window) {
                // Closed before there was room: the next start replays it.
                Err(ArchiveError::NoRoom(_)) => return,
                folded => folded.map(|()| effects),
            };
            if folded.is_ok() {
                self.queue.folded.send_replace(position);
            }
            let failed = folded.is_err();
            // A partition that is gone needs no word; one that is there stops on an error.
            if self.done.blocking_send(folded).is_err() || failed {
                return;
            }
        }
    }

    /// Folds a window, for as long as there is no room for it.
    fn fold(&self, window: &Window) -> Result<(), ArchiveError> {
        loop {
            let folded = self.take_in(window);
            match &folded {
                Err(ArchiveError::NoRoom(why)) if self.no_room.begins() => {
                    warn!(why, "what was committed waits for room in the archive");
                }
                Ok(()) => {
                    if let Some(tries) = self.no_room.ends() {
                        warn!(tries, "there is room in the archive again");
                    }
                }
                Err(_) => {}
            }
            if !matches!(folded, Err(ArchiveError::NoRoom(_))) || !self.queue.again() {
                return folded;
            }
        }
    }

    /// Folds a window and, when the journal keeps more than it should, lets it let go of what is on
    /// stable storage here.
    fn take_in(&self, window: &Window) -> Result<(), ArchiveError> {
        self.archive.fold(window)?;
        if self.journal.has_surplus(self.partition) {
            let durable = self.archive.make_durable(self.partition)?;
            self.journal.trim(self.partition, durable);
        }
        Ok(())
    }
}
