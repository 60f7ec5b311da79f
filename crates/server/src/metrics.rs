//! The server's metrics, in the Prometheus text format of `GET /metrics`.
//!
//! Enters: events, an atomic or two at a time. Leaves: text. Invariants: the path of an append, or
//! of an entry to its followers, takes no lock and allocates nothing for this; what can be counted
//! on request is counted then. The core reads no clock, and no engine has to measure itself: the
//! journal is timed from outside, through its contract ([`Metrics::time_journal`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder};
use roomlog_core::{
    Node, NodeStats,
    block::{self, BLOCK_ENTRIES},
    budget::Account,
    journal::{
        Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
        Position, Proposed, Wipe,
    },
};
use roomlog_protocol::ErrorCode;
use tokio::time::Instant;

use crate::{
    audit::Audit,
    limited::Limit,
    metric_registry::{MetricRegistry, buckets, raise},
};

/// The metrics of one server. The binary makes it, so that the journal it opens is timed too.
#[derive(Debug)]
pub struct Metrics {
    registry: MetricRegistry,
    committed: IntCounter,
    repeats: IntCounter,
    refused: Vec<(ErrorCode, IntCounter)>,
    limited: IntCounterVec,
    disk_free: IntGauge,
    clock_ahead: IntGauge,
    ack: Histogram,
    page: Histogram,
    block_appends: Histogram,
    block_bytes: Histogram,
    commit: Histogram,
    pub(crate) audit: Audit,
    pub(crate) sockets: IntGauge,
    /// The budgets besides that of the node, by name.
    budgets: OnceLock<[(&'static str, Account); 2]>,
    on_request: Mutex<RequestedMetrics>,
}

/// What is counted elsewhere, and copied on request, one at a time.
#[derive(Debug)]
struct RequestedMetrics {
    blocks: IntCounter,
    entries: IntCounter,
    fold_lag: IntGauge,
    rooms: IntGauge,
    memory: IntGaugeVec,
    memory_limit: IntGaugeVec,
    followers: IntGauge,
    follower_lag: IntGauge,
    files: IntGaugeVec,
    info: IntGaugeVec,
    /// Of a journal on other machines; `None` for one in a file.
    journal: Option<JournalMetrics>,
}

#[derive(Debug)]
struct JournalMetrics {
    position: IntGaugeVec,
    lag: IntGaugeVec,
    stalled: IntGauge,
    proposed_again: IntCounter,
    connections: IntCounter,
    readers: IntCounter,
    leaders: IntCounter,
    untrusted: IntGauge,
}

/// Buckets of times, in seconds: from a page in memory to a stuck disk.
const SECONDS: [f64; 32] = [
    2e-5, 3e-5, 5e-5, 7e-5, //
    1e-4, 1.5e-4, 2e-4, 3e-4, 5e-4, 7e-4, //
    1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, //
    1e-2, 1.5e-2, 2e-2, 3e-2, 5e-2, 7e-2, //
    0.1, 0.15, 0.2, 0.3, 0.5, 0.7, //
    1.0, 1.5, 2.0, 3.0,
];

/// The error codes of appends.
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
        let registry = MetricRegistry::default();
        let appends = Opts::new(
            "roomlog_appends_total",
            "Appends answered, by outcome: committed, repeat (it was already stored), or the code \
             of the error.",
        );
        let appends = registry.register(IntCounterVec::new(appends, &["outcome"]));
        let outcome = |name: &str| appends.with_label_values(&[name]);
        let limited = Opts::new(
            "roomlog_limited_total",
            "What was refused or cut because somebody reached a limit, by the limit's setting.",
        );
        let limited = registry.register(IntCounterVec::new(limited, &["limit"]));
        for limit in Limit::ALL {
            limited.with_label_values(&[limit.name()]).inc_by(0);
        }
        Self {
            limited,
            disk_free: registry.gauge(
                "roomlog_disk_free_bytes",
                "Free space in the file system of the data directory, as of about a second ago. \
                 Below the setting `disk_reserve_bytes` appends are answered `storage_full`.",
            ),
            clock_ahead: registry.gauge(
                "roomlog_clock_ahead_seconds",
                "How far the newest entries are dated ahead of this machine's clock, as of about \
                 two seconds ago. Above 0 a clock went back, or had jumped ahead.",
            ),
            committed: outcome("committed"),
            repeats: outcome("repeat"),
            refused: CODES.iter().map(|code| (*code, outcome(&code.to_string()))).collect(),
            ack: registry.histogram(
                "roomlog_ack_seconds",
                "Time from reading an append off its socket until it is answered with its slot. \
                 Includes waiting for `seq`, `after` or `ref`, the queue, and at least one fsync.",
                SECONDS.to_vec(),
            ),
            page: registry.histogram(
                "roomlog_page_seconds",
                "Time to read one page of entries, from memory or from the archive: for update, \
                 join, GET, and followers that are too far behind for memory.",
                SECONDS.to_vec(),
            ),
            block_appends: registry.histogram(
                "roomlog_block_appends",
                "Appends in one block of the journal, which share one fsync. Few under load: the \
                 disk keeps up. In the largest bucket: appends arrive faster than blocks are \
                 written.",
                buckets(1.0, 2.0, BLOCK_ENTRIES.ilog2() as usize + 1),
            ),
            block_bytes: registry.histogram(
                "roomlog_block_bytes",
                "Size of one block of the journal: what one fsync makes durable.",
                buckets(256.0, 4.0, 7),
            ),
            commit: registry.histogram(
                "roomlog_commit_seconds",
                "Time to make one block durable: a write and an fsync of the disk.",
                SECONDS.to_vec(),
            ),
            audit: Audit::new(&registry),
            sockets: registry.gauge(
                "roomlog_sockets",
                "Connections served in public: WebSockets, HTTP, Server-Sent Events. At the \
                 setting `sockets` more are refused.",
            ),
            budgets: OnceLock::new(),
            on_request: Mutex::new(RequestedMetrics::new(&registry)),
            registry,
        }
    }
}

