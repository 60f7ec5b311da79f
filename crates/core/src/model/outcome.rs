//! What became of an append.

/// What became of an append that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log.
    Committed {
        /// Its slot.
        slot: u64,
        /// Its time, ms since the epoch.
        committed_at: u64,
        /// Whether it was there already.
        repeat: bool,
    },
    /// Its id names other content.
    IdReused {
        /// The slot of that content.
        slot: u64,
    },
    /// It would not have got the slot that it expected.
    ExpectFailed {
        /// The latest slot; −1 for none.
        latest: i64,
    },
    /// Nothing is stored: an append before it, in the same queue, was refused and comes first.
    OutOfOrder,
    /// Nothing is stored: the disk is full.
    StorageFull,
    /// Nothing is stored: the node stops.
    Unavailable,
    /// It may be stored, at most once.
    Unknown,
}
