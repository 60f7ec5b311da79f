//! Appends at a rate, between two measurements of append + fdatasync.
//!
//! ```text
//!  probe ─► folded ─► floor ─► run-in ─► counted, the fold lag polled ─► folded ─► floor
//! ```
//!
//! Enters: a log, a step. Leaves: ack times and those of the floor. Invariants: the blocks of the
//! floor are as large as the mean block of the probe before it, or of what counts before it; the
//! server is idle while the floor is measured.

use std::{
    io,
    net::SocketAddr,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::{log::GrowingLog, steps::Step};
use crate::{
    authors::{Authors, Tally},
    disk::SyncedFile,
    http::Http,
    metrics::{Buckets, Metrics},
    process::cpu_seconds,
    supply::Supply,
    times::{Rounds, Times},
};

/// A load that falls behind may take this many times its time.
const BEHIND: u32 = 3;
/// Interval of polling the fold lag, which changes by 5,000 in it at most, at 50,000 per second.
const POLL: Duration = Duration::from_millis(100);

/// What was measured in all rounds so far.
#[derive(Debug, Default)]
pub(super) struct Paced {
    /// From when an append was due.
    pub(super) ack: Rounds,
    /// From when it was sent.
    pub(super) sent: Times,
    pub(super) floor: Times,
    /// Inside the server, in seconds.
    pub(super) inside: Buckets,
    /// Of one block in the server's journal, in seconds.
    pub(super) commit: Buckets,
    /// Sum over the rounds of the mean size of the log.
    sizes: f64,
    rounds: f64,
    pub(super) seconds: f64,
    /// CPU seconds of the server, and of this program, which shares the cores.
    cpu: f64,
    own_cpu: f64,
    pub(super) blocks: f64,
    pub(super) busy: f64,
    pub(super) lag_max: f64,
    pub(super) lag_after: f64,
}

impl Paced {
    /// Measures a round on a log that was grown to what the step loads; `floor` is the time of each
    /// measurement of the floor.
    pub(super) fn round(
        &mut self,
        log: &mut GrowingLog<'_>,
        step: &Step,
        rate: u32,
        floor: Duration,
    ) -> io::Result<()> {
        let (addr, mut authors) = (log.metrics_addr()?, log.authors()?);
        let mut file = SyncedFile::new(log.dir.path())?;
        let start = Metrics::of(addr)?;
        append(log, &mut authors, step.probe, rate)?;
        log.folded()?;
        self.floor.add(&file.run(block_bytes(&start, &Metrics::of(addr)?)?, floor)?);

        append(log, &mut authors, step.run_in, rate)?;
        let before = Metrics::of(addr)?;
        let size = log.entries();
        let (cpu, own_cpu) = (cpu_seconds(log.pid()?)?, cpu_seconds(std::process::id())?);
        let poll = LagPoll::start(addr)?;
        let tally = append(log, &mut authors, step.counted, rate)?;
        let lag_max = poll.end()?;
        let after = Metrics::of(addr)?;
        self.cpu += cpu_seconds(log.pid()?)? - cpu;
        self.own_cpu += cpu_seconds(std::process::id())? - own_cpu;
        let lag = after.fold_lag()?;
        self.lag_after = self.lag_after.max(lag);
        self.lag_max = self.lag_max.max(lag_max).max(lag);
        self.busy += after.grown(&before, "roomlog_appends_total{outcome=\"busy\"}")?;
        self.blocks += after.grown(&before, "roomlog_blocks_total")?;
        self.inside.add(after.observed(&before, "roomlog_ack_seconds")?);
        self.commit.add(after.observed(&before, "roomlog_commit_seconds")?);
        self.sizes += u64::midpoint(size, log.entries()) as f64;
        self.rounds += 1.0;
        self.seconds += tally.took.as_secs_f64();
        self.ack.push(&tally.ack);
        self.sent.add(&tally.sent);

        log.folded()?;
        self.floor.add(&file.run(block_bytes(&before, &after)?, floor)?);
        Ok(())
    }

    /// The mean size of the log.
    pub(super) fn size(&self) -> f64 {
        self.sizes / self.rounds.max(1.0)
    }

    pub(super) fn acked(&self) -> f64 {
        self.ack.len() as f64
    }

    /// CPU of the server per entry, µs.
    pub(super) fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.acked().max(1.0)
    }

    /// CPU of this program per entry, µs.
    pub(super) fn own_cpu_us(&self) -> f64 {
        self.own_cpu * 1e6 / self.acked().max(1.0)
    }
}

/// Appends this many at the rate.
fn append(
    log: &mut GrowingLog<'_>,
    authors: &mut Authors,
    entries: u64,
    rate: u32,
) -> io::Result<Tally> {
    let time = Duration::from_secs_f64(entries as f64 / f64::from(rate));
    let limit = time * BEHIND + Duration::from_secs(1);
    let tally = log.append(authors, &mut Supply::paced(entries, rate, limit))?;
    if tally.acked < entries {
        eprintln!("  only {} of {entries} could be sent in {limit:?}", tally.acked);
    }
    Ok(tally)
}

/// The mean size of the blocks between two readings, at least 1.
fn block_bytes(before: &Metrics, after: &Metrics) -> io::Result<usize> {
    Ok(after.observed(before, "roomlog_block_bytes")?.mean().max(1.0) as usize)
}

/// A thread that polls the fold lag.
struct LagPoll {
    /// Nothing is sent; the thread ends when this is dropped.
    end: SyncSender<()>,
    thread: thread::JoinHandle<io::Result<f64>>,
}

impl LagPoll {
    fn start(addr: SocketAddr) -> io::Result<Self> {
        let (end, ended) = sync_channel(0);
        let mut http = Http::connect(addr)?;
        let thread = thread::spawn(move || max_lag(&mut http, &ended));
        Ok(Self { end, thread })
    }

    /// The maximum that was seen.
    fn end(self) -> io::Result<f64> {
        drop(self.end);
        self.thread.join().map_err(|_| io::Error::other("polling the fold lag panicked"))?
    }
}

fn max_lag(http: &mut Http, ended: &Receiver<()>) -> io::Result<f64> {
    let mut max = 0.0_f64;
    while ended.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        max = max.max(Metrics::read(http)?.fold_lag()?);
    }
    Ok(max)
}
