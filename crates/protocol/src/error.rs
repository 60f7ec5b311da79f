//! What can go wrong, in the words of the contract: error codes, statuses, close codes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EntryId, RoomName, Slot};

/// The codes of `error` frames and HTTP errors. `docs/PROTOCOL.md`, "Errors", says what each means
/// and what a client should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The contract's table documents them; repeating it here would be a second truth.
pub enum ErrorCode {
    BadMessage,
    BadName,
    BadRef,
    TooLarge,
    Forbidden,
    IdReused,
    ExpectFailed,
    LoginRequired,
    Unauthorized,
    NotFound,
    OutOfOrder,
    Ahead,
    Diverged,
    RateLimited,
    Busy,
    Unavailable,
    StorageFull,
    UnknownOutcome,
}

impl ErrorCode {
    /// Whether an append that gets this error uses its `seq` up: sending it again cannot help.
    #[must_use]
    pub fn is_final(self) -> bool {
        use ErrorCode::{BadMessage, BadName, BadRef, ExpectFailed, Forbidden, IdReused, TooLarge};
        matches!(
            self,
            BadMessage | BadName | BadRef | TooLarge | Forbidden | IdReused | ExpectFailed
        )
    }

    /// Whether the client should wait and send the same again.
    #[must_use]
    pub fn is_transient(self) -> bool {
        use ErrorCode::{Busy, RateLimited, StorageFull, Unavailable};
        matches!(self, RateLimited | Busy | Unavailable | StorageFull)
    }

    /// The status of an HTTP answer with this error.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadMessage | Self::BadName | Self::BadRef => 400,
            Self::LoginRequired | Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::IdReused | Self::Ahead | Self::Diverged | Self::OutOfOrder => 409,
            Self::ExpectFailed => 412,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Busy | Self::Unavailable => 503,
            Self::UnknownOutcome => 504,
            Self::StorageFull => 507,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A refusal: the code, a sentence for a person, and what could be read of the frame it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What went wrong.
    pub code: ErrorCode,
    /// A sentence: what happened, to what, what to do.
    pub message: String,
    /// The room that the refused frame named, when it could be read.
    pub room: Option<RoomName>,
    /// The id of the refused append, when it could be read.
    pub id: Option<EntryId>,
    /// The number of the refused append; for `out_of_order` the one expected.
    pub seq: Option<u64>,
    /// The client's own mark of the frame.
    pub req: Option<i64>,
    /// Where the log of the room ends, when that is part of the answer.
    pub latest: Option<i64>,
    /// The slot that the id of an `id_reused` has.
    pub slot: Option<Slot>,
}

impl Refusal {
    /// A refusal that names nothing yet.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            room: None,
            id: None,
            seq: None,
            req: None,
            latest: None,
            slot: None,
        }
    }
}

/// The WebSocket close codes that a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// 1000: the client closed.
    Normal = 1000,
    /// 1001: nothing was heard from the client for `idle_ms`.
    GoingAway = 1001,
    /// 1002: not a WebSocket frame.
    Protocol = 1002,
    /// 1003: a binary frame.
    Unsupported = 1003,
    /// 1007: a text frame that is not UTF-8.
    NotUtf8 = 1007,
    /// 1008: no login in time.
    Policy = 1008,
    /// 1009: a frame larger than `frame_bytes`.
    TooBig = 1009,
    /// 1012: the server restarts; reconnect with jitter.
    Restarting = 1012,
    /// 1013: the server is at a bound of its own; try later.
    TryLater = 1013,
    /// 4400: a frame that is not a well-formed JSON object, or is nested too deep.
    NotJson = 4400,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_same_spelling_on_the_wire_and_in_words() {
        assert_eq!(ErrorCode::UnknownOutcome.to_string(), "unknown_outcome");
        assert_eq!(serde_json::to_string(&ErrorCode::BadRef).expect("JSON"), "\"bad_ref\"");
        assert!(ErrorCode::ExpectFailed.is_final() && !ErrorCode::UnknownOutcome.is_final());
    }
}
