//! How a client behaves.

use std::time::Duration;

use roomlog_protocol::Author;

use crate::Address;

/// How a client behaves. [`Options::new`] gives the usual behaviour; change what should differ.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub address: Address,
    /// Who logs in.
    pub author: Author,
    /// How long to go on without an answer before giving up: over reconnects, and for each read or append
    /// over refusals that ask to wait (`busy`, `storage_full`, …). 10 s; `None`: for ever.
    /// [`Client::connect`](crate::Client::connect) tries once, whatever stands here.
    pub patience: Option<Duration>,
    /// Whether an append whose `after` the server's log has not reached is sent again until it has, as
    /// a client that moved between nodes of a cluster needs it. `true`; else it is refused with `ahead`.
    pub wait_when_ahead: bool,
    /// Whether appends that have no outcome when the server comes back with another log are sent to that
    /// one, except those that name a slot. `true`; else all of them end with
    /// [`AppendError::NewLog`](crate::AppendError::NewLog), for a program that has to begin again in order.
    pub append_to_new_log: bool,
    /// How many appends may be without an outcome, at least 1; with one more,
    /// [`Client::append`](crate::Client::append) waits. 1,024. Each takes the memory of its text.
    pub outbox: usize,
    /// How long to wait for a connection, its `hello` and its `welcome`. 10 s.
    pub connecting: Duration,
    /// After how much silence to send a `ping`. 15 s; taken as 1 ms at least, a day at most.
    pub quiet: Duration,
    /// How long to wait for any word after a `ping` before the connection counts as dead and is made anew.
    /// 10 s; taken as 1 ms at least, a day at most.
    pub answer: Duration,
}

impl Options {
    /// The usual behaviour: 10 s of patience, 1,024 appends, a `ping` after 15 s of silence.
    #[must_use]
    pub fn new(address: Address, author: Author) -> Self {
        Self {
            address,
            author,
            patience: Some(Duration::from_secs(10)),
            wait_when_ahead: true,
            append_to_new_log: true,
            outbox: 1_024,
            connecting: Duration::from_secs(10),
            quiet: Duration::from_secs(15),
            answer: Duration::from_secs(10),
        }
    }
}
