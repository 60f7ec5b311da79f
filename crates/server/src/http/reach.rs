//! Waiting for a log to reach a slot, and the refusals of reads and waits that fail.

use std::sync::Arc;

use roomlog_core::{archive::ArchiveError, tail::Tail};
use roomlog_protocol::{ErrorCode, Latest, Refusal, Slot};

use crate::gateway::{Gateway, STOPPING, stopped};

/// Waits up to `ahead_ms` until the log ends at `end` or later; `false` at once if the server
/// stops.
pub(super) async fn reach(gateway: &Gateway, tail: &Arc<Tail>, end: Slot) -> bool {
    tokio::select! {
        reached = tokio::time::timeout(gateway.config.limits.ahead_for, tail.reached(end)) => reached.is_ok(),
        () = stopped(gateway.stopping.clone()) => false,
    }
}

pub(super) fn ahead(tail: &Tail) -> Refusal {
    let latest = Some(Latest::before(tail.head().end));
    Refusal { latest, ..Refusal::new(ErrorCode::Ahead, "the log has not reached that slot") }
}

/// `unavailable` if the server stops, else the refusal of a wait that failed.
pub(super) fn stopped_or(gateway: &Gateway, refusal: Refusal) -> Refusal {
    if *gateway.stopping.borrow() {
        Refusal::new(ErrorCode::Unavailable, STOPPING)
    } else {
        refusal
    }
}

pub(super) fn unreadable(gateway: &Gateway, problem: &ArchiveError) -> Refusal {
    gateway.note_unreadable(problem);
    Refusal::new(ErrorCode::Unavailable, problem.to_string())
}
