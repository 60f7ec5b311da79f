//! The wipe: removes from the files what redactions removed from the log.
//!
//! Enters: positions up to which the journal is to keep no block, after the folds of their redactions.
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
        archive::{Archive, ArchiveError},
        journal::{Journal, Partition, Position},
    },
};

/// The least time between two wipes: appends wait for some tens of milliseconds while the journal's WAL is
/// emptied.
const WIPE_EVERY: Duration = Duration::from_secs(5);

/// The delay before a wipe that is not done is continued.
const WIPE_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Wiper {
    journal: Arc<dyn Journal>,
    archive: Arc<dyn Archive>,
    partition: Partition,
    upto: Position,
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
        upto: Position,
    ) -> Self {
        let next = (upto > Position(0)).then(Instant::now);
        Self { journal, archive, partition, upto, next, ended: None, failures: Episode::default() }
    }

    /// Notes that what was folded is to be wiped up to a position.
    pub(crate) fn note(&mut self, upto: Position) {
        if upto > self.upto {
            self.upto = upto;
            let next = self.ended.map_or_else(Instant::now, |ended| ended + WIPE_EVERY);
            self.next.get_or_insert(next);
        }
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
        let is_done = match self.wipe() {
            Err(ArchiveError::NoRoom(_)) => false,
            wiped => wiped?,
        };
        let now = Instant::now();
        self.ended = Some(now);
        self.next = (!is_done).then_some(now + WIPE_AGAIN_AFTER);
        Ok(())
    }

    fn wipe(&mut self) -> Result<bool, ArchiveError> {
        let durable = self.archive.make_durable(self.partition)?;
        let is_journal_wiped = match self.journal.wipe(self.partition, self.upto.min(durable)) {
            Ok(is_done) => is_done && self.upto <= durable,
            Err(why) => {
                if self.failures.note_failure() {
                    warn!(%why, "the journal still holds redacted texts; trying again");
                }
                false
            }
        };
        Ok(self.archive.wipe()? && is_journal_wiped)
    }
}
