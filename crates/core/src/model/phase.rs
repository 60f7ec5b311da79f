//! The life cycle of a partition.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Applying what the journal held at the start.
    CatchingUp,
    Serving,
    /// All accepted appends are proposed; those in flight are still to be applied.
    Closing,
    Failed,
}

impl Phase {
    /// Whether it accepts no more appends.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Closing | Self::Failed)
    }
}
