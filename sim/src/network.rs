//! The network between clients and nodes.
//!
//! ```text
//!  client ──connect──► a listener of a node ──► two pipes, a socket at each end
//! ```
//!
//! Enters: connections, faults. Leaves: sockets for clients and for gateways. Invariants: a node that crashes
//! breaks its connections; nothing passes a link that is cut until it is mended; each piece has a delay of its
//! own, and arrives behind those before it.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use roomlog_server::{Transport, TransportStream, Transports};
use tokio::{io::ReadBuf, sync::Notify};

use crate::{clock, pipe::Pipe};

#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<Links>>);

struct Links {
    random: SmallRng,
    /// The longest delay of a piece, in ms.
    delay: u64,
    /// By node.
    cut: Vec<bool>,
    connections: Vec<Weak<Connection>>,
    listeners: Vec<Option<Arc<Accepting>>>,
}

/// The connections that a node has not accepted yet.
#[derive(Default)]
struct Accepting {
    waiting: Mutex<VecDeque<Arc<dyn Transport>>>,
    more: Notify,
}

struct Connection {
    node: usize,
    to_node: Mutex<Pipe>,
    to_client: Mutex<Pipe>,
}

impl Network {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        let (cut, connections) = (vec![false; nodes], Vec::new());
        let listeners = (0..nodes).map(|_| None).collect();
        Self(Arc::new(Mutex::new(Links { random, delay: 3, cut, connections, listeners })))
    }

    /// A listener for a node that starts.
    pub(crate) fn listen(&self, node: usize) -> Listener {
        let accepting = Arc::new(Accepting::default());
        self.set_listener(node, Some(accepting.clone()));
        Listener { accepting }
    }

    /// Connects a client to a node. Fails if the node is down.
    pub(crate) fn connect(&self, node: usize) -> io::Result<TransportStream> {
        let mut links = self.0.lock();
        let accepting = links.listeners[node].clone();
        let accepting = accepting.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (to_node, to_client) = (Mutex::default(), Mutex::default());
        let connection = Arc::new(Connection { node, to_node, to_client });
        links.connections.push(Arc::downgrade(&connection));
        drop(links);
        let end = |is_client| {
            let (network, connection) = (self.clone(), connection.clone());
            Arc::new(End { network, connection, is_client })
        };
        accepting.waiting.lock().push_back(end(false));
        accepting.more.notify_one();
        Ok(TransportStream(end(true)))
    }

    /// A node is gone, and all of its connections.
    pub(crate) fn crash(&self, node: usize) {
        self.set_listener(node, None);
        for connection in self.connections().into_iter().filter(|it| it.node == node) {
            connection.to_node.lock().break_off();
            connection.to_client.lock().break_off();
        }
    }

    fn set_listener(&self, node: usize, accepting: Option<Arc<Accepting>>) {
        let before = std::mem::replace(&mut self.0.lock().listeners[node], accepting);
        // Not with the lock held: the sockets that nobody accepted take it when they are dropped.
        drop(before);
    }

    pub(crate) fn cut(&self, node: usize, is_cut: bool) {
        self.0.lock().cut[node] = is_cut;
    }

    /// Sets the longest delay of a piece, in ms.
    pub(crate) fn set_delay(&self, delay: u64) {
        self.0.lock().delay = delay;
    }

    /// Wakes whoever has something to read now.
    pub(crate) fn advance(&self) {
        for connection in self.connections() {
            let is_cut = self.is_cut(connection.node);
            connection.to_node.lock().advance(is_cut);
            connection.to_client.lock().advance(is_cut);
        }
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        let mut links = self.0.lock();
        links.connections.retain(|connection| connection.strong_count() > 0);
        links.connections.iter().filter_map(Weak::upgrade).collect()
    }

    fn is_cut(&self, node: usize) -> bool {
        self.0.lock().cut[node]
    }

    fn arrival(&self) -> u64 {
        let mut links = self.0.lock();
        let delay = links.delay;
        clock::now() + links.random.random_range(0..=delay)
    }
}

pub(crate) struct Listener {
    accepting: Arc<Accepting>,
}

impl Transports for Listener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Arc<dyn Transport>, IpAddr)>> {
        async {
            loop {
                if let Some(socket) = self.accepting.waiting.lock().pop_front() {
                    return Ok((socket, IpAddr::V4(Ipv4Addr::LOCALHOST)));
                }
                self.accepting.more.notified().await;
            }
        }
        .boxed()
    }
}

/// One end of a connection. When it is dropped, the other end reads the end.
struct End {
    network: Network,
    connection: Arc<Connection>,
    is_client: bool,
}

impl End {
    fn reads(&self) -> &Mutex<Pipe> {
        if self.is_client { &self.connection.to_client } else { &self.connection.to_node }
    }

    fn writes(&self) -> &Mutex<Pipe> {
        if self.is_client { &self.connection.to_node } else { &self.connection.to_client }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let arrives = self.network.arrival();
        self.writes().lock().end(arrives);
        // Nobody reads it any more: whoever writes learns that.
        self.reads().lock().break_off();
    }
}

impl Transport for End {
    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_cut = self.network.is_cut(self.connection.node);
        self.reads().lock().poll_read(context, buffer, is_cut)
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let arrives = self.network.arrival();
        self.writes().lock().write(pieces, arrives)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes().lock().poll_writable(context)
    }

    fn shutdown(&self) {
        let arrives = self.network.arrival();
        self.writes().lock().end(arrives);
    }
}
