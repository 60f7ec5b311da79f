//! A load at a rate, between two rounds of bare append + fdatasync.
//!
//! ```text
//!  probe ─► folded ─► floor ─► run-in ─► counted, the fold lag looked at meanwhile ─► folded ─► floor
//! ```
//!
//! Enters: a log, a step. Leaves: ack times, in floors. Invariants: the blocks of the floor are as
//! large as the mean block of the probe before, and of what counts after; the server has nothing to do
//! while the floor is measured.

use std::{
    io,
    net::SocketAddr,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use super::{
    log::Log,
    metrics::{Histogram, Metrics},
    steps::Step,
};
use crate::{
    authors::{Authors, Tally},
    disk::Bare,
    page::Http,
    process::cpu_seconds,
    supply::Supply,
    table::quantile,
};

/// A load that falls behind may take so many times its time.
const BEHIND: u32 = 3;
/// Between two looks at the fold lag: at 50,000 a second it changes by 5,000 at most.
const LOOK: Duration = Duration::from_millis(100);

/// What was seen of paced appends, in all rounds so far.
#[derive(Debug, Default)]
pub(super) struct Paced {
    ack_us: Vec<f64>,
    /// The p50 of each round.
    round_p50_us: Vec<f64>,
    sent_us: Vec<f64>,
    floor_us: Vec<f64>,
    /// Inside the server, in seconds.
    inside: Histogram,
    /// What its journal took for a block, in seconds.
    commit: Histogram,
    /// Entries of the log before and after, summed over rounds.
    sizes: f64,
    rounds: f64,
    seconds: f64,
    cpu: f64,
    own_cpu: f64,
    blocks: f64,
    busy: f64,
    lag_max: f64,
    lag_after: f64,
}

/// p50 and p99, in ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Times {
    fn of(us: &[f64]) -> Self {
        Self { p50: quantile(us, 0.5) / 1e3, p99: quantile(us, 0.99) / 1e3 }
    }
}

/// The figures.
#[derive(Debug)]
pub(super) struct Acks {
    /// Entries of the log, the mean.
    pub(super) entries: f64,
    pub(super) per_s: f64,
    /// From when an append was due.
    pub(super) due: Times,
    /// From when it was sent.
    pub(super) sent: Times,
    pub(super) inside: Times,
    /// Of one block, by the server's journal.
    pub(super) commit: Times,
    pub(super) floor: Times,
    pub(super) block_entries: f64,
    pub(super) blocks_per_s: f64,
    /// CPU of the server an entry, in µs.
    pub(super) cpu_us: f64,
    /// The same of this program, which shares the cores.
    pub(super) own_cpu_us: f64,
    pub(super) busy: f64,
    pub(super) lag_max: f64,
    pub(super) lag_after: f64,
}

impl Paced {
    /// One round more, with a floor that takes `floor` each time. The log stands at what a step loads.
    ///
    /// # Errors
    /// When appending or the disk fails.
    pub(super) fn round(
        &mut self,
        log: &mut Log<'_>,
        step: &Step,
        rate: u32,
        floor: Duration,
    ) -> io::Result<()> {
        let (addr, mut authors) = (log.addr()?, log.authors()?);
        let mut bare = Bare::new(log.dir.path())?;
        let start = Metrics::of(addr)?;
        load(log, &mut authors, step.probe, rate)?;
        log.folded()?;
        self.floor_us.extend(bare.times_us(block_bytes(&start, &Metrics::of(addr)?)?, floor)?);

        load(log, &mut authors, step.run_in, rate)?;
        let before = Metrics::of(addr)?;
        let size = log.entries();
        let (cpu, own_cpu) = (cpu_seconds(log.pid()?)?, cpu_seconds(std::process::id())?);
        let looks = Looks::start(addr)?;
        let tally = load(log, &mut authors, step.counted, rate)?;
        let lag_max = looks.end()?;
        let after = Metrics::of(addr)?;
        self.cpu += cpu_seconds(log.pid()?)? - cpu;
        self.own_cpu += cpu_seconds(std::process::id())? - own_cpu;
        let lag = after.value("roomlog_fold_lag_entries")?;
        self.lag_after = self.lag_after.max(lag);
        self.lag_max = self.lag_max.max(lag_max).max(lag);
        self.busy += after.grown(&before, "roomlog_appends_total{outcome=\"busy\"}")?;
        self.blocks += after.grown(&before, "roomlog_blocks_total")?;
        self.inside.add(after.observed(&before, "roomlog_ack_seconds")?);
        self.commit.add(after.observed(&before, "roomlog_commit_seconds")?);
        self.sizes += u64::midpoint(size, log.entries()) as f64;
        self.rounds += 1.0;
        self.seconds += tally.took.as_secs_f64();
        self.round_p50_us.push(quantile(&tally.ack_us, 0.5));
        self.ack_us.extend(tally.ack_us);
        self.sent_us.extend(tally.sent_us);

        log.folded()?;
        self.floor_us.extend(bare.times_us(block_bytes(&before, &after)?, floor)?);
        Ok(())
    }

