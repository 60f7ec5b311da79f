//! What can go wrong for one who uses the client, as sentences that say what to do about it.

use std::{fmt, time::Duration};

use roomlog_protocol::{ErrorCode, ErrorFrame, RoomName};
use thiserror::Error;

/// Why the client as a whole, a read, a following or a watch failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// No server answered at the first try: nothing listens there, the name has no address, or the
    /// server is too busy to greet. Start it, or wait for it with
    /// [`Client::connect_when_up`](crate::Client::connect_when_up).
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// The address as it was given.
        address: String,
        /// What the system said.
        why: String,
    },
    /// Something answered that is not a Roomlog server that this client can talk to: another service,
    /// another version of the protocol, or a server that asks for a token. Connect to another address.
    #[error("{address} cannot be used: {why}")]
    Unusable {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection was lost and did not come back within [`Options::patience`](crate::Options::patience).
    /// What was not answered has an unknown outcome: sent again with the same id it is in the log once.
    #[error("the connection to {address} was lost and did not come back in {} s: {why}", waited.as_secs())]
    Lost {
        /// The address as it was given.
        address: String,
        /// The last thing that went wrong.
        why: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// The server refused the request. The frame has the code, for programs, and what applies of `room`,
    /// `latest` and `slot`.
    #[error("{}", Sentence(.0))]
    Refused(Box<ErrorFrame>),
    /// The server's answer leaves out a slot, which no server should do. What was read up to there is good;
    /// `roomlog verify` on the server's side finds what is wrong.
    #[error("room {room} has no slot {slot}: {instead}")]
    Hole {
        /// The room.
        room: RoomName,
        /// The slot that is missing.
        slot: i64,
        /// What came instead.
        instead: String,
    },
    /// The read names slots of a log that the server no longer has, or would span both: the server was
    /// restored from a backup, or is another one. Drop what was read, and begin again.
    #[error(
        "the server now has another log, and what was read before is not part of it; begin again"
    )]
    NewLog,
    /// This client follows the room anew, and a client follows a room once. Use a client of its own for
    /// each following that is to stay.
    #[error(
        "room {room} is followed anew by the same client, which ended this following; use another \
         client for a second one"
    )]
    Replaced {
        /// The room.
        room: RoomName,
    },
    /// The client was closed or dropped before the answer came.
    #[error("the client was closed before the answer came")]
    Closed,
}

/// Why an append did not lead to an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The server refused it, and nothing is in the log: for good, or for longer than
    /// [`Options::patience`](crate::Options::patience) (`busy`, `storage_full`, `ahead`, …). In the latter
    /// case those behind it in the same room are refused with it, because they may depend on it.
    #[error("{}", Sentence(.0))]
    Refused(Box<ErrorFrame>),
    /// It names a slot (`ref` or `expect`) of a log that the server no longer has, or
    /// [`Options::append_to_new_log`](crate::Options::append_to_new_log) is off. It may or may not have been
    /// committed to the old log. Read the new log, and append again what is missing.
    #[error(
        "the server now has another log, and this append was made for the old one; read the new \
         log, and append again what is missing"
    )]
    NewLog,
    /// The client ended before the outcome was known. Sent again with the same id it is in the log once.
    #[error(
        "it is not known whether this append is in the log ({0}); append it again with the same id"
    )]
    Unknown(#[from] ClientError),
}

/// A refusal as a sentence: what the server said, its code, and what can be done.
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
        ErrorCode::ExpectFailed => "read what came meanwhile, and decide again",
        ErrorCode::Ahead => "ask for a slot that the log has",
        ErrorCode::Diverged => "drop what you hold, and read again",
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
