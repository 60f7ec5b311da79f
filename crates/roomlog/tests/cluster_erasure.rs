//! Redactions and erasures in a cluster: the texts leave the files of the nodes and of the NATS servers.

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use roomlog_testkit::nats::{Cluster, Setup};
use serde_json::json;
use support::{Server, digest_after};

/// Twelve digits, as in a card's number.
const MARKER: &str = "4929 1738 6054";

/// How long a text may be in any file.
const GONE_WITHIN: Duration = Duration::from_secs(60);

async fn node(cluster: &Cluster) -> Server {
    Server::start(&["--journal", &cluster.url()]).await
}

/// The Raft logs of a NATS server: it compacts them every two to three minutes, longer than a test waits.
const RAFT_LOGS: &str = "_js_";

/// The files below a directory that hold the marker, but for Raft logs.
fn holding(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with(RAFT_LOGS) {
            found.extend(holding(&path));
        } else if path.is_file() {
            // Files come and go while they are read.
            let bytes = fs::read(&path).unwrap_or_default();
            let holds = bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
            found.extend(holds.then(|| path.display().to_string()));
        }
    }
    found
}

async fn are_wiped(cluster: &Cluster, nodes: &[&Server]) {
    let begun = Instant::now();
    let left = || {
        let stores = (0..cluster.len()).map(|server| cluster.store(server));
        let all = stores.chain(nodes.iter().map(|node| node.directory()));
        all.flat_map(holding).collect::<Vec<_>>()
    };
    while !left().is_empty() {
        assert!(begun.elapsed() < GONE_WITHIN, "still in {:?}", left());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn erases_all(servers: usize) {
    let cluster = Cluster::start(&Setup { servers, ..Setup::default() }).expect("NATS servers");
    let (one, two) = (node(&cluster).await, node(&cluster).await);
    let (mut ada, mut grace) = (one.login("ada").await, two.login("grace").await);
    for n in 0..20 {
        let body = if n % 2 == 0 { MARKER } else { "nothing" };
        ada.append("r", json!({"body": body, "id": format!("a-{n}")})).await;
        let meta = json!(format!("{{\"card\":\"{MARKER}\"}}"));
        grace.append("r", json!({"body": "", "meta": meta})).await;
    }
    let before = grace.whole_log("r").await;
    assert_eq!(before.len(), 40);
    for entry in before.iter().filter(|entry| entry["body"] == MARKER) {
        ada.append("r", json!({"body": "", "kind": "redact", "ref": entry["slot"]})).await;
    }
    grace.append("r", json!({"body": "grace", "kind": "erase", "ref": 49})).await;
    are_wiped(&cluster, &[&one, &two]).await;
    // An outbox that did not see the answer sends a text again, through the other node.
    let mut again = two.login("ada").await;
    let repeat = again.append("r", json!({"body": MARKER, "id": "a-0"})).await;
    assert_eq!(repeat["repeat"], true);
    are_wiped(&cluster, &[&one, &two]).await;

    // Slots and digests stay, for those that were there and for a node that reads it all again.
    let log = ada.whole_log("r").await;
    let digest = ada.update("r", json!({"count": 1})).await["digest"].clone();
    assert_eq!(digest, digest_after("r", &log));
    assert_eq!(digest_after("r", &log[..40]), digest_after("r", &before));
    let three = node(&cluster).await;
    assert_eq!(three.login("bob").await.whole_log("r").await, log);
    let (mut one, mut two) = (one, two);
    assert!(one.sigterm().await.success() && two.sigterm().await.success());
    one.restart().await;
    assert_eq!(one.login("bob").await.whole_log("r").await, log);
}

#[tokio::test]
async fn no_file_of_a_node_or_of_its_server_holds_a_redacted_text() {
    erases_all(1).await;
}

#[tokio::test]
async fn no_file_of_three_servers_holds_a_redacted_text() {
    erases_all(3).await;
}
