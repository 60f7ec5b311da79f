//! The limits of the terminal client, besides those in the server's `hello.limits`.

use std::time::Duration;

/// The most entries of the open room in memory; beyond it the far end is evicted.
pub(crate) const MAX_HELD: usize = 2_000;
/// After this many edits and reactions, those of slots not in memory are evicted.
pub(crate) const MAX_ANNOTATIONS: usize = 10_000;
/// The most of a room's newest entries that are read for their authors while it is not open.
pub(crate) const PEEK: u64 = 50;
/// How many entries to request at once; the server may send fewer.
pub(crate) const PAGE: u64 = 200;
/// More entries are requested when the view comes this close to the end of those in memory.
pub(crate) const NEAR: u64 = 100;
/// The most unsent messages; one more stays in the composer.
pub(crate) const MAX_UNSENT: usize = 256;
/// The most messages in the composer's history.
pub(crate) const MAX_HISTORY: usize = 200;
/// The most completions to list.
pub(crate) const MAX_CHOICES: usize = 20;
/// The most rows of a collapsed entry.
pub(crate) const MAX_ROWS: usize = 30;
pub(crate) const COMPOSER_ROWS: u16 = 8;
/// The least time between two frames.
pub(crate) const FRAME: Duration = Duration::from_millis(16);
/// After how long an unanswered message is shown as unsent.
pub(crate) const SLOW: Duration = Duration::from_millis(400);
/// The most news handled between two frames.
pub(crate) const BURST: usize = 256;
/// The most logs with read marks.
pub(crate) const MAX_LOGS: usize = 16;
