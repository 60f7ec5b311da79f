//! Properties of a node under appends, repeats, restarts and crashes: one log without gaps, each id
//! once, each connection in order, outcomes that match the log, and the same log again from the
//! journal alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use roomlog_core::{
    outcome::AppendOutcome,
    proposal::{Proposal, Stored},
};
use roomlog_testkit::fixtures::proposal;
use roomlog_testkit::life::{Connection, Disk, Life, identity, small_windows};

const ROOMS: [&str; 2] = ["even", "odd"];

type Logs = BTreeMap<&'static str, Vec<Stored>>;

#[derive(Debug, Clone)]
enum Op {
    /// A connection appends; the id determines the body, unless `other`.
    Append { connection: usize, room: usize, id: u8, time: u64, other: bool },
    /// All connections wait for their outcomes.
    Await,
    /// The journal's clock is set, forwards or back.
    Clock(u64),
    /// The node is stopped and restarted.
    Restart,
    /// The node crashes between two steps and is restarted.
    Crash,
    /// The fold crashes after this many more rows, and the node with it.
    CrashFold(usize),
    /// The journal is full until all connections have their outcomes.
    Full,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let append = (0..3_usize, 0..2_usize, 0..60_u8, 0..50_u64, proptest::bool::weighted(0.05));
    let op = prop_oneof![
        40 => append.prop_map(|(connection, room, id, time, other)| {
            Op::Append { connection, room, id, time, other }
        }),
        5 => Just(Op::Await),
        2 => (0..1_000_u64).prop_map(Op::Clock),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
        1 => (0..20_usize).prop_map(Op::CrashFold),
        1 => Just(Op::Full),
    ];
    proptest::collection::vec(op, 0..150)
}

/// An append and its outcome; `None` if the node crashed first.
struct SentAppend {
    connection: usize,
    proposal: Proposal,
    outcome: Option<AppendOutcome>,
}

struct World {
    disk: Disk,
    life: Life,
    incarnation: u64,
    connections: Vec<Connection>,
    /// Per connection, the indices in `appends` without an outcome.
    open: Vec<Vec<usize>>,
    appends: Vec<SentAppend>,
}

impl World {
    async fn new() -> Self {
        let disk = Disk::default();
        let life = Life::start(&disk, identity(1, 1), small_windows()).await;
        let mut world =
            Self { disk, life, incarnation: 1, connections: vec![], open: vec![], appends: vec![] };
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.connections = (0..3).map(|_| Connection::default()).collect();
        self.open = vec![Vec::new(); 3];
    }

    async fn collect_outcomes(&mut self) {
        for (connection, open) in self.connections.iter_mut().zip(&mut self.open) {
            let outcomes = connection.outcomes().await;
            for (index, (_, outcome)) in open.drain(..).zip(outcomes) {
                self.appends[index].outcome = Some(outcome);
            }
        }
    }

    async fn step(mut self, op: &Op) -> Self {
        match *op {
            Op::Append { connection, room, id, time, other } => {
                let (id, body) = (format!("id-{id}"), format!("body of {id} {other}"));
                let proposal = proposal(ROOMS[room], "ada", &id, &body);
                let life = &self.life;
                let taken = self.connections[connection].append(life, proposal.clone(), None, time);
                if taken.is_err() {
                    // A fold crashed: the node has ended.
                    return self.restart(true).await;
                }
                self.open[connection].push(self.appends.len());
                self.appends.push(SentAppend { connection, proposal, outcome: None });
            }
            Op::Await => self.collect_outcomes().await,
            Op::Clock(time) => self.disk.journal.set_time(time),
            Op::CrashFold(rows) => self.disk.archive.crash_after_rows(Some(rows)),
            Op::Restart => return self.restart(true).await,
            Op::Crash => return self.restart(false).await,
            Op::Full => {
                self.disk.journal.set_full(true);
                self.collect_outcomes().await;
                self.disk.journal.set_full(false);
            }
        }
        self
    }

