//! What a server measures of itself, as `GET /metrics` tells it: the Prometheus text format.
//!
//! Enters: what happens, one atomic or two at a time. Leaves: text. Invariants: nothing on the path of
//! an append or of an entry to its followers takes a lock or allocates for this; what can be counted
//! when it is asked for is counted then, aside. The core reads no clock, so the journal is timed from
//! outside, through its contract ([`Metrics::time_journal`]).

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector, exponential_buckets,
};
use roomlog_core::{
    Node, NodeStats,
    block::BLOCK_ENTRIES,
    journal::{Journal, JournalCounts},
};
use roomlog_protocol::ErrorCode;

use crate::timed_journal::TimedJournal;

/// What a server measures. One for each server; the binary makes it, so that the journal it opens is
/// timed too.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    committed: IntCounter,
    repeats: IntCounter,
    /// By the number of the code.
    refused: Vec<IntCounter>,
    ack: Histogram,
    page: Histogram,
    block_appends: Histogram,
    block_bytes: Histogram,
    commit: Histogram,
    pub(crate) sockets: IntGauge,
    told: Mutex<Told>,
}

/// What is counted elsewhere, and set when it is asked for: by one who asks at a time.
#[derive(Debug)]
struct Told {
    blocks: IntCounter,
    entries: IntCounter,
    fold_lag: IntGauge,
    followers: IntGauge,
    follower_lag: IntGauge,
    files: IntGaugeVec,
    info: IntGaugeVec,
    journal: ToldOfJournal,
}

/// What is told of a journal on other machines; nothing of one that is a file.
#[derive(Debug, Default)]
struct ToldOfJournal(OnceLock<OfJournal>);

#[derive(Debug)]
struct OfJournal {
    position: IntGaugeVec,
    lag: IntGaugeVec,
    stalled: IntGauge,
    again: IntCounter,
    connections: IntCounter,
    readers: IntCounter,
    leaders: IntCounter,
    untrusted: IntGauge,
}

/// Buckets of times, in seconds: from a page in memory to a disk that is stuck.
const SECONDS: [f64; 32] = [
    2e-5, 3e-5, 5e-5, 7e-5, //
    1e-4, 1.5e-4, 2e-4, 3e-4, 5e-4, 7e-4, //
    1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, //
    1e-2, 1.5e-2, 2e-2, 3e-2, 5e-2, 7e-2, //
    0.1, 0.15, 0.2, 0.3, 0.5, 0.7, //
    1.0, 1.5, 2.0, 3.0,
];

/// All codes that an append can be answered with.
const CODES: [ErrorCode; 16] = [
    ErrorCode::BadMessage,
    ErrorCode::BadName,
    ErrorCode::BadRef,
    ErrorCode::TooLarge,
    ErrorCode::Forbidden,
    ErrorCode::IdReused,
    ErrorCode::ExpectFailed,
    ErrorCode::LoginRequired,
    ErrorCode::Unauthorized,
    ErrorCode::OutOfOrder,
    ErrorCode::Ahead,
    ErrorCode::RateLimited,
    ErrorCode::Busy,
    ErrorCode::Unavailable,
    ErrorCode::StorageFull,
    ErrorCode::UnknownOutcome,
];

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let appends = registered(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "roomlog_appends_total",
                    "Appends answered, by what became of them: committed, repeat (it was there \
                     already), or the code of the error.",
                ),
                &["outcome"],
            ),
        );
        let outcome = |name: &str| appends.with_label_values(&[name]);
        let entries = buckets(1.0, 2.0, BLOCK_ENTRIES.ilog2() as usize + 1);
        let told = Told::new(&registry);
        Self {
            committed: outcome("committed"),
            repeats: outcome("repeat"),
            refused: CODES.iter().map(|code| outcome(&code.to_string())).collect(),
            ack: histogram(
                &registry,
                "roomlog_ack_seconds",
                "Time from reading an append off its socket until it is answered with its slot. It \
                 holds waiting for `seq`, `after` or `ref`, the queue, and at least one fsync.",
                SECONDS.to_vec(),
            ),
            page: histogram(
                &registry,
                "roomlog_page_seconds",
                "Time to read one page of entries, from memory or from the archive: for update, \
                 join, GET, and followers that memory has left behind.",
                SECONDS.to_vec(),
            ),
            block_appends: histogram(
                &registry,
                "roomlog_block_appends",
                "Appends in one block of the journal, which share one fsync. Few under load: the \
                 disk keeps up. At the greatest bucket: appends come faster than blocks are written.",
                entries,
            ),
            block_bytes: histogram(
                &registry,
                "roomlog_block_bytes",
                "Size of one block of the journal: what one fsync makes durable.",
                buckets(256.0, 4.0, 7),
            ),
            commit: histogram(
                &registry,
                "roomlog_commit_seconds",
                "Time to make one block durable: what the disk takes for a write and an fsync.",
                SECONDS.to_vec(),
            ),
            sockets: gauge(
                &registry,
                "roomlog_sockets",
                "Connections that are served: WebSockets, HTTP, Server-Sent Events. At the setting \
                 `sockets` more wait to be accepted.",
            ),
            told: Mutex::new(told),
            registry,
        }
    }
}

