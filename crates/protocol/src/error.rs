//! The protocol's error codes, HTTP statuses and close codes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EntryId, Latest, RoomName, Slot};

/// The codes of `error` frames and HTTP errors. `docs/PROTOCOL.md`, "Errors", defines what each
/// means and what a client should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // PROTOCOL.md documents them.
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
    /// Whether this refuses an append for good: it consumes its `seq`, and a retry cannot succeed.
    #[must_use]
    pub fn is_final(self) -> bool {
        use ErrorCode::{BadMessage, BadName, BadRef, ExpectFailed, Forbidden, IdReused, TooLarge};
        matches!(
            self,
            BadMessage | BadName | BadRef | TooLarge | Forbidden | IdReused | ExpectFailed
        )
    }

    /// Whether the client should wait and retry.
    #[must_use]
    pub fn is_transient(self) -> bool {
        use ErrorCode::{Busy, RateLimited, StorageFull, Unavailable};
        matches!(self, RateLimited | Busy | Unavailable | StorageFull)
    }

    /// The HTTP status.
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

/// A refusal: the code, a sentence for people, and what could be read of the refused frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of error, for programs.
    pub code: ErrorCode,
    /// A sentence: what happened, to what, what to do.
    pub message: String,
    /// The room of the frame.
    pub room: Option<RoomName>,
    /// The id of the append.
    pub id: Option<EntryId>,
    /// The `seq` of the append; for `out_of_order` the expected one.
    pub seq: Option<u64>,
    /// The `req` of the frame.
    pub req: Option<i64>,
    /// The room's latest slot, if it is part of the answer.
    pub latest: Option<Latest>,
    /// For `id_reused`: the slot of the entry with that id.
    pub slot: Option<Slot>,
    /// How long to wait before a retry, in ms, if it is known.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal that identifies no frame yet.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let (room, id, seq, req) = (None, None, None, None);
        let (latest, slot, retry_after_ms) = (None, None, None);
        Self { code, message: message.into(), room, id, seq, req, latest, slot, retry_after_ms }
    }
}

/// The WebSocket close codes that a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// 1000: the client closed.
    Normal = 1000,
    /// 1001: the client was silent for `idle_ms`.
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
    /// 1013: the server is at one of its limits; try later.
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
