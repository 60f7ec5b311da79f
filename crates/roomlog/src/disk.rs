//! Watches the free space of the data directory's file system.
//!
//! Enters: a directory and a reserve. Leaves: whether the node takes appends, and a metric.
//! Invariant: appends never use the reserve, but for what comes within one [`INTERVAL`]; folds,
//! checkpoints and the operator do. They are taken again when there is an eighth more than the
//! reserve, so that the state does not change every second.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    time::Duration,
};

use roomlog_core::{Node, episode::Episode};
use roomlog_server::Metrics;
use rustix::fs::{StatVfs, statvfs};

/// The default reserve, in bytes, unless that is more than [`SHARE`] of the file system.
pub(crate) const RESERVE: u64 = 256 << 20;
/// The part of a small file system that is the default reserve.
const SHARE: u64 = 50;
/// Between two checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Checks for as long as it is polled. `reserve` is in bytes, `None` means the default.
pub(crate) async fn watch(
    node: &Node,
    data: &Path,
    reserve: Option<u64>,
    metrics: &Metrics,
) -> Infallible {
    let (episode, mut is_low) = (Episode::default(), false);
    loop {
        if let Some(space) = space(data.into()).await {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let reserve = self::reserve(&space, reserve);
            is_low = free < if is_low { reserve.saturating_add(reserve / 8) } else { reserve };
            metrics.disk_free(free);
            report(&episode, is_low, (free, reserve));
            node.set_disk_low(is_low);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// How much of a file system appends leave free, in bytes; `set` is the setting.
pub(crate) fn reserve(space: &StatVfs, set: Option<u64>) -> u64 {
    let share = space.f_blocks.saturating_mul(space.f_frsize) / SHARE;
    set.unwrap_or(share.min(RESERVE))
}

/// Of a file system that does not answer, a thread waits for the answer.
async fn space(data: PathBuf) -> Option<StatVfs> {
    let asked = tokio::task::spawn_blocking(move || statvfs(&data)).await;
    match asked {
        Ok(Ok(space)) => Some(space),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the free disk space is not known");
            None
        }
        Err(_) => None,
    }
}

fn report(episode: &Episode, is_low: bool, (free, reserve): (u64, u64)) {
    if is_low {
        if episode.note_failure() {
            tracing::warn!(
                free,
                disk_reserve_bytes = reserve,
                "the disk is full up to its reserve; appends are refused until there is more room"
            );
        }
    } else if episode.note_success().is_some() {
        tracing::warn!(free, "the disk has more than its reserve again; appends are taken");
    }
}
