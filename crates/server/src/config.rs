//! The settings of the gateway.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use roomlog_protocol::{Hello, Limits, PROTOCOL_VERSION, ServerFrame};
use tokio::{runtime::Handle, sync::watch};

use crate::{auth::Tokens, metrics::Metrics, proxies::Proxies, tls::Tls, wire};

/// The settings of the gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// The limits for clients, sent in `hello`.
    pub limits: Limits,
    /// Limits that replace those of [`Limits::LIVE`] while the server runs.
    pub new_limits: watch::Receiver<Limits>,
    /// The tokens that clients log in with; `None`: the server is open.
    pub tokens: Option<Arc<Tokens>>,
    /// Browser origins that may use this server besides its own.
    pub origins: Vec<String>,
    /// The certificate of the public listener; `None`: it is served in the clear.
    pub tls: Option<Arc<Tls>>,
    /// The proxies that are believed whom they ask for.
    pub proxies: Proxies,
    /// How long a socket may take its last answers at shutdown.
    pub drain: Duration,
    /// How many sockets are served concurrently. A principal may have as many of them as are free.
    pub sockets: usize,
    /// The budget of what the server holds for its clients, besides appends.
    pub memory_bytes: usize,
    /// The interval of comments among Server-Sent Events, so that proxies keep the connection.
    pub event_comment: Duration,
    /// The most bytes of one batch of appends over HTTP.
    pub batch_bytes: usize,
    /// The data directory.
    pub data: PathBuf,
    /// Gives the bytes of each file of the data directory by its name, for `/metrics`. Reads the directory.
    pub file_sizes: fn(&Path) -> BTreeMap<String, u64>,
    /// The counters of this server.
    pub metrics: Arc<Metrics>,
    /// What an ack guarantees: `hello.durability`.
    pub durability: &'static str,
    /// Name and version, for people: `hello.server`.
    pub server: String,
    /// The runtime that the node runs on, if it has a thread of its own: connections that mostly append
    /// are served there, so that an append is not passed between threads.
    pub append_loop: Option<Handle>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            new_limits: watch::channel(Limits::default()).1,
            tokens: None,
            origins: Vec::new(),
            tls: None,
            proxies: Proxies::default(),
            drain: Duration::from_secs(10),
            sockets: 20_000,
            memory_bytes: 256 << 20,
            event_comment: Duration::from_secs(15),
            batch_bytes: 16 << 20,
            data: PathBuf::new(),
            file_sizes: |_| BTreeMap::new(),
            metrics: Arc::default(),
            durability: "fsync",
            server: concat!("roomlog/", env!("CARGO_PKG_VERSION")).into(),
            append_loop: None,
        }
    }
}

impl Config {
    /// Sets how many sockets are served, and fits the limits that would let one client take them all.
    #[must_use]
    pub fn with_sockets(self, sockets: usize) -> Self {
        Self { sockets, limits: fitted(self.limits, sockets), ..self }
    }

    /// The first frame of every connection.
    pub(crate) fn hello(&self, log: &str, limits: Limits) -> Bytes {
        wire::server_frame(&ServerFrame::Hello(Box::new(Hello {
            protocol: PROTOCOL_VERSION,
            server: self.server.clone(),
            log: log.into(),
            auth: if self.tokens.is_some() { "token" } else { "open" }.into(),
            durability: self.durability.into(),
            limits,
        })))
    }
}

/// Limits with which one client cannot take all sockets.
pub(crate) fn fitted(limits: Limits, sockets: usize) -> Limits {
    Limits {
        connections_per_principal: sockets.min(limits.connections_per_principal),
        // The oldest that is pending is cut before all places are taken.
        pending_logins: sockets.div_ceil(2).min(limits.pending_logins),
        ..limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_few_sockets_one_client_may_not_take_them_all_with_connections_that_are_pending() {
        let config = Config::default().with_sockets(3_840);
        let Limits { connections_per_principal, pending_logins, .. } = config.limits;
        assert_eq!((connections_per_principal, pending_logins), (3_840, 1_920));
        let config = Config::default().with_sockets(1);
        assert_eq!((config.sockets, config.limits.pending_logins), (1, 1));
        let config = Config::default().with_sockets(1_000_000);
        assert_eq!(config.limits, Limits::default());
    }
}
