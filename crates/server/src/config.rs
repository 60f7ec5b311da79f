//! The settings of the gateway.

use std::time::Duration;

use roomlog_protocol::Limits;

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
            server: concat!("roomlog/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}
