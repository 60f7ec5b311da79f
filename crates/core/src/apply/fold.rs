//! The fold: moves applied entries into the archive in large windows, on a thread of its own if there are
//! threads.
//!
//! Enters: the effect of each block, in order. Leaves: windows, to the archive; the applier is
//! notified of each. Invariants: a window is complete blocks, and begins after the previous one is
//! folded. If the archive is full, the window is retried: the journal has it, and the applier
//! bounds what is pending by not reading further. The journal is trimmed only here, and only up to
//! a position that the archive has on stable storage. After a window that removed texts, the files
//! are wiped ([`Wiper`]) of what is as old as the oldest of them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout_at},
};
use tracing::warn;

use crate::{
    apply::wiper::Wiper,
    budget::Charge,
    episode::Episode,
    model::{
        applied::{Applied, JournalClock, Unwiped},
        archive::{Archive, ArchiveError, Degree, Urgency, Window},
        commit::{Commit, ENTRY_WEIGHT},
        journal::{Journal, Partition, Position},
    },
    yielding::Yielder,
};

/// The delay before a window that did not fit is retried.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How many windows, in bytes, are queued when the fold counts as behind: more than half of what one
/// principal may hold.
const WINDOWS_BEHIND: usize = 3;

#[derive(Debug)]
pub(crate) struct Effect {
    pub commits: Vec<Arc<Commit>>,
    pub applied: Applied,
    /// Of `applied.unwiped`, the blocks that have a text again.
    copies: Unwiped,
    entries: usize,
    bytes: usize,
    charges: Vec<Charge>,
}

