//! The trim: the journal deletes its oldest blocks, a few with each new one.
//!
//! ```text
//!  durable folds ──allow──► upto ─┐
//!  pages in use  ──exceed keep────┴─► a step: deletes rows in the transaction that adds a block
//! ```
//!
//! Steps are part of commits that happen anyway, so a trim costs an ack neither an fsync nor a wait
//! for a lock; only a wipe, after a redaction, deletes in commits of its own. Invariants: `trimmed`
//! changes in the transaction that deletes the rows, and is the head if none is left; a step takes at
//! most [`STEP_ROWS`] rows and, after its first row, [`STEP_BYTES`]; nothing is deleted while a hold exists. Freed pages are overwritten and reused; the file never
//! shrinks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rusqlite::{Connection, params};

use super::rows;

/// The most rows that one commit deletes.
const STEP_ROWS: i64 = 32;

/// The most bytes that one commit deletes after its first row: more than most commits add.
const STEP_BYTES: usize = 128 << 10;

/// The most bytes that are written before the pages in use are counted again.
const MEASURE_EVERY: u64 = 256 << 10;

/// What the trim shares with the thread of the fold and with holds.
#[derive(Default)]
pub(crate) struct Allowed {
    /// The last position that may be trimmed.
    upto: AtomicU64,
    /// The last position that was trimmed.
    trimmed: AtomicU64,
    surplus: AtomicBool,
    /// Shared with the holds: while there is one, nothing is trimmed.
    holds: Arc<()>,
}

impl Allowed {
    pub(crate) fn allow(&self, upto: u64) {
        self.upto.fetch_max(upto, Ordering::AcqRel);
    }

    pub(crate) fn trimmed(&self) -> u64 {
        self.trimmed.load(Ordering::Acquire)
    }

    pub(crate) fn has_surplus(&self) -> bool {
        self.surplus.load(Ordering::Acquire) && !self.is_held()
    }

    pub(crate) fn hold(&self) -> Arc<()> {
        self.holds.clone()
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.holds) > 1
    }
}

/// The writer's side of the trim.
pub(crate) struct Trim {
    /// How many bytes of the file may be in use before blocks are trimmed.
    keep: u64,
    used: u64,
    unmeasured: u64,
    pub(super) allowed: Arc<Allowed>,
}

/// The last row that the next commit deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrimStep {
    position: i64,
    time: i64,
    /// Of the blocks that it deletes, whose pages are overwritten.
    pub(super) bytes: usize,
}

impl Trim {
    pub(crate) fn open(connection: &Connection, keep: u64, trimmed: u64) -> rusqlite::Result<Self> {
        let allowed = Arc::new(Allowed { trimmed: AtomicU64::new(trimmed), ..Allowed::default() });
        let mut trim = Self { keep, used: 0, unmeasured: 0, allowed };
        trim.measure(connection)?;
        Ok(trim)
    }

    /// What the next commit deletes; `None` if the file is small enough, or nothing may be trimmed.
    pub(crate) fn step(&self, connection: &Connection) -> rusqlite::Result<Option<TrimStep>> {
        if self.used <= self.keep {
            return Ok(None);
        }
        self.step_to(connection, self.allowed.upto.load(Ordering::Acquire))
    }

    /// The next step up to a position that may be trimmed, however small the file is; `None` if it is
    /// trimmed, or nothing may be.
    pub(crate) fn step_to(
        &self,
        connection: &Connection,
        upto: u64,
    ) -> rusqlite::Result<Option<TrimStep>> {
        let trimmed = self.allowed.trimmed();
        if upto <= trimmed || self.allowed.is_held() {
            return Ok(None);
        }
        let oldest = "SELECT position, time, length(block) FROM blocks
            WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3";
        let mut statement = connection.prepare_cached(oldest)?;
        let mut rows =
            statement.query(params![trimmed.cast_signed(), upto.cast_signed(), STEP_ROWS])?;
        let (mut step, mut bytes) = (None, 0);
        while let Some(row) = rows.next()? {
            bytes += usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            if step.is_some() && bytes > STEP_BYTES {
                break;
            }
            step = Some(TrimStep { position: row.get(0)?, time: row.get(1)?, bytes });
        }
        Ok(step)
    }

    /// Deletes the rows of a step, inside the transaction that adds a block.
    pub(crate) fn delete(connection: &Connection, step: TrimStep) -> rusqlite::Result<()> {
        let delete = "DELETE FROM blocks WHERE position <= ?1";
        connection.prepare_cached(delete)?.execute([step.position])?;
        rows::set_trimmed(connection, step.position.cast_unsigned(), step.time.cast_unsigned())
    }

    /// Accounts for a commit that wrote `bytes` and deleted the rows of `step`.
    pub(crate) fn committed(
        &mut self,
        connection: &Connection,
        bytes: u64,
        step: Option<TrimStep>,
    ) {
        self.unmeasured += bytes;
        if let Some(step) = step {
            self.allowed.trimmed.store(step.position.cast_unsigned(), Ordering::Release);
        }
        if step.is_some() || self.unmeasured > MEASURE_EVERY.min(self.keep / 8) {
            let _retried_after_a_later_commit = self.measure(connection);
        }
    }

    /// Counts the pages in use. The surplus begins an eighth above `keep`, so that one durable fold
    /// allows many trims.
    fn measure(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let number = |pragma: &str| {
            let value = connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
            value.map(i64::cast_unsigned)
        };
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        self.used = pages * number("page_size")?;
        self.unmeasured = 0;
        let surplus = &self.allowed.surplus;
        if self.used <= self.keep {
            surplus.store(false, Ordering::Release);
        } else if self.used > self.keep.saturating_add(self.keep / 8) {
            surplus.store(true, Ordering::Release);
        }
        Ok(())
    }
}
