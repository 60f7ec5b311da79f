//! The operator's options for the journal: its servers, its credentials and its limits.

use std::path::PathBuf;

use roomlog_core::block::BLOCK_BYTES;

/// The longest prefix.
const PREFIX_BYTES: usize = 32;

/// The most partitions of a log: each takes two tasks, a thread and a share of every limit.
pub const MAX_PARTITIONS: u32 = 64;

/// The smallest `max_bytes`.
const LEAST_STREAM_BYTES: u64 = 1 << 20;

/// The smallest `max_payload` of the servers: twice the largest block.
pub(crate) const LEAST_PAYLOAD: usize = 2 * BLOCK_BYTES;

/// How the streams are named and reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, such as `nats://a:4222,b:4222`; one that is reachable names the others.
    pub servers: String,
    /// The prefix of the names of streams and subjects: capital letters, digits and `-`.
    pub prefix: String,
    /// The number of partitions, fixed when the log is created. By default as many as exist, or 1.
    pub partitions: Option<u32>,
    /// How many servers keep a new stream: 1, 3 or 5; by default 3, or 1 without a cluster.
    pub replicas: Option<usize>,
    /// The most bytes of a stream; by default what the servers allow.
    pub max_bytes: Option<u64>,
    /// The operator declares `sync_interval: always` for every server; they are not asked.
    pub declared: bool,
    /// A file of credentials (a JWT and a seed), as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// A file of CA certificates, in PEM, besides those of the system.
    pub ca: Option<PathBuf>,
    /// The client's certificate and key, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What the streams are opened for.
    pub purpose: Purpose,
}

/// What the streams of a log are opened for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To serve the log.
    #[default]
    Serve,
    /// To move a log to them; nobody serves them before the move is complete.
    MoveHere {
        /// The log.
        log: String,
    },
    /// To move the log away from them; no block is ever added again.
    MoveAway {
        /// The name of the move; a move of another name is refused.
        token: String,
    },
}

impl Purpose {
    pub(crate) fn takes_away(&self) -> bool {
        matches!(self, Self::MoveAway { .. })
    }
}

impl Options {
    /// The defaults for these servers.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            prefix: "ROOMLOG".into(),
            partitions: None,
            replicas: None,
            max_bytes: None,
            declared: false,
            credentials: None,
            ca: None,
            certificate: None,
            purpose: Purpose::Serve,
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A sentence: what is wrong, and which values are allowed.
    pub fn check(&self) -> Result<(), String> {
        let Self { servers, prefix, partitions, replicas, max_bytes, .. } = self;
        for scheme in servers.split(',').filter_map(|it| it.trim().split_once("://")).map(|it| it.0)
        {
            if !["nats", "tls"].contains(&scheme) {
                return Err(format!(
                    "a journal is reached by nats:// or tls://, not by {scheme}://; without \
                     --journal it is a file in the data directory"
                ));
            }
        }
        if self.addresses().next().is_none() {
            return Err("the journal names no server: write nats://host:4222".into());
        }
        let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=PREFIX_BYTES).contains(&prefix.len()) || !prefix.bytes().all(letter) {
            return Err(format!(
                "the journal's prefix {prefix:?} must be 1 to {PREFIX_BYTES} capital letters, \
                 digits and -"
            ));
        }
        if let Some(partitions) = partitions.filter(|it| !(1..=MAX_PARTITIONS).contains(it)) {
            return Err(format!("{partitions} partitions: must be 1 to {MAX_PARTITIONS}"));
        }
        if let Some(replicas) = replicas.filter(|replicas| ![1, 3, 5].contains(replicas)) {
            return Err(format!("{replicas} replicas: must be 1, 3 or 5"));
        }
        if let Some(bytes) = max_bytes.filter(|bytes| *bytes < LEAST_STREAM_BYTES) {
            return Err(format!(
                "a journal of {bytes} bytes: must be {LEAST_STREAM_BYTES} or more"
            ));
        }
        Ok(())
    }

    /// The servers without credentials, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        let shown = self.servers.split(',').map(|server| match server.rsplit_once('@') {
            Some((before, host)) => match before.split_once("://") {
                Some((scheme, _)) => format!("{scheme}://{host}"),
                None => host.to_owned(),
            },
            None => server.to_owned(),
        });
        shown.collect::<Vec<_>>().join(",")
    }

    /// The address of each server.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = String> {
        let (scheme, rest) = self.servers.split_once("://").unwrap_or(("nats", &self.servers));
        rest.split(',').map(str::trim).filter(|server| !server.is_empty()).map(move |server| {
            if server.contains("://") { server.to_owned() } else { format!("{scheme}://{server}") }
        })
    }
}
