//! Whether the servers fsync before they ack, and which version they are.
//!
//! Enters: a connection with the rights of any client. Leaves: what every server says of itself, where it
//! can be asked. Nothing in NATS tells a client of `sync_interval`; but the system account knows it of
//! every server (`$SYS.REQ.SERVER.PING.JSZ`), and may export that one question to ours, which
//! `deploy/nats/` does.

use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use tracing::info;

/// What the system account answers for each server.
const ASK: &str = "$SYS.REQ.SERVER.PING.JSZ";

/// How long servers have to answer; the first to do so says how many there are.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// A server, as it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sync_always: bool,
    /// How many servers with JetStream it knows, itself among them; more may join.
    pub(crate) cluster: usize,
    /// Whether it is to be without others.
    pub(crate) is_alone: bool,
}

impl Server {
    /// Whether what it acks is there after a power cut.
    pub(crate) fn is_trusted(&self) -> bool {
        self.sync_always && is_good(&self.version)
    }
}

#[derive(Deserialize)]
struct Reply {
    server: Named,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    ver: String,
    #[serde(default)]
    jetstream: bool,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    config: Config,
    meta_cluster: Option<Meta>,
}

#[derive(Deserialize, Default)]
struct Config {
    #[serde(default)]
    sync_always: bool,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    cluster_size: usize,
}

/// What every server that can be asked says; empty when our account may not ask.
pub(crate) async fn ask(client: &Client) -> Vec<Server> {
    let inbox = client.new_inbox();
    let Ok(mut answers) = client.subscribe(inbox.clone()).await else { return Vec::new() };
    if client.publish_with_reply(ASK, inbox, "".into()).await.is_err() {
        return Vec::new();
    }
    let until = Instant::now() + ANSWERS_WITHIN;
    let mut servers: Vec<Server> = Vec::new();
    while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
        // No responders: an empty message.
        if answer.payload.is_empty() {
            break;
        }
        let Some(server) = read(&answer.payload) else { continue };
        servers.retain(|known| known.name != server.name);
        servers.push(server);
        if servers.iter().all(|server| server.cluster <= servers.len()) {
            break;
        }
    }
    servers
}

/// Asks until most of the servers have answered, or the time is over: those that start at the same moment as
/// a node may not know of each other yet.
pub(crate) async fn ask_most(client: &Client, within: Duration) -> Vec<Server> {
    let until = Instant::now() + within;
    loop {
        let servers = ask(client).await;
        if servers.is_empty() || are_most(&servers) || Instant::now() > until {
            return servers;
        }
        info!(answered = servers.len(), "too few NATS servers answer yet: they are asked again");
    }
}

/// Whether these are more than half of the servers that there are.
pub(crate) fn are_most(servers: &[Server]) -> bool {
    servers.iter().map(|server| server.cluster).max().is_some_and(|all| servers.len() > all / 2)
}

fn read(answer: &[u8]) -> Option<Server> {
    let Reply { server, data } = serde_json::from_slice(answer).ok()?;
    let data = data.filter(|_| server.jetstream)?;
    let is_alone = data.meta_cluster.is_none();
    let cluster = data.meta_cluster.map_or(1, |meta| meta.cluster_size.max(1));
    let (name, version) = (server.name, server.ver);
    Some(Server { name, version, sync_always: data.config.sync_always, cluster, is_alone })
}

/// Whether a version is known to keep what it acked: 2.12.14 and later of 2.12, 2.14.4 and later.
pub(crate) fn is_good(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let patch = numbers.next().unwrap_or(0);
    match (major, minor) {
        (2, 12) => patch >= 14,
        (2, 14) => patch >= 4,
        _ => (major, minor) > (2, 14),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_lose_what_they_acked_are_known() {
        for good in ["2.12.14", "2.12.20", "2.14.4", "2.15.0", "2.15.1-RC.1", "3.0.0"] {
            assert!(is_good(good), "{good}");
        }
        for bad in ["2.9.10", "2.12.13", "2.13.9", "2.14.3", "", "two"] {
            assert!(!is_good(bad), "{bad}");
        }
    }
}