impl Told {
    fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help));
        let files = Opts::new(
            "roomlog_file_bytes",
            "Size of each file of the data directory that is there. Growing -wal files are normal \
             between checkpoints.",
        );
        let info = Opts::new(
            "roomlog_info",
            "Always 1; its labels say which version serves which log. Another log under the same \
             address is a restore that may have lost entries.",
        );
        Self {
            blocks: counter(
                "roomlog_blocks_total",
                "Blocks applied since the start, those replayed from the journal included.",
            ),
            entries: counter(
                "roomlog_entries_total",
                "Entries committed since the start, those replayed from the journal included.",
            ),
            fold_lag: gauge(
                registry,
                "roomlog_fold_lag_entries",
                "Entries committed and not yet in the archive; a block of nothing but repeats \
                 counts as one. At the setting `unfolded_entries` appends are answered `busy`.",
            ),
            followers: gauge(
                registry,
                "roomlog_followers",
                "Followings: rooms that are followed, counted once for each connection that does.",
            ),
            follower_lag: gauge(
                registry,
                "roomlog_follower_lag_entries",
                "Entries that the slowest follower has still to be sent. Slow readers cost nobody \
                 anything; one that grows for ever has a reader that does not read.",
            ),
            files: registered(registry, IntGaugeVec::new(files, &["file"])),
            info: registered(registry, IntGaugeVec::new(info, &["version", "log"])),
            journal: ToldOfJournal::default(),
        }
    }
}

impl OfJournal {
    fn new(registry: &Registry) -> Self {
        let counter = |name, help| registered(registry, IntCounter::new(name, help));
        let of_partition = |name, help| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), &["partition"]))
        };
        Self {
            position: of_partition(
                "roomlog_journal_position",
                "The position in each partition of the journal that this node has applied.",
            ),
            lag: of_partition(
                "roomlog_journal_lag_blocks",
                "Blocks that each partition of the journal is known to hold and this node has not \
                 applied.",
            ),
            stalled: gauge(
                registry,
                "roomlog_journal_stalled",
                "1 while the journal leaves what was proposed without an answer; new appends are `busy`.",
            ),
            again: counter(
                "roomlog_journal_proposed_again_total",
                "Times that all blocks under way were proposed again: one had no answer, or came back \
                 without the one before it.",
            ),
            connections: counter(
                "roomlog_journal_connections_total",
                "Connections to NATS, the first included.",
            ),
            readers: counter(
                "roomlog_journal_readers_replaced_total",
                "Readers of the journal that were silent, behind or broken, and were replaced.",
            ),
            untrusted: gauge(
                registry,
                "roomlog_journal_untrusted_servers",
                "NATS servers that were last seen to ack before they fsync, or to be too old; asked every \
                 half minute. Above 0 a power cut may lose what is acked.",
            ),
            leaders: counter(
                "roomlog_journal_leader_changes_total",
                "Times that another server was seen to lead the journal; a look is taken when it is quiet.",
            ),
        }
    }

    fn tell(&self, node: &Node, stats: &NodeStats, counts: JournalCounts) {
        for (partition, (position, head)) in stats.positions.iter().enumerate() {
            let lag = head.map_or(0, |head| head.0.saturating_sub(position.0));
            let label = [partition.to_string()];
            self.position.with_label_values(&label).set(position.0.cast_signed());
            self.lag.with_label_values(&label).set(lag.cast_signed());
        }
        self.untrusted.set(counts.untrusted_servers.cast_signed());
        self.stalled.set(i64::from(node.is_stalled()));
        for (counter, now) in [
            (&self.again, stats.proposed_again),
            (&self.connections, counts.connections),
            (&self.readers, counts.readers_replaced),
            (&self.leaders, counts.leader_changes),
        ] {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
    }
}

