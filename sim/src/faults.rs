//! The faults of a run: which, when and for how long, from its seed.
//!
//! Enters: a random number generator. Leaves: a plan, sorted by time. Invariant: every fault that lasts is
//! mended by the end of the plan.

use std::collections::BTreeMap;

use rand::{RngExt, rngs::SmallRng};

/// The shortest and longest time between two faults, in ms.
const BETWEEN: std::ops::Range<u64> = 100..1_500;
/// How long a fault lasts, in ms.
const LASTS: std::ops::Range<u64> = 50..4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A node crashes, and starts later.
    Crash,
    /// A fold fails in the middle, which ends its node.
    CrashInFold,
    /// A node crashes and starts without its archive.
    LoseArchive,
    /// A node is cut off from the stream.
    CutStream,
    /// Clients are cut off from a node.
    CutClients,
    /// A node stands still, as a stopped process does.
    Stop,
    /// Publishes are late, lost and doubled.
    BadStream,
    /// Everything between clients and nodes is slow.
    SlowClients,
    /// The clock of a node jumps by days.
    NodeClock,
    /// The clock of the stream jumps.
    StreamClock,
    /// A node is stopped, and started as a newer build.
    Upgrade,
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::Crash,
        Self::CrashInFold,
        Self::LoseArchive,
        Self::CutStream,
        Self::CutClients,
        Self::Stop,
        Self::BadStream,
        Self::SlowClients,
        Self::NodeClock,
        Self::StreamClock,
        Self::Upgrade,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashInFold => "crash in a fold",
            Self::LoseArchive => "lose the archive",
            Self::CutStream => "cut from the stream",
            Self::CutClients => "cut from clients",
            Self::Stop => "stop",
            Self::BadStream => "bad stream",
            Self::SlowClients => "slow clients",
            Self::NodeClock => "node's clock",
            Self::StreamClock => "stream's clock",
            Self::Upgrade => "upgrade",
        }
    }
}

/// A fault, or its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) fault: Fault,
    pub(crate) node: usize,
    /// It begins; otherwise it is mended.
    pub(crate) begins: bool,
    /// A number that the fault may use.
    pub(crate) size: u64,
}

/// The events of a run by time, in ms; the last is before `ends`.
pub(crate) fn plan(
    random: &mut SmallRng,
    nodes: usize,
    ends: u64,
) -> BTreeMap<(u64, usize), Event> {
    let (mut plan, mut at) = (BTreeMap::new(), 1_000);
    loop {
        at += random.random_range(BETWEEN);
        if at >= ends {
            return plan;
        }
        let fault = Fault::ALL[random.random_range(0..Fault::ALL.len())];
        let (node, size) = (random.random_range(0..nodes), random.random());
        let event = Event { fault, node, begins: true, size };
        let mended = (at + random.random_range(LASTS)).min(ends);
        plan.insert((at, plan.len()), event);
        plan.insert((mended, plan.len()), Event { begins: false, ..event });
    }
}