    async fn restart(mut self, stop_first: bool) -> Self {
        if stop_first {
            // After a crash in a fold it has ended already.
            let _how_it_ended = self.life.stop().await;
            self.collect_outcomes().await;
        }
        let Self { disk, life, incarnation, connections, open, appends } = self;
        life.crash().await;
        disk.archive.crash_after_rows(None);
        let next = identity(1, incarnation + 1);
        let life = Life::start(&disk, next, small_windows()).await;
        let mut world =
            Self { disk, life, incarnation: incarnation + 1, connections, open, appends };
        world.connect();
        world
    }
}

/// Every outcome matches the log.
fn check_outcomes(appends: &[SentAppend], logs: &Logs) -> Result<(), TestCaseError> {
    let mut last = BTreeMap::new();
    let mut firsts = BTreeSet::new();
    for SentAppend { connection, proposal, outcome } in appends {
        let room = proposal.room.as_str();
        let at = |slot: u64| &logs[room][usize::try_from(slot).expect("small")].entry;
        match outcome {
            Some(AppendOutcome::Committed { slot, committed_at, repeat }) => {
                let entry = at(*slot);
                prop_assert_eq!((&entry.id, entry.body()), (&proposal.id, proposal.content.body()));
                prop_assert_eq!(entry.committed_at, *committed_at);
                if !repeat {
                    prop_assert!(firsts.insert((room, *slot)), "committed twice");
                    let before = last.insert((connection, room), *slot);
                    prop_assert!(before < Some(*slot), "a connection's appends keep their order");
                }
            }
            Some(AppendOutcome::IdReused { slot }) => {
                prop_assert_eq!(&at(*slot).id, &proposal.id);
                prop_assert_ne!(at(*slot).body(), proposal.content.body());
            }
            None
            | Some(
                AppendOutcome::StorageFull | AppendOutcome::Unavailable | AppendOutcome::Unknown,
            ) => {}
            Some(other) => prop_assert!(false, "{:?}", other),
        }
    }
    Ok(())
}

/// Each id is there once, and only if one of its appends was not refused.
fn check_logs(appends: &[SentAppend], logs: &Logs) -> Result<(), TestCaseError> {
    let refused = |append: &&SentAppend| {
        matches!(append.outcome, Some(AppendOutcome::StorageFull | AppendOutcome::Unavailable))
    };
    let may_be_there: BTreeSet<_> = appends
        .iter()
        .filter(|append| !refused(append))
        .map(|SentAppend { proposal, .. }| (proposal.room.as_str(), &proposal.id))
        .collect();
    for (room, log) in logs {
        let ids: BTreeSet<_> = log.iter().map(|stored| &stored.entry.id).collect();
        prop_assert_eq!(ids.len(), log.len(), "each id once in {}", room);
        for id in ids {
            prop_assert!(may_be_there.contains(&(*room, id)), "{} was refused and is there", id);
        }
        let times = log.iter().map(|stored| stored.entry.committed_at);
        prop_assert!(times.is_sorted(), "a room's time never goes back");
    }
    Ok(())
}

async fn logs(life: &Life) -> Logs {
    let mut logs = BTreeMap::new();
    for room in ROOMS {
        logs.insert(room, life.log_of(room).await);
    }
    logs
}

async fn live(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut world = World::new().await;
    for op in &ops {
        world = world.step(op).await;
    }
    let World { disk, life, incarnation, appends, .. } = world.restart(true).await;
    let log = logs(&life).await;
    check_outcomes(&appends, &log)?;
    check_logs(&appends, &log)?;
    prop_assert_eq!(life.end().await, Ok(()));

    let next = identity(1, incarnation + 2);
    let life = Life::start(&disk.without_archive(), next, small_windows()).await;
    prop_assert_eq!(logs(&life).await, log, "the log is a function of the journal");
    prop_assert_eq!(life.end().await, Ok(()));
    Ok(())
}

/// Failures are not persisted: each one becomes a transcript.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_log_whatever_happens(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(live(ops))?;
    }
}