impl RequestedMetrics {
    fn new(registry: &MetricRegistry) -> Self {
        Self {
            blocks: registry.counter(
                "roomlog_blocks_total",
                "Blocks applied since the start, including those replayed from the journal.",
            ),
            entries: registry.counter(
                "roomlog_entries_total",
                "Entries committed since the start, including those replayed from the journal.",
            ),
            fold_lag: registry.gauge(
                "roomlog_fold_lag_entries",
                "Entries committed but not yet in the archive; a block of only repeats counts as \
                 one.",
            ),
            rooms: registry.gauge(
                "roomlog_rooms_held",
                "Rooms in memory: followed, waited for, or with recent entries.",
            ),
            memory: registry.labelled(
                "roomlog_memory_bytes",
                "Memory that is charged to clients, by budget: appends until they are in the \
                 archive, those of them that wait, and all else. Whoever holds most of a budget is refused first.",
                &["budget"],
            ),
            memory_limit: registry.labelled(
                "roomlog_memory_limit_bytes",
                "The size of each budget: parts of the setting `memory`.",
                &["budget"],
            ),
            followers: registry.gauge(
                "roomlog_followers",
                "Rooms followed, counted once per connection that follows.",
            ),
            follower_lag: registry.gauge(
                "roomlog_follower_lag_entries",
                "Entries that the slowest follower has not been sent yet. A slow reader costs \
                 others nothing; if this grows for ever, a reader does not read. Above 10,000 \
                 followings each request looks at the next 10,000.",
            ),
            files: registry.labelled(
                "roomlog_file_bytes",
                "Size of each existing file of the data directory. Growing -wal files are normal \
                 between checkpoints.",
                &["file"],
            ),
            info: registry.labelled(
                "roomlog_info",
                "Always 1; its labels say which version serves which log. Another log under the \
                 same address is a restore that may have lost entries.",
                &["version", "log"],
            ),
            journal: None,
        }
    }
}

impl JournalMetrics {
    fn new(registry: &MetricRegistry) -> Self {
        Self {
            position: registry.labelled(
                "roomlog_journal_position",
                "The position in each partition of the journal that this node has applied.",
                &["partition"],
            ),
            lag: registry.labelled(
                "roomlog_journal_lag_blocks",
                "Blocks known to be in each partition of the journal and not applied by this node.",
                &["partition"],
            ),
            stalled: registry.gauge(
                "roomlog_journal_stalled",
                "1 while the journal does not answer proposals; new appends are `busy`.",
            ),
            proposed_again: registry.counter(
                "roomlog_journal_proposed_again_total",
                "Times that all pending blocks were proposed again: one had no answer, or came \
                 back without the one before it.",
            ),
            connections: registry.counter(
                "roomlog_journal_connections_total",
                "Connections to NATS, including the first.",
            ),
            readers: registry.counter(
                "roomlog_journal_readers_replaced_total",
                "Readers of the journal that were silent, behind or broken, and were replaced.",
            ),
            untrusted: registry.gauge(
                "roomlog_journal_untrusted_servers",
                "NATS servers last seen to ack before they fsync, or to be too old; checked every \
                 half minute. Above 0 a power cut may lose acked entries.",
            ),
            leaders: registry.counter(
                "roomlog_journal_leader_changes_total",
                "Times that another server was seen to lead the journal; checked when it is quiet.",
            ),
        }
    }

    fn update(&self, node: &Node, stats: &NodeStats, counts: JournalCounts) {
        for (partition, (position, head)) in stats.positions.iter().enumerate() {
            let lag = head.map_or(0, |head| head.0.saturating_sub(position.0));
            let label = [partition.to_string()];
            self.position.with_label_values(&label).set(position.0.cast_signed());
            self.lag.with_label_values(&label).set(lag.cast_signed());
        }
        self.untrusted.set(counts.untrusted_servers.cast_signed());
        self.stalled.set(i64::from(node.is_stalled()));
        raise(&self.proposed_again, counts.resends);
        raise(&self.connections, counts.connections);
        raise(&self.readers, counts.readers_replaced);
        raise(&self.leaders, counts.leader_changes);
    }
}

