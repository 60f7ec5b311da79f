//! The fleet: NATS servers, Roomlog nodes, and the proxies between them.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use roomlog_testkit::nats::{Cluster, Setup};
use tempfile::TempDir;

use crate::{disk::Disk, node::Node, plan::Plan, proxy::Proxy};

const SERVERS: usize = 3;
/// The streams of the partitions: enough that rooms are in several.
const STREAMS: [&str; 2] = ["ROOMLOG_1_0", "ROOMLOG_1_1"];

pub(crate) struct Fleet {
    pub(crate) nats: Cluster,
    pub(crate) nodes: Vec<Node>,
    /// From each NATS server (the row) to each (the column).
    between: Arc<Mutex<Vec<Vec<Proxy>>>>,
    /// From each node (the row) to each NATS server.
    pub(crate) to_nats: Vec<Vec<Proxy>>,
    /// The NATS servers' stores, if the plan cuts power.
    pub(crate) disks: Vec<Disk>,
    /// Nodes that exited by themselves.
    pub(crate) ended: Vec<String>,
    directory: TempDir,
}

impl Fleet {
    /// Starts all servers and nodes, and waits until they are ready.
    pub(crate) async fn start(plan: &Plan) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let between = Arc::new(Mutex::new(Vec::new()));
        let kept = between.clone();
        let links = move |ports: &[u16]| {
            let row = |_| ports.iter().filter_map(|&port| Proxy::to(port).ok()).collect();
            let proxies: Vec<Vec<Proxy>> = ports.iter().map(row).collect();
            let row = |row: &Vec<Proxy>| row.iter().map(Proxy::port).collect();
            let used = proxies.iter().map(row).collect();
            *kept.lock() = proxies;
            used
        };
        let disks = if plan.faults.iter().any(|fault| fault.cuts_power()) { SERVERS } else { 0 };
        let disks = (0..disks).map(|index| Disk::new(directory.path(), &format!("nats{index}")));
        let disks: Vec<Disk> = disks.collect::<io::Result<_>>()?;
        let store = |disk: &Disk| disk.mounted.join("store");
        let setup = Setup {
            links: Some(Box::new(links)),
            synced: plan.synced,
            stores: (!disks.is_empty()).then(|| disks.iter().map(store).collect()),
            ..Setup::default()
        };
        let nats = tokio::task::block_in_place(|| Cluster::start(&setup))?;
        let mut fleet = Self {
            nats,
            nodes: Vec::new(),
            between,
            to_nats: Vec::new(),
            disks,
            ended: Vec::new(),
            directory,
        };
        for index in 0..plan.nodes {
            let wires = (0..fleet.nats.len()).map(|server| Proxy::to(fleet.nats.port(server)));
            let wires: Vec<Proxy> = wires.collect::<io::Result<_>>()?;
            let ports =
                wires.iter().map(|wire| format!("roomlog:roomlog@127.0.0.1:{}", wire.port()));
            let journal = format!("nats://{}", ports.collect::<Vec<_>>().join(","));
            let data = fleet.directory.path().join(format!("data{index}"));
            fleet.to_nats.push(wires);
            let mut flags = vec![format!("--journal={journal}")];
            flags.push(format!("--journal-partitions={}", STREAMS.len()));
            // For servers that do not fsync.
            flags.extend((!plan.synced).then(|| "--journal-declared".into()));
            fleet.nodes.push(Node::new(format!("node {index}"), &plan.binary, data, flags)?);
        }
        for node in &mut fleet.nodes {
            node.start().await?;
        }
        Ok(fleet)
    }

    /// Records a node that exited by itself; returns whether it did.
    pub(crate) fn note_ended(&mut self, node: usize) -> bool {
        let node = &mut self.nodes[node];
        let has_ended = node.has_ended();
        if has_ended {
            self.ended.push(format!("{} exited by itself:\n{}", node.name, node.log()));
        }
        has_ended
    }

    /// The leader of the first stream, or the first server.
    pub(crate) fn leader(&self) -> usize {
        tokio::task::block_in_place(|| self.nats.leader(STREAMS[0])).unwrap_or(0)
    }

    /// Restarts a NATS server gracefully.
    pub(crate) fn roll_nats(&mut self, index: usize) -> io::Result<()> {
        tokio::task::block_in_place(|| self.nats.restart_gracefully(index, &STREAMS))
    }

    /// Applies a change to all wires between a NATS server and the others.
    pub(crate) fn for_wires_of(&self, index: usize, change: impl Fn(&Proxy)) {
        for (from, row) in self.between.lock().iter().enumerate() {
            for (to, wire) in row.iter().enumerate() {
                if (from == index) != (to == index) {
                    change(wire);
                }
            }
        }
    }
}
