//! A run: a fleet, writers, one fault after the other, and the checker at the end.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use roomlog_checker::{History, Report, check};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    fault::Fault,
    fleet::Fleet,
    reading,
    recorder::Recorder,
    writer::{Tally, Writer},
};

/// How long a run goes on in peace before the first fault, and behind each.
const PEACE: Duration = Duration::from_secs(4);

/// How long writers may take after the last fault until all they sent is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The `roomlog` to run.
    pub binary: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// How many writers, over how many rooms.
    pub writers: usize,
    /// How many rooms.
    pub rooms: usize,
    /// The time between two appends of a writer.
    pub pace: Duration,
    /// What is done to the fleet, in this order.
    pub faults: Vec<Fault>,
    /// Whether NATS servers fsync before they ack. A run without shows what the checker finds.
    pub synced: bool,
    /// Says on standard error what is done.
    pub talks: bool,
}

impl Plan {
    /// Three nodes, nine writers in three rooms, each node's writers in each room.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, faults: &[Fault]) -> Self {
        Self {
            binary: binary.into(),
            nodes: 3,
            writers: 9,
            rooms: 3,
            pace: Duration::from_millis(20),
            faults: faults.to_vec(),
            synced: true,
            talks: false,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What the checker says.
    pub report: Report,
    /// Appends that were never answered.
    pub unacked: usize,
    /// Connections that were opened.
    pub connections: usize,
    /// Answers `busy`, and `unknown_outcome`.
    pub busy: usize,
    /// Answers `unknown_outcome`.
    pub unknown: usize,
    /// For each node, p50 and p99 of the acks that came at once.
    pub acks: BTreeMap<usize, (Duration, Duration)>,
    /// Each fault, and how long it took with what it needed to be undone.
    pub faults: Vec<(Fault, Duration)>,
    /// Nodes that ended by themselves.
    pub ended: Vec<String>,
}

impl Outcome {
    /// Whether every append was acked, no promise is broken, and every node lives.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is_whole = self.unacked == 0 && self.report.acked > 0;
        self.report.broken.is_empty() && is_whole && self.ended.is_empty()
    }
}

/// Runs a plan on a multi-threaded runtime.
///
/// # Errors
/// When a process cannot be started or does not come back, or a node cannot be read at the end.
pub async fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut fleet = Fleet::start(plan).await?;
    let recorder = Recorder::default();
    let (stop, stopped) = watch::channel(false);
    let addresses: Vec<_> = fleet.nodes.iter().map(|node| node.address).enumerate().collect();
    let mut writers = JoinSet::new();
    for number in 0..plan.writers {
        let mut nodes = addresses.clone();
        nodes.rotate_left(number % plan.nodes);
        let writer = Writer {
            author: format!("w{number}"),
            // So that each room has writers on each node.
            room: format!("room{}", number / plan.nodes % plan.rooms),
            nodes,
            recorder: recorder.clone(),
            pace: plan.pace,
            stop: stopped.clone(),
            patience: ANSWERED_WITHIN,
        };
        let room = writer.room.clone();
        writers.spawn(async move { (room, writer.run().await) });
    }
    let mut faults = Vec::new();
    sleep(PEACE).await;
    for (turn, fault) in plan.faults.iter().enumerate() {
        let begun = Instant::now();
        let struck = fault.strike(&mut fleet, turn % plan.nodes).await;
        struck.map_err(|why| io::Error::other(format!("{fault}: {why}")))?;
        faults.push((*fault, begun.elapsed()));
        if plan.talks {
            eprintln!("chaos: {fault} ({:.1} s)", begun.elapsed().as_secs_f64());
        }
        sleep(PEACE).await;
    }
    stop.send_replace(true);
    let tallies = writers.join_all().await;
    finish(&mut fleet, &recorder, &tallies, faults).await
}

async fn finish(
    fleet: &mut Fleet,
    recorder: &Recorder,
    tallies: &[(String, Tally)],
    faults: Vec<(Fault, Duration)>,
) -> io::Result<Outcome> {
    let mut rooms: BTreeMap<String, i64> = BTreeMap::new();
    for (room, tally) in tallies {
        let last = rooms.entry(room.clone()).or_insert(-1);
        *last = (*last).max(tally.seen);
    }
    let rooms: Vec<_> = rooms.into_iter().collect();
    let mut history = History { frames: recorder.take(), ..History::default() };
    let mut ended = std::mem::take(&mut fleet.ended);
    for node in &mut fleet.nodes {
        if node.has_ended() {
            ended.push(format!("{} ended by itself:\n{}", node.name, node.said()));
            continue;
        }
        let log = reading::read(&node.name, node.address, &rooms).await;
        let log = log.map_err(|why| io::Error::other(format!("{why}\n{}", node.said())))?;
        history.logs.push(log);
    }
    let sum = |count: fn(&Tally) -> usize| tallies.iter().map(|(_, tally)| count(tally)).sum();
    Ok(Outcome {
        report: check(&history),
        unacked: sum(|tally| tally.unacked),
        connections: sum(|tally| tally.connections),
        busy: sum(|tally| tally.busy),
        unknown: sum(|tally| tally.unknown),
        acks: ack_times(tallies),
        faults,
        ended,
    })
}

fn ack_times(tallies: &[(String, Tally)]) -> BTreeMap<usize, (Duration, Duration)> {
    let mut by_node: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for ack in tallies.iter().flat_map(|(_, tally)| &tally.acks).filter(|ack| ack.at_once) {
        by_node.entry(ack.node).or_default().push(ack.took);
    }
    let times = by_node.into_iter().map(|(node, mut took)| {
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        (node, (at(0.5), at(0.99)))
    });
    times.collect()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, unacked, connections, busy, unknown, acks, faults, ended } = self;
        writeln!(f, "{report}")?;
        writeln!(
            f,
            "{unacked} appends without an answer, {connections} connections, {busy} busy, {unknown} unknown"
        )?;
        for (node, (p50, p99)) in acks {
            writeln!(f, "node {node}: ack p50 {p50:.1?}, p99 {p99:.1?}")?;
        }
        for (fault, took) in faults {
            writeln!(f, "{fault}: {:.1} s", took.as_secs_f64())?;
        }
        for node in ended {
            writeln!(f, "{node}")?;
        }
        Ok(())
    }
}
