//! The fleet: NATS servers, nodes of ours, and the wires between them.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use roomlog_testkit::nats::{Cluster, Setup};
use tempfile::TempDir;

use crate::{disk::Disk, node::Node, proxy::Proxy, run::Plan};

/// How many NATS servers there are.
const SERVERS: usize = 3;

/// The streams of the partitions.
const STREAMS: [&str; 2] = ["ROOMLOG_1_0", "ROOMLOG_1_1"];

/// Servers and nodes.
pub(crate) struct Fleet {
    pub(crate) nats: Cluster,
    pub(crate) nodes: Vec<Node>,
    /// From each NATS server (the row) to each (the column).
    between: Arc<Mutex<Vec<Vec<Proxy>>>>,
    /// From each node (the row) to each NATS server.
    to_nats: Vec<Vec<Proxy>>,
    /// What each NATS server has its store on, when the power may be cut.
    pub(crate) disks: Vec<Disk>,
    /// Nodes that ended by themselves and were started again.
    pub(crate) ended: Vec<String>,
    _directory: TempDir,
}

impl Fleet {
    /// Three servers and some nodes, all ready.
    pub(crate) async fn start(plan: &Plan) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let between = Arc::new(Mutex::new(Vec::new()));
        let kept = between.clone();
        let links = move |ports: &[u16]| {
            let row = |_| ports.iter().filter_map(|&port| Proxy::to(port).ok()).collect();
            let proxies: Vec<Vec<Proxy>> = ports.iter().map(row).collect();
            let used = proxies.iter().map(|row| row.iter().map(|proxy| proxy.port()).collect());
            let used = used.collect();
            *kept.lock() = proxies;
            used
        };
        let names = (0..SERVERS).map(|index| format!("nats{index}"));
        let disks: Vec<Disk> = match plan.faults.iter().any(|fault| fault.cuts_power()) {
            true => {
                names.map(|name| Disk::new(directory.path(), &name)).collect::<io::Result<_>>()?
            }
            false => Vec::new(),
        };
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
            _directory: directory,
        };
        for index in 0..plan.nodes {
            let wires = (0..fleet.nats.len()).map(|server| Proxy::to(fleet.nats.port(server)));
            let wires: Vec<Proxy> = wires.collect::<io::Result<_>>()?;
            let ports =
                wires.iter().map(|wire| format!("roomlog:roomlog@127.0.0.1:{}", wire.port()));
            let journal = format!("nats://{}", ports.collect::<Vec<_>>().join(","));
            let data = fleet._directory.path().join(format!("data{index}"));
            fleet.to_nats.push(wires);
            fleet.nodes.push(Node::new(index, plan, data, journal)?);
        }
        for node in &mut fleet.nodes {
            node.start().await?;
        }
        Ok(fleet)
    }

    /// Notes a node that has ended by itself, before it is started again.
    pub(crate) fn note_ended(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.has_ended() {
            self.ended.push(format!("{} ended by itself:\n{}", node.name, node.said()));
        }
    }

    /// The server that leads the stream, or the first.
    pub(crate) fn leader(&self) -> usize {
        tokio::task::block_in_place(|| self.nats.leader(STREAMS[0])).unwrap_or(0)
    }

    pub(crate) fn restart_nats(&mut self, index: usize) -> io::Result<()> {
        tokio::task::block_in_place(|| self.nats.restart(index))
    }

    pub(crate) fn roll_nats(&mut self, index: usize) -> io::Result<()> {
        tokio::task::block_in_place(|| self.nats.restart_in_peace(index, &STREAMS))
    }

    /// Cuts a NATS server off from the others.
    pub(crate) fn cut_nats(&self, index: usize) {
        self.wires_of(index, Proxy::cut);
    }

    pub(crate) fn mend_nats(&self, index: usize) {
        self.wires_of(index, Proxy::mend);
    }

    fn wires_of(&self, index: usize, change: impl Fn(&Proxy)) {
        for (from, row) in self.between.lock().iter().enumerate() {
            for (to, wire) in row.iter().enumerate() {
                if (from == index) != (to == index) {
                    change(wire);
                }
            }
        }
    }

    /// Cuts a node off from all NATS servers.
    pub(crate) fn cut_node(&self, index: usize) {
        self.to_nats[index].iter().for_each(Proxy::cut);
    }

    pub(crate) fn mend_node(&self, index: usize) {
        self.to_nats[index].iter().for_each(Proxy::mend);
    }
}
