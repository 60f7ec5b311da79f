//! What is done to a fleet, and how it is undone.

use std::{fmt, io, str::FromStr, time::Duration};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::fleet::Fleet;

/// For how long what is stopped or cut stays so: longer than an election and a client's patience.
const STOPPED_FOR: Duration = Duration::from_secs(10);

/// For how long what was killed is away.
const AWAY_FOR: Duration = Duration::from_secs(3);

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of the NATS server that leads the stream.
    KillLeader,
    /// kill -9 of two NATS servers, the leader among them.
    KillTwo,
    /// kill -9 of all NATS servers.
    KillAll,
    /// kill -9 of a node.
    KillNode,
    /// SIGSTOP of the NATS server that leads the stream.
    StopLeader,
    /// SIGSTOP of a node.
    StopNode,
    /// A cut between the NATS server that leads the stream and the others.
    CutLeader,
    /// A cut between a node and NATS.
    CutNode,
    /// A node is killed and starts without its archive.
    EmptyArchive,
    /// Every NATS server is restarted, one after the other.
    RollNats,
    /// Every node is restarted in peace, one after the other.
    RollNodes,
}

impl Fault {
    /// All of them.
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

    fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillTwo => "kill-two",
            Self::KillAll => "kill-all",
            Self::KillNode => "kill-node",
            Self::StopLeader => "stop-leader",
            Self::StopNode => "stop-node",
            Self::CutLeader => "cut-leader",
            Self::CutNode => "cut-node",
            Self::EmptyArchive => "empty-archive",
            Self::RollNats => "roll-nats",
            Self::RollNodes => "roll-nodes",
        }
    }

    /// Does it to a fleet, to the node of this number where it is done to one, and undoes it.
    pub(crate) async fn strike(self, fleet: &mut Fleet, node: usize) -> io::Result<()> {
        let servers = fleet.nats.len();
        match self {
            Self::KillLeader => {
                let leader = fleet.leader();
                kill_nats(fleet, &[leader]).await
            }
            Self::KillTwo => {
                let leader = fleet.leader();
                kill_nats(fleet, &[leader, (leader + 1) % servers]).await
            }
            Self::KillAll => kill_nats(fleet, &(0..servers).collect::<Vec<_>>()).await,
            Self::KillNode | Self::EmptyArchive => {
                fleet.nodes[node].kill().await;
                sleep(AWAY_FOR).await;
                if self == Self::EmptyArchive {
                    fleet.nodes[node].empty()?;
                }
                fleet.nodes[node].start().await
            }
            Self::StopLeader => {
                let leader = fleet.leader();
                fleet.nats.freeze(leader);
                sleep(STOPPED_FOR).await;
                fleet.nats.thaw(leader);
                Ok(())
            }
            Self::StopNode => {
                fleet.nodes[node].signal(Signal::STOP);
                sleep(STOPPED_FOR).await;
                fleet.nodes[node].signal(Signal::CONT);
                Ok(())
            }
            Self::CutLeader => {
                let leader = fleet.leader();
                fleet.cut_nats(leader);
                sleep(STOPPED_FOR).await;
                fleet.mend_nats(leader);
                Ok(())
            }
            Self::CutNode => {
                fleet.cut_node(node);
                sleep(STOPPED_FOR).await;
                fleet.mend_node(node);
                Ok(())
            }
            Self::RollNats => {
                for server in 0..servers {
                    fleet.restart_nats(server)?;
                    sleep(AWAY_FOR).await;
                }
                Ok(())
            }
            Self::RollNodes => {
                for node in &mut fleet.nodes {
                    node.stop().await?;
                    node.start().await?;
                }
                Ok(())
            }
        }
    }
}

async fn kill_nats(fleet: &mut Fleet, servers: &[usize]) -> io::Result<()> {
    for &server in servers {
        fleet.nats.kill(server);
    }
    sleep(AWAY_FOR).await;
    for &server in servers {
        fleet.restart_nats(server)?;
    }
    Ok(())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|fault| fault.name() == name);
        known.ok_or_else(|| {
            format!("{name} is no fault; there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}
