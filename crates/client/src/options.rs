//! How a client behaves.

use std::time::Duration;

use roomlog_protocol::Author;

use crate::Address;

/// How a client behaves. Durations are wall time.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub address: Address,
    /// Who logs in.
    pub author: Author,
    /// How long to go on without an answer, over reconnects and refusals that ask to wait, before
    /// giving up; `None`: for ever. The first connection is tried once, whatever stands here.
    pub patience: Option<Duration>,
    /// Whether an append whose `after` the server's log has not reached is sent again until it has, as
    /// one moved between nodes of a cluster needs; else it fails with the server's first answer.
    pub wait_when_ahead: bool,
    /// Whether appends that have no outcome when the server comes back with another log are sent to that
    /// one, but for those that name a slot; else all of them end as
    /// [`AppendError::NewLog`](crate::AppendError::NewLog), for one who has to begin again in order.
    pub append_to_new_log: bool,
    /// How many appends may be without an outcome; one more waits in [`crate::Client::append`].
    pub outbox: usize,
    /// How long to wait for a connection, its `hello` and its `welcome`.
    pub connecting: Duration,
    /// After how much silence to send a `ping`.
    pub quiet: Duration,
    /// How long to wait for any word after a `ping` before the connection counts as dead.
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