impl Effect {
    /// Counted here, once: later the entries are no longer in the processor's caches, and counting
    /// would delay appends.
    pub(crate) fn new(
        commits: Vec<Arc<Commit>>,
        applied: Applied,
        copies: Unwiped,
        charges: Vec<Charge>,
    ) -> Self {
        let entries = commits.iter().map(|commit| commit.entries.len()).sum();
        let bytes: usize = commits.iter().map(|commit| commit.weight()).sum();
        let bytes = bytes.max(ENTRY_WEIGHT);
        Self { commits, applied, copies, entries, bytes, charges }
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Its entries; one for a block without any, because it is queued too.
    pub(crate) fn counted(&self) -> usize {
        self.entries.max(1)
    }

    /// Approximate bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The effects of a folded window, or why the fold failed.
pub(crate) type FoldResult = Result<Vec<Effect>, ArchiveError>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct FoldSettings {
    /// As soon as this many entries are queued; also the size of a window, rounded up to a whole
    /// block.
    pub entries: usize,
    /// The same, in bytes.
    pub bytes: usize,
    /// When the oldest queued entry has waited this long.
    pub wait: Duration,
}

pub(crate) struct FoldQueue {
    settings: FoldSettings,
    state: Mutex<FoldState>,
    changed: Notify,
    folded: watch::Sender<Position>,
    /// The urgency of the current window: it is waited for, or much is queued behind it.
    urgency: Urgency,
}

#[derive(Default)]
struct FoldState {
    effects: VecDeque<Effect>,
    entries: usize,
    bytes: usize,
    /// Effects up to this position are folded without waiting for more.
    urgent_upto: Position,
    closed: bool,
}

impl FoldState {
    /// Whether a full window is queued.
    fn is_full(&self, settings: &FoldSettings) -> bool {
        self.entries >= settings.entries || self.bytes >= settings.bytes
    }

    /// The urgency of the window before those that are queued.
    fn degree(&self, settings: &FoldSettings) -> Degree {
        if self.bytes >= settings.bytes.saturating_mul(WINDOWS_BEHIND) {
            Degree::Behind
        } else if self.is_full(settings) {
            Degree::Urgent
        } else {
            Degree::Gentle
        }
    }

    fn is_due(&self, settings: &FoldSettings) -> bool {
        let is_urgent = |effect: &Effect| effect.applied.position <= self.urgent_upto;
        self.closed || self.is_full(settings) || self.effects.front().is_some_and(is_urgent)
    }
}

impl FoldQueue {
    pub(crate) fn new(settings: FoldSettings, applied: Position) -> Self {
        let folded = watch::channel(applied).0;
        let (state, changed, urgency) = (Mutex::default(), Notify::new(), Urgency::default());
        Self { settings, state, changed, folded, urgency }
    }

    /// Folds up to this position without waiting for more, and at full speed.
    pub(crate) fn expedite(&self, upto: Position) {
        let mut state = self.state.lock();
        state.urgent_upto = state.urgent_upto.max(upto);
        self.urgency.raise(Degree::Urgent);
        self.changed.notify_one();
    }

    /// The position up to which everything is in the archive.
    pub(crate) fn folded(&self) -> watch::Receiver<Position> {
        self.folded.subscribe()
    }

    pub(crate) fn push(&self, effect: Effect) {
        let mut state = self.state.lock();
        let was_full = state.is_full(&self.settings);
        let is_first = state.effects.is_empty();
        state.entries += effect.counted();
        state.bytes += effect.bytes();
        state.effects.push_back(effect);
        let is_full = state.is_full(&self.settings);
        self.urgency.raise(state.degree(&self.settings));
        // Only if the fold waits for it: waking it for each block costs as much as applying one.
        if is_first || is_full && !was_full {
            self.changed.notify_one();
        }
    }

    /// Ends the fold; what is queued is replayed from the journal at the next start.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        // `Node::stop` waits for the current window.
        self.urgency.raise(Degree::Urgent);
        self.changed.notify_one();
    }

    /// Waits until the state is as asked; `false` if it is not by then.
    async fn wait(&self, is: impl Fn(&FoldState) -> bool, by: Option<Instant>) -> bool {
        while !is(&self.state.lock()) {
            match by {
                None => self.changed.notified().await,
                Some(by) if timeout_at(by, self.changed.notified()).await.is_err() => {
                    return is(&self.state.lock());
                }
                Some(_) => {}
            }
        }
        true
    }

    /// Waits for a window; an empty one if none came within `patience`. `None` if the queue is closed.
    async fn next(&self, patience: Option<Duration>) -> Option<Vec<Effect>> {
        let settings = &self.settings;
        let has_work = |state: &FoldState| !state.effects.is_empty() || state.closed;
        if !self.wait(has_work, patience.map(|patience| Instant::now() + patience)).await {
            return Some(Vec::new());
        }
        self.wait(|state| state.is_due(settings), Some(Instant::now() + settings.wait)).await;
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let waited_for =
            state.effects.front().is_some_and(|it| it.applied.position <= state.urgent_upto);
        let mut window = Vec::new();
        let (mut entries, mut bytes) = (0, 0);
        while entries < settings.entries && bytes < settings.bytes {
            let Some(effect) = state.effects.pop_front() else { break };
            entries += effect.counted();
            bytes += effect.bytes();
            window.push(effect);
        }
        state.entries -= entries;
        state.bytes -= bytes;
        let is_urgent = waited_for
            || state.entries >= settings.entries / 4
            || state.bytes >= settings.bytes / 4;
        let least = if is_urgent { Degree::Urgent } else { Degree::Gentle };
        self.urgency.set(state.degree(settings).max(least));
        Some(window)
    }

    /// Waits before a retry; `false` if the queue is closed.
    async fn wait_to_retry(&self) -> bool {
        !self.wait(|state| state.closed, Some(Instant::now() + RETRY_AFTER)).await
    }
}

pub(crate) struct Folder {
    pub(crate) queue: Arc<FoldQueue>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) partition: Partition,
    pub(crate) done: mpsc::Sender<FoldResult>,
    pub(crate) no_room: Episode,
    pub(crate) wiper: Wiper,
    /// The last position that a process before this one may have begun to fold.
    pub(crate) replayed: Position,
}

impl Folder {
    /// Folds until the queue is closed or the archive fails. Waits for the disk in place.
    pub(crate) async fn run(mut self) {
        while let Some(effects) = self.queue.next(self.wiper.patience()).await {
            if !self.fold_window(effects).await || !self.wipe().await {
                return;
            }
        }
    }

