//! Watches whether the log is ahead of the clock.
//!
//! Enters: the newest time in the log, and now. Leaves: a warning, and a metric. Times in a room never
//! decrease, so one moment of a clock that is a year ahead dates every entry of that room a year ahead until
//! time has caught up; nothing is lost or reordered.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use roomlog_core::{Node, episode::Episode};
use roomlog_server::Metrics;

/// Between two checks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Clocks that differ by less are in order.
const TOLERATED: Duration = Duration::from_secs(5);

/// Checks for as long as it is polled.
pub(crate) async fn watch(node: &Node, metrics: &Metrics) -> Infallible {
    let episode = Episode::default();
    loop {
        let newest = Duration::from_millis(node.newest_time());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = newest.saturating_sub(now);
        metrics.clock_ahead(ahead);
        if ahead <= TOLERATED {
            if episode.note_success().is_some() {
                tracing::warn!("the clock has caught up with the log");
            }
        } else if episode.note_failure() {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the newest entries are dated ahead of the clock: it went back, or had jumped ahead; \
                 new entries of the same rooms keep that date until it is reached. Check the clock"
            );
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
