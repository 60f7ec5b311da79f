//! What can go wrong for one who uses the client, each with what can be done about it.

use std::time::Duration;

use roomlog_protocol::{ErrorFrame, RoomName};
use thiserror::Error;

/// Why the client as a whole, or a read, failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// No connection could be made at the first try.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// The address as it was given.
        address: String,
        /// What the system said.
        why: String,
    },
    /// Something answered that is not a Roomlog server that this client can talk to.
    #[error("{address} cannot be used: {why}")]
    Unusable {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection was lost and did not come back for as long as the caller wanted to wait.
    /// What was not answered has an unknown outcome: sent again with the same id it is there once.
    #[error("the connection to {address} was lost and did not come back in {} s: {why}", waited.as_secs())]
    Lost {
        /// The address as it was given.
        address: String,
        /// The last thing that went wrong.
        why: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// The server refused a request.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Box<ErrorFrame>),
    /// The server's answer leaves out a slot.
    #[error("room {room} has no slot {slot}: {instead}")]
    Hole {
        /// The room.
        room: RoomName,
        /// The slot that is missing.
        slot: i64,
        /// What came instead.
        instead: String,
    },
    /// The read names slots of a log that the server no longer has, or spans both.
    #[error(
        "the server now has another log, and what was read before is not part of it; begin again"
    )]
    NewLog,
    /// The client was closed or dropped before the answer came.
    #[error("the client was closed before the answer came")]
    Closed,
}

/// Why an append did not lead to an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The server refused it for good, or for longer than the caller wanted to wait. Nothing is in
    /// the log.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Box<ErrorFrame>),
    /// It names a slot (`ref` or `expect`) of a log that the server no longer has, or was to go to no
    /// other log. Whether it was committed there is not known; its author decides.
    #[error("the server now has another log, and this append was made for the old one")]
    NewLog,
    /// The client failed first; the outcome is not known. Sent again with the same id it is there
    /// once.
    #[error("outcome unknown: {0}")]
    Unknown(#[from] ClientError),
}
