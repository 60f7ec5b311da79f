//! A run: a fleet, writers, one fault after the other, and the checker at the end.

use std::{
    collections::BTreeMap,
    fmt, io,
    time::{Duration, Instant},
};

use roomlog_checker::{History, Report, check};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    fault::inject,
    fleet::Fleet,
    plan::{Fault, Plan},
    reading,
    writer::{Recorder, Tally, Writer},
};

/// How long a run goes on undisturbed before the first fault and after each.
const UNDISTURBED: Duration = Duration::from_secs(4);
/// How long writers may take until everything is answered after the last fault.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The checker's report.
    pub report: Report,
    /// Appends that were never acked.
    pub unacked: usize,
    /// Connections that were opened.
    pub connections: usize,
    /// `busy` answers.
    pub busy: usize,
    /// `unknown_outcome` answers.
    pub unknown: usize,
    /// For each node, p50 and p99 of acks to appends that were sent once.
    pub acks: BTreeMap<usize, (Duration, Duration)>,
    /// Each fault, and how long it took with its undoing.
    pub faults: Vec<(Fault, Duration)>,
    /// Nodes that exited by themselves, with the end of their logs.
    pub ended: Vec<String>,
}

impl Outcome {
    /// Whether every append was acked, no guarantee was violated, and no node exited by itself.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let all_acked = self.unacked == 0 && self.report.acked > 0;
        self.report.broken.is_empty() && all_acked && self.ended.is_empty()
    }
}

/// Runs a plan. Needs a multi-threaded runtime.
///
/// # Errors
/// If a process does not start or come back, or a node cannot be read at the end.
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
            // Each room gets writers on each node.
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
    sleep(UNDISTURBED).await;
    for (turn, &fault) in plan.faults.iter().enumerate() {
        let begun = Instant::now();
        let injected = inject(fault, &mut fleet, turn % plan.nodes).await;
        injected.map_err(|why| io::Error::other(format!("{fault}: {why}")))?;
        faults.push((fault, begun.elapsed()));
        if plan.talks {
            eprintln!("chaos: {fault} ({:.1} s)", begun.elapsed().as_secs_f64());
        }
        sleep(UNDISTURBED).await;
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
    let rooms = seen_by(tallies);
    let mut history = History { frames: recorder.take(), ..History::default() };
    for index in 0..fleet.nodes.len() {
        if fleet.note_ended(index) {
            continue;
        }
        let node = &fleet.nodes[index];
        let log = reading::read(&node.name, node.address, &rooms).await;
        let log = log.map_err(|why| io::Error::other(format!("{why}\n{}", node.log())))?;
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
        ended: std::mem::take(&mut fleet.ended),
    })
}

/// The rooms, and the highest slot in each that a writer knows of.
pub(crate) fn seen_by(tallies: &[(String, Tally)]) -> Vec<(String, i64)> {
    let mut rooms: BTreeMap<String, i64> = BTreeMap::new();
    for (room, tally) in tallies {
        let last = rooms.entry(room.clone()).or_insert(-1);
        *last = (*last).max(tally.seen);
    }
    rooms.into_iter().collect()
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
            "{unacked} appends unacked, {connections} connections, {busy} busy, {unknown} unknown"
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
