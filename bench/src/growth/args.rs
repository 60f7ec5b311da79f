//! The options of `growth`.

use std::path::PathBuf;

use crate::{args::ServerArgs, spread::Spread};

/// What is measured.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "At each size: entries per second since the previous size, until acked and \
    until folded; acks of appends at a rate, between two measurements of append + fdatasync of blocks \
    of the same size; then, with no other load, random pages of 50, a single writer, memory, \
    files and starts.\n\n\
    Appends at the rate come in rounds around the size, half of them before it and half after. In \
    each round an uncounted run-in comes first, so the archive folds all the while. A size too \
    small for that uses a new log for each round; the last one grows on. Each round of a later \
    size follows a round of the first size on a log of its own; the result is the median of the \
    ratios of their p50s, because this machine may differ more from minute to minute than the \
    sizes do.\n\n\
    Ack times count from when each append was due, in ticks of 250 µs, so a stall shows in every \
    append that it delays, and so do delays of this program. Times since sending and inside the \
    server are shown too. Those inside the server come from its histograms, with six buckets per \
    decade, and are interpolated. After an error, what was measured so far is printed."
)]
pub(crate) struct GrowthArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Sizes in entries, from 10,000, ascending; sizes too close to each other are rejected.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000,10000000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) at: Vec<u64>,
    /// Rooms.
    #[arg(long, default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rooms: u32,
    /// How entries, and the pages that are read, are spread over the rooms.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "zipf,uniform")]
    pub(super) spread: Vec<Spread>,
    /// Bytes in a body.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    pub(super) body: u32,
    /// Appends per second at the rate.
    #[arg(long, default_value_t = 50_000,
        value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub(super) rate: u32,
    /// Seconds of them that count, if the size allows as many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(super) paced: u64,
    /// Seconds of the floor before them, and again after them, in all rounds together.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(super) floor_seconds: u32,
    /// Pages that are read.
    #[arg(long, default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) pages: u32,
    /// Limit on the seconds of growing to a size.
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) load_seconds: u64,
    /// Write the figures to this CSV file as well, after each size.
    #[arg(long)]
    pub(super) csv: Option<PathBuf>,
    /// Write plots to this directory, which is created if necessary.
    #[arg(long)]
    pub(super) plots: Option<PathBuf>,
}
