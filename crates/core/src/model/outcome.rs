//! What became of an append: one type from the sequencer to the wire.
//!
//! The gateway's table turns it into an error code, an HTTP status and a sentence.

use roomlog_protocol::{Refusal, Slot};

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is in the log.
    Committed {
        /// Its slot.
        slot: Slot,
        /// Its time, ms since the epoch.
        committed_at: u64,
        /// Whether it was in the log before.
        repeat: bool,
    },
    /// Its id belongs to an entry with other content.
    IdReused {
        /// The slot of that entry.
        slot: Slot,
    },
    /// It would not have got the slot that it expected.
    ExpectFailed {
        /// The latest slot; −1 if the log is empty.
        latest: i64,
    },
    /// The log did not reach the slot of its `ref` in time.
    BadRef,
    /// It is malformed or over a limit.
    Invalid(Box<Refusal>),
    /// Its `seq` was used with another id.
    SeqReused,
    /// It has a `seq` and others of its lane have none, or the other way round.
    SeqMixed,
    /// The log did not reach the slot of its `after` in time.
    Ahead,
    /// An append before it in its queue was rejected and comes first.
    OutOfOrder {
        /// The number of that append, if it is known here.
        expected: Option<u64>,
    },
    /// The node holds as many appends as it may.
    Busy,
    /// The disk is full.
    StorageFull,
    /// The node stops.
    Unavailable,
    /// It may be stored, at most once.
    Unknown,
}

impl AppendOutcome {
    /// Whether sending the same append again cannot change it. A final outcome uses up the append's
    /// `seq`; after any other the same number comes again.
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