    /// The median of what the p50 of a round is of that of the round of others beside it.
    pub(super) fn p50_of(&self, others: &Self) -> f64 {
        let pairs = self.round_p50_us.iter().zip(&others.round_p50_us);
        quantile(&pairs.map(|(us, other)| us / other).collect::<Vec<_>>(), 0.5)
    }

    /// What came of all rounds.
    pub(super) fn figures(&self) -> Acks {
        let acked = self.ack_us.len() as f64;
        let ms = |times: &Histogram, q| times.quantile(q) * 1e3;
        let times = |of: &Histogram| Times { p50: ms(of, 0.5), p99: ms(of, 0.99) };
        Acks {
            entries: self.sizes / self.rounds.max(1.0),
            per_s: acked / self.seconds,
            due: Times::of(&self.ack_us),
            sent: Times::of(&self.sent_us),
            inside: times(&self.inside),
            commit: times(&self.commit),
            floor: Times::of(&self.floor_us),
            block_entries: acked / self.blocks.max(1.0),
            blocks_per_s: self.blocks / self.seconds,
            cpu_us: self.cpu * 1e6 / acked.max(1.0),
            own_cpu_us: self.own_cpu * 1e6 / acked.max(1.0),
            busy: self.busy,
            lag_max: self.lag_max,
            lag_after: self.lag_after,
        }
    }
}

/// Appends this many at the rate.
fn load(log: &mut Log<'_>, authors: &mut Authors, entries: u64, rate: u32) -> io::Result<Tally> {
    let time = Duration::from_secs_f64(entries as f64 / f64::from(rate));
    let most = time * BEHIND + Duration::from_secs(1);
    let tally = log.append(authors, &mut Supply::paced(entries, rate, most))?;
    if tally.acked < entries {
        eprintln!("  only {} of {entries} could be sent in {most:?}", tally.acked);
    }
    Ok(tally)
}

/// The mean size of the blocks between two readings, at least 1.
fn block_bytes(before: &Metrics, after: &Metrics) -> io::Result<usize> {
    Ok(after.observed(before, "roomlog_block_bytes")?.mean().max(1.0) as usize)
}

/// A thread that looks at the fold lag.
struct Looks {
    /// Nothing is ever sent: it ends when this is dropped.
    end: std::sync::mpsc::SyncSender<()>,
    thread: thread::JoinHandle<io::Result<f64>>,
}

impl Looks {
    fn start(addr: SocketAddr) -> io::Result<Self> {
        let (end, ended) = sync_channel(0);
        let mut http = Http::connect(addr)?;
        let thread = thread::spawn(move || greatest_lag(&mut http, &ended));
        Ok(Self { end, thread })
    }

    /// The greatest lag that was seen.
    fn end(self) -> io::Result<f64> {
        drop(self.end);
        self.thread.join().map_err(|_| io::Error::other("looking at the fold lag panicked"))?
    }
}

fn greatest_lag(http: &mut Http, ended: &Receiver<()>) -> io::Result<f64> {
    let mut greatest = 0.0_f64;
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        greatest = greatest.max(Metrics::ask(http)?.value("roomlog_fold_lag_entries")?);
    }
    Ok(greatest)
}
