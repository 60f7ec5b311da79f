//! The life cycle of a partition.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    CatchingUp,
    Serving,
    /// All accepted appends are proposed; those in flight are still to be applied.
    Closing,
    Failed,
}

impl Phase {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Closing | Self::Failed)
    }
}
