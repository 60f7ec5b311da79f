//! How each fault is injected and undone.

use std::{io, time::Duration};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::{fleet::Fleet, plan::Fault, proxy::Proxy};

/// How long something stays stopped or cut: longer than an election and a client's patience.
const STOPPED_FOR: Duration = Duration::from_secs(10);
/// How long something killed stays down.
const DOWN_FOR: Duration = Duration::from_secs(3);

/// Injects a fault into a fleet, on this node if it is about one, and undoes it.
pub(crate) async fn inject(fault: Fault, fleet: &mut Fleet, node: usize) -> io::Result<()> {
    let servers = fleet.nats.len();
    match fault {
        Fault::KillLeader | Fault::PowerOne => down(fault, fleet, 1).await?,
        Fault::KillTwo | Fault::PowerTwo => down(fault, fleet, 2).await?,
        Fault::KillAll | Fault::PowerAll => down(fault, fleet, servers).await?,
        Fault::KillNode | Fault::EmptyArchive => {
            fleet.note_ended(node);
            fleet.nodes[node].kill().await;
            sleep(DOWN_FOR).await;
            if fault == Fault::EmptyArchive {
                fleet.nodes[node].empty()?;
            }
            fleet.nodes[node].start().await?;
        }
        Fault::StopLeader => {
            let leader = fleet.leader();
            fleet.nats.freeze(leader);
            sleep(STOPPED_FOR).await;
            fleet.nats.thaw(leader);
        }
        Fault::StopNode => {
            fleet.nodes[node].signal(Signal::STOP);
            sleep(STOPPED_FOR).await;
            fleet.nodes[node].signal(Signal::CONT);
        }
        Fault::CutLeader => {
            let leader = fleet.leader();
            fleet.for_wires_of(leader, Proxy::cut);
            sleep(STOPPED_FOR).await;
            fleet.for_wires_of(leader, Proxy::mend);
        }
        Fault::CutNode => {
            fleet.to_nats[node].iter().for_each(Proxy::cut);
            sleep(STOPPED_FOR).await;
            fleet.to_nats[node].iter().for_each(Proxy::mend);
        }
        Fault::RollNats => {
            for server in 0..servers {
                fleet.roll_nats(server)?;
            }
        }
        Fault::RollNodes => {
            for node in &mut fleet.nodes {
                node.stop().await?;
                node.start().await?;
            }
        }
    }
    Ok(())
}

/// Kills NATS servers at once, the leader first, or cuts their power, and restarts them.
async fn down(fault: Fault, fleet: &mut Fleet, count: usize) -> io::Result<()> {
    let (leader, servers) = (fleet.leader(), fleet.nats.len());
    let struck: Vec<_> = (0..count).map(|turn| (leader + turn) % servers).collect();
    struck.iter().for_each(|&server| fleet.nats.kill(server));
    if fault.cuts_power() {
        for &server in &struck {
            tokio::task::block_in_place(|| fleet.disks[server].cut())?;
        }
    }
    sleep(DOWN_FOR).await;
    for server in struck {
        tokio::task::block_in_place(|| fleet.nats.restart(server))?;
    }
    Ok(())
}
