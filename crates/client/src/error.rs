//! The errors of the client, as sentences that say what to do.

use std::{fmt, time::Duration};

use roomlog_protocol::{ErrorCode, ErrorFrame, RoomName, Slot};
use thiserror::Error;

use crate::TlsProblem;

/// Why the client, a read, a follow or a watch failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// No server answered the first attempt. Start one, or wait for it with
    /// [`Client::connect_when_up`](crate::Client::connect_when_up).
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// The address as given.
        address: String,
        /// The system's error.
        why: String,
    },
    /// Not a server that this client can use: another service, another protocol version, or one
    /// that requires a token.
    #[error("{address} cannot be used: {why}")]
    Unusable {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no TLS session with the server, and no other attempt would have one.
    #[error("no TLS session with {address}: {problem}")]
    Tls {
        /// The address as given.
        address: String,
        /// Why not.
        problem: TlsProblem,
    },
    /// The server takes only clients with a token: set
    /// [`Options::token`](crate::Options::token).
    #[error("{address} needs a token, and there is none")]
    TokenNeeded {
        /// The address as given.
        address: String,
    },
    /// The connection did not come back within
    /// [`Options::retry_timeout`](crate::Options::retry_timeout).
    #[error("the connection to {address} was lost and did not come back in {} s: {why}", waited.as_secs())]
    Lost {
        /// The address as given.
        address: String,
        /// The last error.
        why: String,
        /// How long the client retried.
        waited: Duration,
    },
    /// The server refused the request. The frame has the code, and details where they apply.
    #[error("{}", Sentence(.0))]
    Refused(Box<ErrorFrame>),
    /// The server left out a slot, which is a bug. Everything before it is good; `roomlog verify`
    /// checks the log.
    #[error("room {room} has no slot {slot}: {instead}")]
    Hole {
        /// The room.
        room: RoomName,
        /// The missing slot.
        slot: Slot,
        /// What came instead.
        instead: String,
    },
    /// The read names slots of a log that the server no longer has. Drop what was read, start over.
    #[error(
        "the server now has another log, and what was read before is not part of it; start over"
    )]
    NewLog,
    /// The same client followed the room again; it follows each room once.
    #[error(
        "this follow of room {room} ended because the same client followed the room again; use \
         another client for a second one"
    )]
    Replaced {
        /// The room.
        room: RoomName,
    },
    /// The client was closed or dropped before the answer came.
    #[error("the client was closed before the answer came")]
    Closed,
}

/// Why an append did not become an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The server refused it, and it is not in the log: for good, or for longer than
    /// [`Options::retry_timeout`](crate::Options::retry_timeout) (`busy`, `storage_full`, `ahead`,
    /// …). In the latter case all later appends to the room fail too, because they may depend on
    /// it.
    #[error("{}", Sentence(.0))]
    Refused(Box<ErrorFrame>),
    /// The server has another log, and the append names a slot of the old one (`ref`, `expect`) or
    /// [`Options::append_to_new_log`](crate::Options::append_to_new_log) is off. It may or may not
    /// be in the old log.
    #[error(
        "the server now has another log, and this append was made for the old one; read the new \
         log, and append again what is missing"
    )]
    NewLog,
    /// The client ended before the outcome was known. Append it again with the same id.
    #[error("the outcome of this append is unknown ({0}); append it again with the same id")]
    Unknown(#[from] ClientError),
}

struct Sentence<'a>(&'a ErrorFrame);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorFrame { code, message, .. } = self.0;
        write!(f, "{message} ({code})")?;
        match advice(*code) {
            "" => Ok(()),
            advice => write!(f, "; {advice}"),
        }
    }
}

fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::IdReused => "append it with a new id",
        ErrorCode::ExpectFailed => "read the entries since then, and decide again",
        ErrorCode::Ahead => "name a slot that the log has",
        ErrorCode::Diverged => "drop the entries you have, and read again",
        ErrorCode::RateLimited | ErrorCode::Busy | ErrorCode::Unavailable => "try again later",
        ErrorCode::StorageFull => "try again when the server has space",
        ErrorCode::UnknownOutcome => "append it again with the same id",
        // The message says what is wrong with the request.
        ErrorCode::BadMessage
        | ErrorCode::BadName
        | ErrorCode::BadRef
        | ErrorCode::TooLarge
        | ErrorCode::Forbidden
        | ErrorCode::LoginRequired
        | ErrorCode::Unauthorized
        | ErrorCode::NotFound
        | ErrorCode::OutOfOrder => "",
    }
}
