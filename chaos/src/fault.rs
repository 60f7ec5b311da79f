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
    /// The power of one NATS server is cut: the one that leads the stream.
    PowerOne,
    /// The power of two is cut at once.
    PowerTwo,
    /// The power of all is cut at once.
    PowerAll,
    /// Every NATS server is restarted in peace, one after the other.
    RollNats,
    /// Every node is restarted in peace, one after the other.
    RollNodes,
}

impl Fault {
    /// All that need no rights: those that cut the power mount disks, which is for root.
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
            Self::PowerOne => "power-one",
            Self::PowerTwo => "power-two",
            Self::PowerAll => "power-all",
            Self::RollNats => "roll-nats",
            Self::RollNodes => "roll-nodes",
        }
    }

    /// Those that cut the power.
    pub const POWER: [Self; 3] = [Self::PowerOne, Self::PowerTwo, Self::PowerAll];

    /// Whether servers need disks that can lose their power.
    #[must_use]
    pub fn cuts_power(self) -> bool {
        Self::POWER.contains(&self)
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
            Self::PowerOne | Self::PowerTwo | Self::PowerAll => {
                let count = Self::POWER.iter().position(|it| *it == self).map_or(1, |it| it + 1);
                let leader = fleet.leader();
                let struck: Vec<_> = (0..count).map(|turn| (leader + turn) % servers).collect();
                cut_power(fleet, &struck).await
            }
            Self::KillNode | Self::EmptyArchive => {
                fleet.note_ended(node);
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
                    fleet.roll_nats(server)?;
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

async fn cut_power(fleet: &mut Fleet, servers: &[usize]) -> io::Result<()> {
    for &server in servers {
        fleet.nats.kill(server);
    }
    for &server in servers {
        let disk = &fleet.disks[server];
        tokio::task::block_in_place(|| disk.cut())?;
    }
    sleep(AWAY_FOR).await;
    for &server in servers {
        fleet.restart_nats(server)?;
    }
    Ok(())
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
        let all = || Self::ALL.into_iter().chain(Self::POWER);
        all().find(|fault| fault.name() == name).ok_or_else(|| {
            let names: Vec<_> = all().map(Self::name).collect();
            format!("{name} is no fault; there are {}", names.join(", "))
        })
    }
}
