//! The wipe: removes from the files what redactions removed from the log.
//!
//! Enters: which blocks of the journal hold texts that are removed, before the folds of their removals.
//! Leaves: calls of [`Journal::wipe`] and [`Archive::wipe`], on the folding thread. Invariants: the
//! journal loses only what the archive has on stable storage; a wipe is tried until it is done, and again
//! after the next start; an error of the archive ends the node, since a flush that failed once may
//! succeed the next time without having written anything.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use crate::{
    episode::Episode,
    model::{
        applied::Unwiped,
        archive::{Archive, ArchiveError, IdKey},
        head::Known,
        journal::{AreRemoved, Journal, Partition, Wipe},
        proposal::Proposal,
    },
};

/// The least time between two wipes, which write and sync as much as they remove.
const WIPE_EVERY: Duration = Duration::from_secs(5);

/// The delay before a wipe that is not done is continued.
const WIPE_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Wiper {
    journal: Arc<dyn Journal>,
    archive: Arc<dyn Archive>,
    partition: Partition,
    /// What is being wiped; none between two wipes.
    current: Unwiped,
    /// The journal has removed it.
    is_journal_wiped: bool,
    /// What the next wipe removes besides.
    later: Unwiped,
    are_removed: Arc<AreRemoved>,
    /// When the next wipe begins; `None` if there is nothing to wipe.
    next: Option<Instant>,
    ended: Option<Instant>,
    failures: Episode,
}

impl Wiper {
    /// What the start before this one had to wipe, it may not have.
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        archive: Arc<dyn Archive>,
        partition: Partition,
        unwiped: Unwiped,
    ) -> Self {
        let next = (!unwiped.is_none()).then(Instant::now);
        let read = archive.clone();
        let are_removed = Arc::new(move |proposals: &[Proposal]| are_removed(&*read, proposals));
        let (current, ended, failures) = (Unwiped::default(), None, Episode::default());
        let (later, is_journal_wiped) = (unwiped, false);
        Self {
            journal,
            archive,
            partition,
            current,
            is_journal_wiped,
            later,
            are_removed,
            next,
            ended,
            failures,
        }
    }

    /// Notes what is to be wiped.
    pub(crate) fn note(&mut self, unwiped: Unwiped) {
        if !unwiped.is_none() {
            self.later = self.later.and(unwiped);
            let next = self.ended.map_or_else(Instant::now, |ended| ended + WIPE_EVERY);
            self.next.get_or_insert(next);
        }
    }

    /// What is still to be wiped.
    pub(crate) fn unwiped(&self) -> Unwiped {
        self.current.and(self.later)
    }

    /// How long until the next wipe; `None` if there is nothing to wipe.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// Wipes, if it is time. Fails if the archive does.
    pub(crate) fn run(&mut self) -> Result<(), ArchiveError> {
        if self.patience() != Some(Duration::ZERO) {
            return Ok(());
        }
        if self.current.is_none() {
            self.current = std::mem::take(&mut self.later);
            self.is_journal_wiped = false;
        }
        let is_done = match self.wipe() {
            Err(ArchiveError::NoRoom(_)) => false,
            wiped => wiped?,
        };
        let now = Instant::now();
        self.ended = Some(now);
        self.next = Some(now + WIPE_AGAIN_AFTER);
        if is_done {
            self.current = Unwiped::default();
            self.next = (!self.later.is_none()).then_some(now + WIPE_EVERY);
        }
        Ok(())
    }

    fn wipe(&mut self) -> Result<bool, ArchiveError> {
        if !self.is_journal_wiped {
            self.is_journal_wiped = self.wipe_journal()?;
        }
        Ok(self.archive.wipe()? && self.is_journal_wiped)
    }

    fn wipe_journal(&mut self) -> Result<bool, ArchiveError> {
        let durable = self.archive.make_durable(self.partition)?;
        let Unwiped { since, upto } = self.current;
        let are_removed = self.are_removed.clone();
        let wipe = Wipe { since, upto: upto.min(durable), are_removed };
        Ok(match self.journal.wipe(self.partition, &wipe) {
            Ok(is_done) => is_done && upto <= durable,
            Err(why) => {
                if self.failures.note_failure() {
                    warn!(%why, "the journal still holds redacted texts; trying again");
                }
                false
            }
        })
    }
}

/// Whether the entries of these proposals are redacted.
fn are_removed(archive: &dyn Archive, proposals: &[Proposal]) -> Result<Vec<bool>, String> {
    let known = archive.find(&proposals.iter().map(IdKey::of).collect::<Vec<_>>());
    let is_removed = |known: Option<Known>| known.is_some_and(|known| known.original.is_redacted());
    Ok(known.map_err(|why| why.to_string())?.into_iter().map(is_removed).collect())
}