impl Metrics {
    /// Wraps a journal: its blocks are measured and timed.
    #[must_use]
    pub fn time_journal(self: &Arc<Self>, journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
        Arc::new(TimedJournal { journal, metrics: self.clone() })
    }

    /// Reports these budgets from now on.
    pub(crate) fn measure(&self, budgets: [(&'static str, Account); 2]) {
        // A second gateway with the same metrics is not measured: a server has one.
        let _first = self.budgets.set(budgets);
    }

    /// Counts an append that was answered with its slot, and its time.
    pub(crate) fn appended(&self, repeat: bool, took: Duration) {
        if repeat { &self.repeats } else { &self.committed }.inc();
        self.ack.observe(took.as_secs_f64());
    }

    pub(crate) fn refused(&self, code: ErrorCode) {
        if let Some((_, counter)) = self.refused.iter().find(|(counted, _)| *counted == code) {
            counter.inc();
        }
    }

    /// Counts what was refused or cut at a limit.
    pub(crate) fn limited(&self, limit: Limit) {
        self.limited.with_label_values(&[limit.name()]).inc();
    }

    /// Sets the free space in the file system of the data directory.
    pub fn disk_free(&self, bytes: u64) {
        self.disk_free.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sets how far the newest entries are dated ahead of the clock.
    pub fn clock_ahead(&self, by: Duration) {
        self.clock_ahead.set(i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts a durable block: its size, and the time until it was durable.
    pub(crate) fn block(&self, appends: usize, bytes: usize, took: Duration) {
        self.block_appends.observe(appends as f64);
        self.block_bytes.observe(bytes as f64);
        self.commit.observe(took.as_secs_f64());
    }

    pub(crate) fn page(&self, took: Duration) {
        self.page.observe(took.as_secs_f64());
    }

    /// All metrics as text. Reads the lags of at most about 10,000 followers, so it may block its
    /// thread for a few milliseconds.
    pub(crate) fn text(&self, node: &Node, file_sizes: BTreeMap<String, u64>) -> String {
        let mut requested = self.on_request.lock();
        let stats = node.stats();
        raise(&requested.blocks, stats.blocks);
        raise(&requested.entries, stats.entries);
        requested.fold_lag.set(stats.unfolded.cast_signed());
        requested.rooms.set(i64::try_from(stats.rooms_held).unwrap_or(i64::MAX));
        requested.followers.set(i64::try_from(stats.followers).unwrap_or(i64::MAX));
        requested.follower_lag.set(stats.follower_lag.cast_signed());
        let appends = ("appends", node.append_budget().clone());
        for (name, budget) in [appends].iter().chain(self.budgets.get().into_iter().flatten()) {
            let bytes = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
            requested.memory.with_label_values(&[name]).set(bytes(budget.held()));
            requested.memory_limit.with_label_values(&[name]).set(bytes(budget.limit()));
        }
        // A file that no longer exists is left out, rather than reported with its last size.
        requested.files.reset();
        for (name, bytes) in file_sizes {
            requested.files.with_label_values(&[&*name]).set(bytes.cast_signed());
        }
        if let Some(counts) = stats.journal {
            let journal = &mut requested.journal;
            let journal = journal.get_or_insert_with(|| JournalMetrics::new(&self.registry));
            journal.update(node, &stats, counts);
        }
        requested.info.with_label_values(&[env!("CARGO_PKG_VERSION"), node.log()]).set(1);
        TextEncoder::new()
            .encode_to_string(&self.registry.0.gather())
            .unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// A journal that is measured.
struct TimedJournal {
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
}

impl Journal for TimedJournal {
    fn facts(&self) -> &JournalFacts {
        self.journal.facts()
    }

    fn counts(&self) -> Option<JournalCounts> {
        self.journal.counts()
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        self.journal.peers()
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (begun, metrics) = (Instant::now(), self.metrics.clone());
        let (appends, bytes) = (block::proposals_in(&block), block.len());
        // A journal on this machine writes in this call, before there is a future to poll.
        let proposed = self.journal.propose(partition, block);
        let measure = move |proposed: &Proposed| {
            if let Proposed::Durable(_) = proposed {
                metrics.block(appends, bytes, begun.elapsed());
            }
        };
        proposed.inspect(measure).boxed()
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        self.journal.follow(partition, after)
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        self.journal.head(partition)
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        self.journal.first(partition)
    }

    fn has_surplus(&self, partition: Partition) -> bool {
        self.journal.has_surplus(partition)
    }

    fn trim(&self, partition: Partition, upto: Position) {
        self.journal.trim(partition, upto);
    }

    fn wipe(&self, partition: Partition, wipe: &Wipe) -> Result<bool, JournalError> {
        self.journal.wipe(partition, wipe)
    }
}
