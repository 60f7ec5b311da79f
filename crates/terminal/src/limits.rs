//! The limits of the terminal client. What the server tells in `hello.limits` comes on top.

use std::time::Duration;

/// The most entries that are held of the open room; the far end is let go of beyond it.
pub(crate) const MOST_HELD: usize = 2_000;
/// After so many edits and reactions, those about slots that are not held are let go of.
pub(crate) const MOST_ABOUTS: usize = 10_000;
/// The most of a room's newest entries that are looked at for who wrote them, while it is not open.
pub(crate) const PEEK: u64 = 50;
/// How many entries are asked for at once; the server may send fewer.
pub(crate) const PAGE: u64 = 200;
/// With fewer entries than this between the view and the end of what is held, more are asked for.
pub(crate) const NEAR: u64 = 100;
/// The most texts that have no answer; one more stays in the composer.
pub(crate) const MOST_UNSENT: usize = 256;
/// The most texts that the history of the composer keeps.
pub(crate) const MOST_HISTORY: usize = 200;
/// The most names that are shown to choose from.
pub(crate) const MOST_CHOICES: usize = 20;
/// The most rows of one entry, until it is asked to be shown whole.
pub(crate) const MOST_ROWS: usize = 30;
/// The most rows of the composer.
pub(crate) const COMPOSER_ROWS: u16 = 8;
/// The least time between two drawings.
pub(crate) const FRAME: Duration = Duration::from_millis(16);
/// A text without an answer for longer is shown as on its way; most are in the log sooner.
pub(crate) const SLOW: Duration = Duration::from_millis(400);
/// The most pieces of news taken between two drawings.
pub(crate) const BURST: usize = 256;
/// The most logs of which it is kept how far they were read.
pub(crate) const MOST_LOGS: usize = 16;
