//! What a run does: its fleet, its writers, and the faults that it injects.

use std::{fmt, path::PathBuf, time::Duration};

use clap::ValueEnum;

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The `roomlog` executable.
    pub binary: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// How many writers, spread over the rooms.
    pub writers: usize,
    /// How many rooms.
    pub rooms: usize,
    /// The time between two appends of a writer.
    pub pace: Duration,
    /// The faults, in order.
    pub faults: Vec<Fault>,
    /// Whether NATS servers fsync before they ack. A run without it shows what the checker finds.
    pub synced: bool,
    /// Whether to log progress to standard error.
    pub talks: bool,
}

impl Plan {
    /// Three nodes and nine writers in three rooms, so that each room has a writer on each node.
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

/// A fault. The leader is that of the first stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// kill -9 the leading NATS server
    KillLeader,
    /// kill -9 two NATS servers, one of them the leader
    KillTwo,
    /// kill -9 all NATS servers
    KillAll,
    /// kill -9 a node
    KillNode,
    /// SIGSTOP the leading NATS server for a while
    StopLeader,
    /// SIGSTOP a node for a while
    StopNode,
    /// Disconnect the leading NATS server from the others
    CutLeader,
    /// Disconnect a node from NATS
    CutNode,
    /// kill -9 a node and start it without its archive
    EmptyArchive,
    /// Cut the power of the leading NATS server; needs root
    PowerOne,
    /// Cut the power of two NATS servers at once; needs root
    PowerTwo,
    /// Cut the power of all NATS servers at once; needs root
    PowerAll,
    /// Rolling restart of the NATS servers
    RollNats,
    /// Rolling restart of the nodes
    RollNodes,
}

impl Fault {
    /// All that work without root: power cuts mount disks.
    pub const ALL: [Self; 11] = [
        Self::KillLeader,
        Self::KillTwo,
        Self::KillAll,
        Self::KillNode,
        Self::StopLeader,
        Self::StopNode,
        Self::CutLeader,
        Self::CutNode,
        Self::EmptyArchive,
        Self::RollNats,
        Self::RollNodes,
    ];

    /// Whether servers need disks whose power can be cut.
    #[must_use]
    pub fn cuts_power(self) -> bool {
        matches!(self, Self::PowerOne | Self::PowerTwo | Self::PowerAll)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