/// Registers what is named once and rightly, in this file.
fn registered<T: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<T>,
) -> T {
    let metric = made.unwrap_or_else(|error| unreachable!("a metric of ours: {error}"));
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        unreachable!("a metric of ours: {error}");
    }
    metric
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::new(name, help))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
}

fn buckets(first: f64, factor: f64, count: usize) -> Vec<f64> {
    exponential_buckets(first, factor, count)
        .unwrap_or_else(|error| unreachable!("buckets of ours: {error}"))
}

impl Metrics {
    /// Counts an append that was answered with its slot, and how long that took.
    pub(crate) fn appended(&self, repeat: bool, took: Duration) {
        if repeat { &self.repeats } else { &self.committed }.inc();
        self.ack.observe(took.as_secs_f64());
    }

    /// Counts an append that was answered with an error.
    pub(crate) fn refused(&self, code: ErrorCode) {
        let counter = CODES.iter().zip(&self.refused).find(|(named, _)| **named == code);
        if let Some((_, counter)) = counter {
            counter.inc();
        }
    }

    /// Notes a block that is durable: its size, and how long that took.
    pub(crate) fn block(&self, appends: usize, bytes: usize, took: Duration) {
        self.block_appends.observe(appends as f64);
        self.block_bytes.observe(bytes as f64);
        self.commit.observe(took.as_secs_f64());
    }

    /// Notes how long a page took to read.
    pub(crate) fn page(&self, took: Duration) {
        self.page.observe(took.as_secs_f64());
    }

    /// The same journal, whose blocks are measured and timed.
    #[must_use]
    pub fn time_journal(self: &Arc<Self>, journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
        Arc::new(TimedJournal { journal, metrics: self.clone() })
    }

    /// All of it as text. Looks at every follower and at the files' sizes, so it may take a few
    /// milliseconds and holds up nobody but its thread.
    pub(crate) fn text(&self, node: &Node, files: &[PathBuf]) -> String {
        let told = self.told.lock();
        let stats = node.stats();
        for (counter, now) in [(&told.blocks, stats.blocks), (&told.entries, stats.entries)] {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
        told.fold_lag.set(stats.unfolded.cast_signed());
        told.followers.set(i64::try_from(stats.followers).unwrap_or(i64::MAX));
        told.follower_lag.set(stats.follower_lag.cast_signed());
        // A file that is not there any more is not told, rather than told as it was.
        told.files.reset();
        for file in files {
            let Ok(there) = std::fs::metadata(file) else { continue };
            let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
            told.files.with_label_values(&[&*name]).set(there.len().cast_signed());
        }
        if let Some(counts) = stats.journal {
            let journal = told.journal.0.get_or_init(|| OfJournal::new(&self.registry));
            journal.tell(node, &stats, counts);
        }
        told.info.with_label_values(&[env!("CARGO_PKG_VERSION"), node.log()]).set(1);
        let encoder = TextEncoder::new();
        encoder
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| format!("# {error}\n"))
    }
}
