//! Trim: the journal lets go of its oldest blocks, a few with each new one.
//!
//! ```text
//!  fold, durable ──allows──► upto ┐
//!  pages in use  ──more than keep─┴─► a step: a few rows go in the transaction that adds a block
//! ```
//!
//! Enters: what may go, what the file uses. Leaves: steps, as part of commits that are made anyway, so
//! that a trim costs an ack neither an fsync nor a wait for a lock. Invariants: `trimmed` moves in the
//! transaction that deletes the rows; a step never takes the newest block, and never more than
//! [`STEP_ROWS`] rows or, beyond its first row, [`STEP_BYTES`]; nothing goes while someone holds it.
//!
//! The pages that a step frees are used by the next blocks: the file stays as long as it once was.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use rusqlite::{Connection, params};

use super::rows;

/// How many rows one commit deletes at most. Small blocks are less than a page together.
const STEP_ROWS: i64 = 32;

/// How many bytes of blocks one commit deletes, beyond its first row: more than most commits add, so
/// that trimming wins.
const STEP_BYTES: i64 = 128 << 10;

/// How many bytes are written at most before the pages in use are counted again.
const MEASURE_EVERY: u64 = 256 << 10;

/// What the trim shares with the fold's thread and with those who hold it.
#[derive(Default)]
pub(crate) struct Allowed {
    /// Up to which position blocks may go.
    upto: AtomicU64,
    /// Up to which they went.
    trimmed: AtomicU64,
    surplus: AtomicBool,
    holds: AtomicUsize,
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

    fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }
}

/// While it is held nothing is trimmed.
pub struct TrimHold(Arc<Allowed>);

impl TrimHold {
    pub(crate) fn new(allowed: Arc<Allowed>) -> Self {
        allowed.holds.fetch_add(1, Ordering::AcqRel);
        Self(allowed)
    }
}

impl Drop for TrimHold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The writer's side of the trim.
pub(crate) struct Trim {
    /// Bytes of the file in use that are kept.
    keep: u64,
    used: u64,
    unmeasured: u64,
    allowed: Arc<Allowed>,
}

/// Rows that go with the next commit: all up to this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    position: i64,
    time: i64,
}

impl Trim {
    pub(crate) fn open(connection: &Connection, keep: u64, trimmed: u64) -> rusqlite::Result<Self> {
        let allowed = Arc::new(Allowed { trimmed: AtomicU64::new(trimmed), ..Allowed::default() });
        let mut trim = Self { keep, used: 0, unmeasured: 0, allowed };
        trim.measure(connection)?;
        Ok(trim)
    }

    pub(crate) fn allowed(&self) -> Arc<Allowed> {
        self.allowed.clone()
    }

    /// What goes with the next commit, when the file uses more than it should.
    pub(crate) fn step(&self, connection: &Connection) -> rusqlite::Result<Option<Step>> {
        let (trimmed, upto) = (self.allowed.trimmed(), self.allowed.upto.load(Ordering::Acquire));
        if self.used <= self.keep || upto <= trimmed || self.allowed.is_held() {
            return Ok(None);
        }
        let oldest = "SELECT position, time, length(block) FROM blocks
            WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3";
        let mut statement = connection.prepare_cached(oldest)?;
        let mut rows =
            statement.query(params![trimmed.cast_signed(), upto.cast_signed(), STEP_ROWS])?;
        let (mut step, mut bytes) = (None, 0);
        while let Some(row) = rows.next()? {
            bytes += row.get::<_, i64>(2)?;
            if step.is_some() && bytes > STEP_BYTES {
                break;
            }
            step = Some(Step { position: row.get(0)?, time: row.get(1)? });
        }
        Ok(step)
    }

    /// Deletes the rows of a step; inside the transaction that adds a block.
    pub(crate) fn delete(connection: &Connection, step: Step) -> rusqlite::Result<()> {
        let delete = "DELETE FROM blocks WHERE position <= ?1";
        connection.prepare_cached(delete)?.execute([step.position])?;
        rows::set_trimmed(connection, step.position.cast_unsigned(), step.time.cast_unsigned())
    }

    /// A commit that wrote this much, and took this step, is on the disk.
    pub(crate) fn committed(&mut self, connection: &Connection, bytes: u64, step: Option<Step>) {
        self.unmeasured += bytes;
        if let Some(step) = step {
            self.allowed.trimmed.store(step.position.cast_unsigned(), Ordering::Release);
        }
        if step.is_some() || self.unmeasured > MEASURE_EVERY.min(self.keep / 8) {
            // Not counted now, it is counted after a later commit.
            let _later = self.measure(connection);
        }
    }

    /// Counts the pages in use. Begins to ask for a trim an eighth above what is kept, so that a fold has
    /// to be made durable once for many.
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
