//! What an operator says about the journal: where it is, who we are there, what it may use.

use std::path::PathBuf;

/// The longest first part of a name.
const PREFIX_BYTES: usize = 32;

/// The most partitions of a log: each is two tasks, a thread and a share of every bound.
pub const MOST_PARTITIONS: u32 = 64;

/// The smallest bound of a stream, in bytes.
const LEAST_STREAM_BYTES: u64 = 1 << 20;

/// How the streams are named and found.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, such as `nats://a:4222,b:4222`; one that answers is enough, the others are learned.
    pub servers: String,
    /// The first part of the names of streams and subjects: capital letters, digits and `-`.
    pub prefix: String,
    /// How many partitions the log has; without it, as many as are there, or 1. Fixed when it is made.
    pub partitions: Option<u32>,
    /// How many servers keep each stream that is made: 1, 3 or 5. Without it, 1 on a server that is in no
    /// cluster, else 3.
    pub replicas: Option<usize>,
    /// The most bytes of a stream, over all its blocks; without it, what the servers allow.
    pub max_bytes: Option<u64>,
    /// The operator says that every server has `sync_interval: always`; it is not asked then.
    pub declared: bool,
    /// A file of credentials (a JWT and a seed), as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// A file of certificates of authorities, in PEM, beside those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, in PEM, where the servers ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What the streams are opened for.
    pub purpose: Purpose,
}

/// What the streams of a log are opened for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To serve it.
    #[default]
    Serve,
    /// To move this log to them: nobody serves them before that is done.
    MoveHere {
        /// The log.
        log: String,
    },
    /// To move it away from them: nothing is ever added again.
    MoveAway {
        /// The name of the one move that may; who comes with another is refused.
        token: String,
    },
}

impl Purpose {
    pub(crate) fn takes_away(&self) -> bool {
        matches!(self, Self::MoveAway { .. })
    }
}

impl Options {
    /// The defaults, for these servers.
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

    /// Whether they can be meant.
    ///
    /// # Errors
    /// What cannot, and what would do.
    pub fn check(&self) -> Result<(), String> {
        let Self { servers, prefix, partitions, replicas, max_bytes, .. } = self;
        for scheme in servers.split(',').filter_map(|it| it.trim().split_once("://")).map(|it| it.0)
        {
            if !["nats", "tls"].contains(&scheme) {
                return Err(format!(
                    "a journal is reached by nats:// or tls://, not by {scheme}://; without --journal it is \
                     a file in the data directory"
                ));
            }
        }
        if self.addresses().next().is_none() {
            return Err("the journal names no server: write nats://host:4222".into());
        }
        let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=PREFIX_BYTES).contains(&prefix.len()) || !prefix.bytes().all(letter) {
            return Err(format!(
                "the journal's prefix {prefix:?} must be 1 to {PREFIX_BYTES} capital letters, digits and -"
            ));
        }
        if let Some(partitions) = partitions.filter(|it| !(1..=MOST_PARTITIONS).contains(it)) {
            return Err(format!("{partitions} partitions: say 1 to {MOST_PARTITIONS}"));
        }
        if let Some(replicas) = replicas.filter(|replicas| ![1, 3, 5].contains(replicas)) {
            return Err(format!("{replicas} replicas keep no quorum well: say 1, 3 or 5"));
        }
        if let Some(bytes) = max_bytes.filter(|bytes| *bytes < LEAST_STREAM_BYTES) {
            return Err(format!("{bytes} bytes are no journal: say {LEAST_STREAM_BYTES} or more"));
        }
        Ok(())
    }

    /// The servers without names and passwords, as they may be shown.
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

    /// The servers, an address each.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = String> {
        let (scheme, rest) = self.servers.split_once("://").unwrap_or(("nats", &self.servers));
        rest.split(',').map(str::trim).filter(|server| !server.is_empty()).map(move |server| {
            if server.contains("://") { server.to_owned() } else { format!("{scheme}://{server}") }
        })
    }
}
