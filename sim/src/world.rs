//! A run: nodes, clients, faults, and the check at the end.
//!
//! Enters: a seed. Leaves: an [`Outcome`]. Invariant: everything happens on one thread, in ticks of a
//! millisecond, in an order that the seed gives.

use std::{collections::BTreeMap, io, thread};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use roomlog_checker::{History, NodeLog, check};
use roomlog_core::rules::Rules;
use roomlog_testkit::fixtures::TRIAL;
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    clock,
    faults::{self, Event, Fault},
    flooder::Flooder,
    host::Host,
    journal::{Stream, Weather},
    network::Network,
    node::{Build, SimNode},
    writer::{FLOODED, ROOMS, Record, Writer, read_log},
};

const NODES: usize = 2;
const WRITERS: usize = 5;

/// How long clients may take until everything is answered after the last fault, in ms.
const ANSWERED_WITHIN: u64 = 120_000;
/// How long nodes may take until they notice that the journal was set back, in ms.
const NOTICED_WITHIN: u64 = 20_000;

/// What a run counted.
pub(crate) struct Outcome {
    seed: u64,
    /// Simulated, in ms.
    time: u64,
    appends: usize,
    acked: usize,
    seen: usize,
    entries: usize,
    faults: BTreeMap<&'static str, u64>,
    pub(crate) broken: Vec<String>,
    pub(crate) history: History,
}

impl Outcome {
    /// As a line of JSON, without the history.
    pub(crate) fn line(&self) -> String {
        let Self { seed, time, appends, acked, seen, entries, faults, broken, .. } = self;
        json!({
            "seed": seed, "ms": time, "appends": appends, "acked": acked, "seen": seen,
            "entries": entries, "faults": faults, "broken": broken,
        })
        .to_string()
    }
}

/// Runs a seed with `faulty` ms of faults, on a thread of its own.
///
/// # Errors
/// If a runtime does not start.
pub(crate) fn run(seed: u64, faulty: u64) -> io::Result<Outcome> {
    let simulated = thread::spawn(move || {
        clock::start(seed);
        World::new(seed, faulty)?.run()
    });
    simulated.join().map_err(|_| io::Error::other("the simulation panicked"))?
}

struct World {
    seed: u64,
    random: SmallRng,
    stream: Stream,
    network: Network,
    nodes: Vec<SimNode>,
    /// Nodes that stand still.
    stopped: [bool; NODES],
    plan: BTreeMap<(u64, usize), Event>,
    faults: BTreeMap<&'static str, u64>,
    record: Record,
    has_tokens: bool,
    broken: Vec<String>,
}

impl World {
    fn new(seed: u64, faulty: u64) -> io::Result<Self> {
        let mut random = SmallRng::seed_from_u64(seed);
        let stream = Stream::new(random.random(), NODES);
        let network = Network::new(random.random(), NODES);
        let plan = faults::plan(&mut random, NODES, faulty);
        let has_tokens = seed.is_multiple_of(2);
        let build = Build { knows: Rules::NEWEST, has_tokens };
        let mut nodes: Vec<_> = (0..NODES).map(|place| SimNode::new(place, build)).collect();
        for node in &mut nodes {
            node.start(&stream, &network)?;
        }
        let (stopped, faults, record, broken) = Default::default();
        Ok(Self {
            seed,
            random,
            stream,
            network,
            nodes,
            stopped,
            plan,
            faults,
            record,
            has_tokens,
            broken,
        })
    }

