//! How a client behaves.

use std::time::Duration;

use roomlog_protocol::Author;

use crate::{Address, TokenSource, Trust};

/// How a client behaves. [`Options::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub address: Address,
    /// Whose certificates are trusted, for an `https://` address. By default the system's.
    pub trust: Trust,
    /// Who logs in on an open server; with a token its author does.
    pub author: Author,
    /// Where the token for a server that needs one comes from. `None` by default.
    pub token: Option<TokenSource>,
    /// How long to retry: reconnects, and each read or append that the server refuses for now
    /// (`busy`, `storage_full`, …). 10 s by default; `None`: for ever.
    /// [`Client::connect`](crate::Client::connect) tries once, whatever this is.
    pub retry_timeout: Option<Duration>,
    /// Whether to retry an append whose `after` the server's log has not reached, as a client that
    /// moves between nodes of a cluster needs it. Default `true`; otherwise it fails with `ahead`.
    pub wait_when_ahead: bool,
    /// Whether to send pending appends to a new log of the server, except those that name a slot.
    /// Default `true`; otherwise all fail with [`AppendError::NewLog`](crate::AppendError::NewLog).
    pub append_to_new_log: bool,
    /// How many appends may be pending, at least 1, before
    /// [`Client::append`](crate::Client::append) waits. 1,024 by default.
    pub outbox: usize,
    /// The timeout for a connection, its `hello` and its `welcome` together. 10 s by default.
    pub connect_timeout: Duration,
    /// After how much silence to send a `ping`. 15 s by default, clamped to 1 ms … 1 day.
    pub ping_after: Duration,
    /// How long to wait after a `ping` before reconnecting. 10 s by default, clamped likewise.
    pub ping_timeout: Duration,
}

impl Options {
    /// The defaults for this server and author.
    #[must_use]
    pub fn new(address: Address, author: Author) -> Self {
        Self {
            address,
            trust: Trust::default(),
            author,
            token: None,
            retry_timeout: Some(Duration::from_secs(10)),
            wait_when_ahead: true,
            append_to_new_log: true,
            outbox: 1_024,
            connect_timeout: Duration::from_secs(10),
            ping_after: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(10),
        }
    }
}
