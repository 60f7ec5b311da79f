//! How far a partition is between start and end.

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// ApplierTask what the journal held at the start.
    CatchingUp,
    /// Serving.
    Serving,
    /// Everything that was taken is proposed; what is in flight is still to be applied.
    Closing,
    /// It failed and ends.
    Failed,
}

impl Phase {
    /// Whether no more appends are taken.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Closing | Self::Failed)
    }
}