    fn run(mut self) -> io::Result<Outcome> {
        let faulty = self.plan.last_key_value().map_or(0, |((at, _), _)| *at) + 1;
        let (stop, stopped) = watch::channel(false);
        let (done, is_done) = watch::channel(false);
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (seed, net) = (self.random.random(), (&self.network, NODES));
                Writer::new(number, seed, net, &self.record, stopped.clone(), self.has_tokens)
            })
            .collect();
        let flooder = self.flooder();
        let clients = Host::start(async move {
            let mut running = JoinSet::new();
            writers.into_iter().for_each(|writer| drop(running.spawn(writer.run())));
            // Nobody waits for it.
            let _flooding = flooder.map(|flooder| tokio::spawn(flooder.run()));
            while running.join_next().await.is_some() {}
            done.send_replace(true);
        })?;
        for now in 0..faulty {
            self.tick(now, &clients)?;
        }
        stop.send_replace(true);
        let mut now = faulty;
        while !*is_done.borrow() && now < faulty + ANSWERED_WITHIN {
            self.tick(now, &clients)?;
            now += 1;
        }
        if !*is_done.borrow() {
            let why = format!("clients were not answered within {ANSWERED_WITHIN} ms");
            self.broken.push(why);
        }
        drop(clients);
        let logs = self.read(&mut now)?;
        if self.random.random_ratio(1, 4) {
            self.set_back(&mut now)?;
        }
        Ok(self.end(now, logs))
    }

    /// One run in three has one.
    fn flooder(&mut self) -> Option<Flooder> {
        self.random.random_ratio(1, 3).then(|| {
            *self.faults.entry("flooder").or_default() += 1;
            Flooder {
                network: self.network.clone(),
                nodes: NODES,
                record: self.record.clone(),
                seed: self.random.random(),
                has_tokens: self.has_tokens,
            }
        })
    }

    /// Sets the journal back behind what the nodes have folded; none of them may go on.
    fn set_back(&mut self, now: &mut u64) -> io::Result<()> {
        let folded = self.nodes.iter().map(SimNode::folded).min().unwrap_or(0);
        if folded == 0 {
            return Ok(());
        }
        *self.faults.entry("journal set back").or_default() += 1;
        self.nodes.iter_mut().for_each(|node| node.crash(&self.network));
        self.stream.set_back(self.random.random_range(0..folded));
        for node in &mut self.nodes {
            node.start(&self.stream, &self.network)?;
        }
        let nobody = Host::start(std::future::pending())?;
        let (ends, mut noticed) = (*now + NOTICED_WITHIN, [false; NODES]);
        while *now < ends && noticed.contains(&false) {
            self.step(*now, &nobody);
            for (node, noticed) in self.nodes.iter_mut().zip(&mut noticed) {
                *noticed |= node.take_ended().is_some();
            }
            *now += 1;
        }
        for (place, _) in noticed.iter().enumerate().filter(|(_, noticed)| !**noticed) {
            self.broken.push(format!("node-{place} goes on with a journal that was set back"));
        }
        Ok(())
    }

    /// Reads every node's log.
    fn read(&mut self, now: &mut u64) -> io::Result<Vec<NodeLog>> {
        let mut logs = Vec::new();
        for node in 0..NODES {
            let network = self.network.clone();
            let replies = std::sync::Arc::new(Mutex::new(None));
            let (seen, has_tokens) = (self.shown(), self.has_tokens);
            let reader = {
                let replies = replies.clone();
                Host::start(async move {
                    let read = read_log(&network, node, &seen, has_tokens).await;
                    *replies.lock() = Some(read);
                })?
            };
            let ends = *now + ANSWERED_WITHIN;
            while replies.lock().is_none() && *now < ends {
                self.tick(*now, &reader)?;
                *now += 1;
            }
            match replies.lock().take() {
                Some(replies) => logs.push(NodeLog { node: format!("node-{node}"), replies }),
                None => self.broken.push(format!("node-{node} cannot be read at the end")),
            };
        }
        Ok(logs)
    }

    /// The highest slot of each room that any client knows of.
    fn shown(&self) -> Vec<(String, i64)> {
        let rooms = ROOMS.iter().chain([&FLOODED]);
        let mut shown: BTreeMap<String, i64> = rooms.map(|it| ((*it).into(), -1)).collect();
        self.record.for_each_received(|frame| {
            let Some(last) = frame["room"].as_str().and_then(|room| shown.get_mut(room)) else {
                return;
            };
            let entries = frame["entries"].as_array().into_iter().flatten();
            let slots = entries.chain([frame]).filter_map(|it| it["slot"].as_i64());
            *last = slots.chain(frame["latest"].as_i64()).fold(*last, i64::max);
        });
        shown.into_iter().collect()
    }

    fn end(mut self, now: u64, logs: Vec<NodeLog>) -> Outcome {
        let history = History { frames: self.record.take(), logs };
        let report = check(&history);
        self.broken.extend(report.broken);
        Outcome {
            seed: self.seed,
            time: now,
            appends: report.appends,
            acked: report.acked,
            seen: report.seen,
            entries: report.entries,
            faults: self.faults,
            broken: self.broken,
            history,
        }
    }

    fn tick(&mut self, now: u64, clients: &Host) -> io::Result<()> {
        clock::set(now, 0);
        while let Some(next) = self.plan.first_entry().filter(|next| next.key().0 <= now) {
            let event = next.remove();
            self.inject(event)?;
        }
        self.step(now, clients);
        self.restart_ended()
    }

    /// Everything that happens in a millisecond, but for faults.
    fn step(&mut self, now: u64, clients: &Host) {
        clock::set(now, 0);
        self.stream.advance();
        self.network.advance();
        let mut order: Vec<_> = (0..=NODES).collect();
        order.shuffle(&mut self.random);
        for place in order {
            match self.nodes.get(place) {
                Some(node) if !self.stopped[place] => {
                    clock::set(now, node.skew);
                    node.tick();
                }
                Some(_) => {}
                None => {
                    clock::set(now, 0);
                    clients.tick();
                }
            }
        }
        clock::set(now, 0);
    }

    /// A node that ended in a fold that failed is started again, and an older build that met newer rules as a newer
    /// one; any other end is a violation.
    fn restart_ended(&mut self) -> io::Result<()> {
        for place in 0..NODES {
            let Some(why) = self.nodes[place].take_ended() else { continue };
            if why.contains("a newer one wrote it") && self.nodes[place].build.knows != TRIAL {
                *self.faults.entry("newer rules met").or_default() += 1;
                self.nodes[place].build.knows = TRIAL;
            } else if !why.contains("a crash inside a fold") {
                self.broken.push(format!("node-{place} ended by itself: {why}"));
            }
            self.nodes[place].crash(&self.network);
            self.nodes[place].start(&self.stream, &self.network)?;
        }
        Ok(())
    }

    fn inject(&mut self, event: Event) -> io::Result<()> {
        let Event { fault, node, begins, size } = event;
        if begins {
            *self.faults.entry(fault.name()).or_default() += 1;
        }
        let days = i64::try_from(size % 20).unwrap_or(0) - 10;
        match fault {
            Fault::Crash if begins => self.nodes[node].crash(&self.network),
            Fault::LoseArchive if begins => {
                self.nodes[node].crash(&self.network);
                self.nodes[node].lose_archive();
            }
            Fault::Upgrade if begins => {
                self.nodes[node].crash(&self.network);
                self.nodes[node].build.knows = TRIAL;
            }
            Fault::Crash | Fault::LoseArchive | Fault::Upgrade => {
                if !self.nodes[node].is_up() {
                    self.nodes[node].start(&self.stream, &self.network)?;
                }
            }
            Fault::CrashInFold if begins => {
                let rows = usize::try_from(size % 60).unwrap_or(0);
                self.nodes[node].crash_in_fold(rows);
            }
            Fault::CrashInFold => {}
            Fault::CutStream => self.stream.cut(node, begins),
            Fault::CutClients => self.network.cut(node, begins),
            Fault::Stop => self.stopped[node] = begins,
            Fault::BadStream => {
                self.stream.set_weather(if begins { Weather::BAD } else { Weather::FINE });
            }
            Fault::SlowClients => self.network.set_delay(if begins { 400 } else { 3 }),
            Fault::NodeClock => self.nodes[node].skew = if begins { days * 86_400_000 } else { 0 },
            Fault::StreamClock => {
                self.stream.set_skew(if begins { days * 3_600_000 } else { 0 });
            }
        }
        Ok(())
    }
}
