//! Servers, and a journal on them.

use std::time::Duration;

use async_nats::{
    ConnectOptions,
    jetstream::{self, Context},
};
use bytes::Bytes;
use roomlog_core::journal::{Durable, Follow, Journal, JournalError, Position, Proposed};
use roomlog_jetstream::{JetStreamJournal, OpenError, Options};
use roomlog_testkit::nats::{Cluster, Setup};
use tokio::time::timeout;

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn servers(servers: usize) -> Cluster {
    Cluster::start(&Setup { servers, ..Setup::default() }).expect("servers")
}

pub(crate) async fn open(options: &Options) -> Result<JetStreamJournal, OpenError> {
    timeout(LONG, JetStreamJournal::open(options)).await.expect("an answer in time")
}

/// A connection with the journal's rights, to do what an operator could.
pub(crate) async fn by_hand(cluster: &Cluster) -> Context {
    by_hand_at(cluster, 0).await
}

pub(crate) async fn by_hand_at(cluster: &Cluster, server: usize) -> Context {
    let options = ConnectOptions::with_user_and_password("roomlog".into(), "roomlog".into());
    let client = options.connect(cluster.url_of(server)).await.expect("a connection");
    jetstream::new(client)
}

pub(crate) fn block(n: u64) -> Bytes {
    Bytes::from(format!("block {n}"))
}

pub(crate) async fn propose(journal: &JetStreamJournal, n: u64) -> Position {
    match timeout(LONG, journal.propose(0, block(n))).await.expect("an answer in time") {
        Proposed::Durable(position) => position,
        other => panic!("block {n}: {other:?}"),
    }
}

pub(crate) async fn next(follow: &mut Box<dyn Follow>) -> Result<Durable, JournalError> {
    timeout(LONG, follow.next()).await.expect("a block, or an end, in time")
}
