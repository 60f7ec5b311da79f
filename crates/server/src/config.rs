//! The settings of the gateway.

use std::{path::PathBuf, sync::Arc, time::Duration};

use roomlog_protocol::Limits;

use crate::Metrics;

/// The settings of the gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// What clients are held to, and told in `hello`.
    pub limits: Limits,
    /// Browser origins that may speak to this server besides its own.
    pub origins: Vec<String>,
    /// How long a socket may take its last answers when the server stops.
    pub drain: Duration,
    /// How many sockets are served at once; more wait to be accepted.
    pub sockets: usize,
    /// How often a comment is sent among Server-Sent Events, so that whatever stands between knows
    /// that the connection lives.
    pub event_comment: Duration,
    /// The most bytes of one batch of appends over HTTP.
    pub batch_bytes: usize,
    /// The most bytes of all batches that are held at once; beyond: `busy`.
    pub batches_bytes: usize,
    /// Files whose sizes `/metrics` tells, by their names; those that are there.
    pub files: Vec<PathBuf>,
    /// Where it is counted what the server does.
    pub metrics: Arc<Metrics>,
    /// What an ack stands on: `hello.durability`.
    pub durability: &'static str,
    /// Name and version, for people: `hello.server`.
    pub server: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            origins: Vec::new(),
            drain: Duration::from_secs(10),
            sockets: 20_000,
            event_comment: Duration::from_secs(15),
            batch_bytes: 16 << 20,
            batches_bytes: 64 << 20,
            files: Vec::new(),
            metrics: Arc::default(),
            durability: "fsync",
            server: concat!("roomlog/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}
