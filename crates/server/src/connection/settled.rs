//! What settles an append, over a WebSocket or HTTP.
//!
//! Enters: outcomes of the sequencer, and why it took none. Leaves: a slot, or a code and a sentence
//! that says what the author can do. Invariant: the same outcome has the same code and sentence, by
//! whichever way the append came.

use roomlog_core::{
    append::{inbox::Turned, lane::Effect},
    outcome::Outcome,
};
use roomlog_protocol::{EntryId, ErrorCode, Slot};

use crate::gateway::STOPPING;

/// What settled an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is in the log.
    Appended {
        /// Its id.
        id: EntryId,
        /// Its slot.
        slot: Slot,
        /// Its time.
        committed_at: u64,
        /// Whether it was there already.
        repeat: bool,
    },
    /// It was refused, or nobody knows.
    Error {
        /// The code.
        code: ErrorCode,
        /// A sentence.
        message: String,
        /// The slot that `id_reused` names.
        slot: Option<Slot>,
        /// The latest slot, for `expect_failed`.
        latest: Option<i64>,
    },
}

impl Settled {
    pub(crate) fn error(code: ErrorCode, message: &str) -> Self {
        Self::Error { code, message: message.into(), slot: None, latest: None }
    }

    pub(crate) fn turned(turned: Turned) -> Self {
        match turned {
            Turned::Busy => Self::error(
                ErrorCode::Busy,
                "the server has as much to write as it can hold; send it again a little later",
            ),
            Turned::Closed => Self::unavailable(),
        }
    }

    pub(crate) fn unavailable() -> Self {
        Self::error(ErrorCode::Unavailable, STOPPING)
    }

    pub(crate) fn unknown() -> Self {
        Self::error(
            ErrorCode::UnknownOutcome,
            "it is not known whether this was committed; send it again with the same id",
        )
    }

    /// How it counts for the append's number.
    pub(super) fn effect(&self) -> Effect {
        match self {
            Self::Appended { .. } => Effect::Final,
            Self::Error { code: ErrorCode::UnknownOutcome, .. } => Effect::Unknown,
            Self::Error { code, .. } if code.is_final() => Effect::Final,
            Self::Error { .. } => Effect::Refused,
        }
    }

    /// The outcome of the append of this id.
    pub(crate) fn of(outcome: Outcome, id: EntryId) -> Self {
        match outcome {
            Outcome::Committed { slot, committed_at, repeat } => {
                Self::Appended { id, slot, committed_at, repeat }
            }
            Outcome::IdReused { slot } => Self::Error {
                code: ErrorCode::IdReused,
                message: format!("slot {slot} has this id and says something else; make a new id"),
                slot: Some(slot),
                latest: None,
            },
            Outcome::ExpectFailed { latest } => Self::Error {
                code: ErrorCode::ExpectFailed,
                message: format!("the latest slot is {latest}; read, and decide again"),
                slot: None,
                latest: Some(latest),
            },
            Outcome::OutOfOrder => {
                Self::error(ErrorCode::OutOfOrder, "an append before this one was refused")
            }
            Outcome::StorageFull => Self::error(
                ErrorCode::StorageFull,
                "the server's disk is full; nothing was stored, send it again later",
            ),
            Outcome::Unavailable => Self::unavailable(),
            Outcome::Unknown => Self::unknown(),
        }
    }
}

/// An id for an append that came without one.
pub(crate) fn new_id() -> EntryId {
    let ulid = ulid::Ulid::generate().to_string();
    EntryId::new(&ulid).unwrap_or_else(|error| unreachable!("a ULID is an id: {error}"))
}
