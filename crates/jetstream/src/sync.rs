//! Whether the servers fsync before they ack, and their versions.
//!
//! NATS does not show `sync_interval` to an ordinary client. The system account can ask every
//! server for it (`$SYS.REQ.SERVER.PING.JSZ`), and may export that one request to the account of
//! Roomlog, as `deploy/nats/` does.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::Client;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use crate::shared::Counts;

const ASK: &str = "$SYS.REQ.SERVER.PING.JSZ";

/// How long servers have to answer; each answer says how many there are.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The interval of checks after the start, which also reach servers that were away then.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// What a server reports of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sync_always: bool,
    /// How many servers with JetStream it knows, including itself; more may join.
    pub(crate) cluster: usize,
    /// Whether it is configured without a cluster.
    pub(crate) is_alone: bool,
}

/// The servers that answer; empty if this account may not ask.
async fn ask(client: &Client) -> Vec<Server> {
    let inbox = client.new_inbox();
    let Ok(mut answers) = client.subscribe(inbox.clone()).await else { return Vec::new() };
    if client.publish_with_reply(ASK, inbox, "".into()).await.is_err() {
        return Vec::new();
    }
    let until = Instant::now() + ANSWER_TIMEOUT;
    let mut servers: Vec<Server> = Vec::new();
    while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
        // NATS answers with an empty message if there are no responders.
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

/// Asks until most servers have answered, or until the timeout: servers that start together with a
/// node may not know each other yet.
pub(crate) async fn ask_most(client: &Client, timeout: Duration) -> Vec<Server> {
    let until = Instant::now() + timeout;
    loop {
        let servers = ask(client).await;
        if servers.is_empty() || are_most(&servers) || Instant::now() > until {
            return servers;
        }
        info!(answered = servers.len(), "too few NATS servers answer yet: retrying");
    }
}

/// Logs and counts servers that do not keep what they ack.
pub(crate) async fn watch_servers(client: Client, counts: Arc<Counts>) {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        let servers = ask(&client).await;
        let bad = servers.iter().filter(|it| !it.sync_always || !is_good(&it.version));
        let bad: Vec<_> = bad.map(|server| server.name.as_str()).collect();
        let untrusted = bad.len() as u64;
        if untrusted > counts.untrusted_servers.swap(untrusted, Ordering::Relaxed) {
            error!(
                servers = bad.join(", "),
                "NATS servers ack before they fsync, or are too old: a power cut may lose what is \
                 acked now"
            );
        }
    }
}

/// Whether these are more than half of all servers.
pub(crate) fn are_most(servers: &[Server]) -> bool {
    servers.iter().map(|server| server.cluster).max().is_some_and(|all| servers.len() > all / 2)
}

fn read(answer: &[u8]) -> Option<Server> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let (server, data) = (&answer["server"], &answer["data"]);
    if server["jetstream"] != true || data.is_null() {
        return None;
    }
    let meta = &data["meta_cluster"];
    let cluster = meta["cluster_size"].as_u64().and_then(|size| usize::try_from(size).ok());
    Some(Server {
        name: server["name"].as_str()?.to_owned(),
        version: server["ver"].as_str().unwrap_or_default().to_owned(),
        sync_always: data["config"]["sync_always"] == true,
        cluster: cluster.unwrap_or(1).max(1),
        is_alone: meta.is_null(),
    })
}

/// Whether a version keeps what it acked: 2.12.14 and later of 2.12, 2.14.4 and later.
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
    fn versions_that_can_lose_acked_data_are_refused() {
        for good in ["2.12.14", "2.12.20", "2.14.4", "2.15.0", "2.15.1-RC.1", "3.0.0"] {
            assert!(is_good(good), "{good}");
        }
        for bad in ["2.9.10", "2.12.13", "2.13.9", "2.14.3", "", "two"] {
            assert!(!is_good(bad), "{bad}");
        }
    }
}
