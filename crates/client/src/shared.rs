//! What the handles of a client share with its task.

use std::sync::{Arc, OnceLock};

use roomlog_protocol::{Author, Hello};
use tokio::sync::{Notify, watch};

use crate::ClientError;

/// Whether there is a connection; without one, appends and reads are queued. A client that gave up
/// stays [`State::Reconnecting`], and every call on it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Connected and logged in.
    Connected,
    /// Disconnected, for this reason. The client retries with pauses of up to 5 s.
    Reconnecting(String),
}

pub(crate) struct Shared {
    pub(crate) hello: watch::Sender<Arc<Hello>>,
    /// Whom the server welcomed first.
    pub(crate) author: Author,
    pub(crate) state: watch::Sender<State>,
    /// Why the task ended; set before the channels close.
    pub(crate) end: OnceLock<ClientError>,
    /// Notified when a [`Follow`](crate::Follow) or [`Watch`](crate::Watch) is dropped.
    pub(crate) dropped: Notify,
}

impl Shared {
    pub(crate) fn ended(&self) -> ClientError {
        self.end.get().cloned().unwrap_or(ClientError::Closed)
    }
}

/// Publishes a state if it differs from the last one.
pub(crate) fn publish(to: &watch::Sender<State>, state: State) {
    to.send_if_modified(|known| {
        let is_new = *known != state;
        *known = state;
        is_new
    });
}
