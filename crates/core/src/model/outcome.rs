//! The outcome of an append: one type from the sequencer to the wire.
//!
//! The gateway maps it to an error code, an HTTP status and a message.

use roomlog_protocol::{Latest, Refusal, Slot};

/// The outcome of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is in the log.
    Committed {
        /// Its slot.
        slot: Slot,
        /// Its time, ms since the epoch.
        committed_at: u64,
        /// Whether it was already in the log.
        repeat: bool,
    },
    /// Its id belongs to an entry with other content.
    IdReused {
        /// The slot of that entry.
        slot: Slot,
    },
    /// Its `expect` is not the next slot.
    ExpectFailed {
        /// The latest slot; −1 if the log is empty.
        latest: Latest,
    },
    /// The log did not reach its `ref` in time.
    BadRef,
    /// It is malformed or exceeds a limit.
    Invalid(Box<Refusal>),
    /// Its `seq` was already used with another id.
    SeqReused,
    /// Its lane mixes appends with and without a `seq`.
    SeqMixed,
    /// The log did not reach its `after` in time.
    Ahead,
    /// An earlier append of its queue was rejected and must come first.
    OutOfOrder {
        /// The `seq` of that append, if known here.
        expected: Option<u64>,
    },
    /// The node is at its limit of pending appends.
    Busy,
    /// The disk is full.
    StorageFull,
    /// The node is stopping.
    Unavailable,
    /// It may or may not be stored, at most once.
    Unknown,
}

impl AppendOutcome {
    /// Whether a resend of the same append cannot change it. A final outcome uses up the append's
    /// `seq`; after any other the same `seq` is expected again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Committed { .. }
            | Self::IdReused { .. }
            | Self::ExpectFailed { .. }
            | Self::BadRef
            | Self::SeqReused
            | Self::SeqMixed => true,
            Self::Invalid(refusal) => refusal.code.is_final(),
            Self::Ahead
            | Self::OutOfOrder { .. }
            | Self::Busy
            | Self::StorageFull
            | Self::Unavailable
            | Self::Unknown => false,
        }
    }
}