    /// Folds a window, if it is not empty; `false` if nothing can follow.
    async fn fold_window(&mut self, mut effects: Vec<Effect>) -> bool {
        let Some(last) = effects.last() else { return true };
        let position = last.applied.position;
        let unwiped = MaybeUnwiped::of(&effects, self.replayed);
        // Kept with the window, so that the next start knows of it.
        let applied =
            Applied { unwiped: self.wiper.unwiped().and(unwiped.all), ..last.applied.clone() };
        let window = self.window(&effects, applied);
        let folded = match self.fold(&window).await {
            // Closed before there was room: replayed at the next start.
            Err(ArchiveError::NoRoom(_)) => return false,
            // The accounts get theirs back here: the applier must not be delayed.
            folded => folded.map(|folded| {
                self.wiper.note(unwiped.after(&folded));
                effects.iter_mut().for_each(|effect| effect.charges.clear());
                effects
            }),
        };
        let is_folded = folded.is_ok();
        if is_folded {
            self.queue.folded.send_replace(position);
        }
        // The applier has ended, or ends because of this error.
        self.done.send(folded).await.is_ok() && is_folded
    }

    fn window(&self, effects: &[Effect], applied: Applied) -> Window {
        let mut pacer = Yielder::new(&self.queue.urgency);
        let commits = effects.iter().flat_map(|effect| effect.commits.iter().cloned());
        let commits = commits.inspect(|_| pacer.after_piece()).collect();
        let (partition, urgency) = (self.partition, self.queue.urgency.clone());
        Window { partition, commits, applied, urgency }
    }

    /// Wipes, if it is time; `false` if the archive failed, of which the applier is told.
    async fn wipe(&mut self) -> bool {
        let Err(why) = self.wiper.run() else { return true };
        let _or_the_applier_has_ended = self.done.send(Err(why)).await;
        false
    }

    /// Folds a window; retries while there is no room.
    async fn fold(&self, window: &Window) -> Result<Folded, ArchiveError> {
        let mut is_first_try = true;
        loop {
            let folded = self.fold_once(window);
            match &folded {
                Err(ArchiveError::NoRoom(why)) if self.no_room.note_failure() => {
                    warn!(why, "the fold waits for room in the archive");
                }
                Ok(_) => {
                    if let Some(tries) = self.no_room.note_success() {
                        warn!(tries, "there is room in the archive again");
                    }
                }
                Err(_) => {}
            }
            let is_full = matches!(folded, Err(ArchiveError::NoRoom(_)));
            if !is_full || !self.queue.wait_to_retry().await {
                return folded.map(|oldest| Folded { oldest, is_first_try });
            }
            is_first_try = false;
        }
    }

    /// Folds a window and, if the journal keeps more than it should, allows it to trim what is on
    /// stable storage here.
    fn fold_once(&self, window: &Window) -> Result<Option<u64>, ArchiveError> {
        let oldest = self.archive.fold(window)?;
        if self.journal.has_surplus(self.partition) {
            let durable = self.archive.make_durable(self.partition)?;
            self.journal.trim(self.partition, durable);
        }
        Ok(oldest)
    }
}

/// A window that was folded.
struct Folded {
    /// What [`Archive::fold`] says.
    oldest: Option<u64>,
    /// If not, an earlier try may have removed some texts, of which `oldest` says nothing.
    is_first_try: bool,
}

/// Which blocks may hold texts that a window removes.
#[derive(Clone, Copy)]
struct MaybeUnwiped {
    /// As the applier knows: from the first entry that a removal may concern on, whatever its text.
    all: Unwiped,
    /// Those of them that have a text again.
    copies: Unwiped,
    clock: JournalClock,
    /// The process before this one may have begun to fold it.
    may_be_begun: bool,
}

impl MaybeUnwiped {
    fn of(effects: &[Effect], replayed: Position) -> Self {
        let (mut all, mut copies) = (Unwiped::default(), Unwiped::default());
        for effect in effects {
            all = all.and(effect.applied.unwiped);
            copies = copies.and(effect.copies);
        }
        let clock = effects.last().map(|last| last.applied.clock).unwrap_or_default();
        let may_be_begun = effects.first().is_some_and(|it| it.applied.position <= replayed);
        Self { all, copies, clock, may_be_begun }
    }

    /// After the fold: an `erase` concerns thousands of entries, of which most may have been erased long ago.
    fn after(self, folded: &Folded) -> Unwiped {
        if self.may_be_begun || !folded.is_first_try {
            return self.all;
        }
        let removed = folded.oldest.map_or_else(Unwiped::default, |oldest| Unwiped {
            since: self.clock.earliest(oldest),
            upto: self.all.upto,
        });
        self.copies.and(removed)
    }
}
