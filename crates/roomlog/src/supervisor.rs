//! What the service manager is told: systemd, by the socket that `NOTIFY_SOCKET` names (`Type=notify`).
//!
//! Enters: what the server does. Leaves: datagrams, or nothing without such a socket. Invariant: a message
//! that cannot be sent changes nothing: the service manager decides what it means.

use std::time::Duration;

use sd_notify::NotifyState;

/// How much longer a start may take each time that it reports its progress.
pub(crate) const START_EXTENSION: Duration = Duration::from_secs(60);

/// It serves.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// It still starts, and needs more time: a long journal is replayed.
pub(crate) fn starting(status: &str) {
    let more = u32::try_from(START_EXTENSION.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(more), NotifyState::Status(status)]);
}

/// It stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(state) {
        tracing::debug!(%why, "the service manager was not told");
    }
}
