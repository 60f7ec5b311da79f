//! Appends at a rate, and which of them count.
//!
//! Enters: a rate, seconds, rooms, rounds. Leaves: what is due, and quantiles of the ack times that count.
//! Invariant: the first second never counts, because no fold has begun in it.

use std::time::Duration;

use crate::{supply::Supply, table::quantile};

/// How much is appended, and how often that is measured.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct AtRate {
    /// Appends a second.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Seconds of each, of which the first is not counted: no fold has begun in it.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(2..=600))]
    pub(crate) seconds: u64,
    /// Rooms, which are taken by Zipf's law.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rooms: u32,
    /// Rounds; each measures all of them once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
}

impl AtRate {
    /// How many appends that is.
    pub(crate) fn entries(&self) -> u64 {
        u64::from(self.rate) * self.seconds
    }

    /// The appends; what falls behind may take three times its time.
    pub(crate) fn supply(&self) -> Supply {
        Supply::paced(self.entries(), self.rate, Duration::from_secs(3 * self.seconds))
    }

    /// p50, p99 and p99.9 in ms, of the times of all appends, in µs and in their order.
    pub(crate) fn times_ms(&self, us: &[f64]) -> [f64; 3] {
        let counted = us.get(self.rate as usize..).unwrap_or_default();
        [0.5, 0.99, 0.999].map(|q| quantile(counted, q) / 1e3)
    }
}
