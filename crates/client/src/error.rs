//! The errors of the client, as sentences that say what to do.

use std::{fmt, time::Duration};

use roomlog_protocol::{ErrorCode, ErrorFrame, RoomName};
use thiserror::Error;

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
    /// The address does not lead to a Roomlog server that this client can use: another service,
    /// another protocol version, or a server that requires a token.
    #[error("{address} cannot be used: {why}")]
    Unusable {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection was lost and did not come back within
    /// [`Options::patience`](crate::Options::patience). The outcome of unanswered appends is
    /// unknown; resend them with the same ids.
    #[error("the connection to {address} was lost and did not come back in {} s: {why}", waited.as_secs())]
    Lost {
        /// The address as given.
        address: String,
        /// The last error.
        why: String,
        /// How long the client retried.
        waited: Duration,
    },
    /// The server refused the request. The frame has the code, and `room`, `latest` and `slot`
    /// where they apply.
    #[error("{}", Sentence(.0))]
    Refused(Box<ErrorFrame>),
    /// The server left out a slot, which no server should do. Everything before it is good;
    /// `roomlog verify` finds what is wrong.
    #[error("room {room} has no slot {slot}: {instead}")]
    Hole {
        /// The room.
        room: RoomName,
        /// The missing slot.
        slot: i64,
        /// What came instead.
        instead: String,
    },
    /// The read names slots of a log that the server no longer has: it was restored from a backup,
    /// or is another server. Drop what was read and start over.
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
    /// [`Options::patience`](crate::Options::patience) (`busy`, `storage_full`, `ahead`, …). In the
    /// latter case all later appends to the room fail too, because they may depend on it.
    #[error("{}", Sentence(.0))]
    Refused(Box<ErrorFrame>),
    /// It names a slot (`ref` or `expect`) of a log that the server no longer has, or
    /// [`Options::append_to_new_log`](crate::Options::append_to_new_log) is off. It may or may not
    /// be in the old log. Read the new log, and append again what is missing.
    #[error(
        "the server now has another log, and this append was made for the old one; read the new \
         log, and append again what is missing"
    )]
    NewLog,
    /// The client ended before the outcome was known. Appended again with the same id, it is in the
    /// log once.
    #[error("the outcome of this append is unknown ({0}); append it again with the same id")]
    Unknown(#[from] ClientError),
}

/// A refusal as a sentence: the server's message, the code, and advice.
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
