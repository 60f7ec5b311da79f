//! Nodes of one cluster, on a real NATS server: one log, whichever node a client speaks to; what a node
//! does while NATS is away; and which directories it takes.

mod support;

use std::fs;

use roomlog_testkit::nats::{Cluster, Setup};
use serde_json::json;
use support::{Client, Server, backup, code, serve_refused, slot, within};

fn nats() -> Cluster {
    Cluster::start(&Setup { servers: 1, ..Setup::default() }).expect("a NATS server")
}

async fn node(cluster: &Cluster, flags: &[&str]) -> Server {
    let url = cluster.url();
    Server::start(&[&["--journal", &url], flags].concat()).await
}

#[tokio::test]
async fn entries_committed_on_one_node_are_followed_and_read_on_another() {
    let cluster = nats();
    let (one, two) = (node(&cluster, &[]).await, node(&cluster, &[]).await);
    let (mut ada, mut grace) = (one.login("ada").await, two.login("grace").await);
    assert_eq!(ada.hello["durability"], "fsync", "one server is no quorum");
    assert_eq!(ada.hello["log"], grace.hello["log"]);
    grace.join("general", json!({ "after": -1 })).await;

    let said = ada.append("general", json!({ "body": "hello", "id": "a-1" })).await;
    assert_eq!(slot(&said), 0);
    let ack = grace.expect("ack").await;
    assert_eq!(ack["entries"][0]["body"], "hello");
    // Whoever has seen it is never answered from behind it, and answers behind it.
    let page = grace.update("general", json!({ "count": 1, "seen": 0 })).await;
    assert_eq!(page["latest"], 0);
    let answered = grace.append("general", json!({ "body": "hi", "after": 0, "ref": 0 })).await;
    assert_eq!(slot(&answered), 1);
    let page = ada.update("general", json!({ "after": -1, "seen": 1 })).await;
    assert_eq!(page["entries"].as_array().expect("entries").len(), 2);

    // The same append through the other node is the same append.
    let mut again = two.login("ada").await;
    let repeat = again.append("general", json!({ "body": "hello", "id": "a-1" })).await;
    assert_eq!((slot(&repeat), &repeat["repeat"]), (0, &json!(true)));
    assert_eq!(ada.whole_log("general").await, grace.whole_log("general").await);
}

#[tokio::test]
async fn the_doctor_looks_at_nats_and_creates_nothing_there() {
    let cluster = nats();
    let data = tempfile::tempdir().expect("a directory");
    let doctor = async |journal: &str| {
        let mut doctor = tokio::process::Command::new(env!("CARGO_BIN_EXE_roomlog"));
        doctor.args(["doctor", "--listen", "127.0.0.1:0", "--journal", journal, "--data"]);
        let output = within("the doctor", doctor.arg(data.path()).env_clear().output()).await;
        String::from_utf8_lossy(&output.expect("a run").stdout).into_owned()
    };
    let found = doctor(&cluster.url()).await;
    let good = "ok       journal      1 NATS server";
    assert!(found.contains(good), "{found}");
    // A node may still choose how many partitions the log has.
    let one = node(&cluster, &["--journal-partitions", "2"]).await;
    assert_eq!(one.login("ada").await.hello["durability"], "fsync");
    let found = doctor("nats://127.0.0.1:1").await;
    assert!(found.contains("problem  journal"), "{found}");
}

#[tokio::test]
async fn a_log_of_several_partitions_is_one_log() {
    let cluster = nats();
    let one = node(&cluster, &["--journal-partitions", "3"]).await;
    let two = node(&cluster, &[]).await;
    let (mut ada, mut grace) = (one.login("ada").await, two.login("grace").await);
    let rooms: Vec<String> = (0..6).map(|number| format!("room-{number}")).collect();
    for room in &rooms {
        grace.join(room, json!({ "after": -1 })).await;
        ada.append(room, json!({ "body": room })).await;
        let ack = grace.expect("ack").await;
        assert_eq!((&ack["room"], &ack["entries"][0]["body"]), (&json!(room), &json!(room)));
        grace.append(room, json!({ "body": "seen", "after": 0 })).await;
        grace.expect("ack").await;
    }
    for room in &rooms {
        ada.update(room, json!({ "count": 0, "seen": 1 })).await;
        assert_eq!(ada.whole_log(room).await, grace.whole_log(room).await);
    }
    let positions = metric(&one, "roomlog_journal_position{partition=\"2\"}").await;
    assert!(positions > 1.0, "{positions}");
    let other = node_refused(&cluster, &["--journal-partitions", "2"]).await;
    assert!(other.contains("roomlog.partitions"), "{other}");
}

/// The error of a node that does not start.
async fn node_refused(cluster: &Cluster, flags: &[&str]) -> String {
    let (data, url) = (tempfile::tempdir().expect("a directory"), cluster.url());
    let flags = [&["--journal", &url], flags].concat();
    let refused = serve_refused(data.path(), "127.0.0.1:0", &flags).await;
    String::from_utf8_lossy(&refused.stderr).into_owned()
}

/// A metric, with its labels.
async fn metric(server: &Server, name: &str) -> f64 {
    let text = server.operator_get("/metrics").send().await.body;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    let value = line.and_then(|line| line.split(' ').nth(1)?.parse().ok());
    value.unwrap_or_else(|| panic!("{name} in {text}"))
}

/// Appends until the node is busy.
async fn busy(client: &mut Client) {
    within("busy", async {
        loop {
            let req =
                client.post(json!({ "type": "append", "room": "general", "body": "more" })).await;
            let answer = client.answer(req).await;
            if answer["code"] == "busy" {
                assert!(answer["retry_after_ms"].is_u64(), "{answer}");
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn while_nats_is_down_reads_work_appends_are_busy_and_both_recover() {
    let mut cluster = nats();
    let server = node(&cluster, &["--append-ms", "1500"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.append("general", json!({ "body": "before" })).await;
    grace.join("general", json!({ "after": -1 })).await;

    cluster.kill(0);
    // What was given to the journal has an unknown outcome; what comes now is not taken.
    let lost = ada
        .post(json!({ "type": "append", "room": "general", "body": "lost?", "id": "a-2" }))
        .await;
    busy(&mut grace).await;
    assert_eq!(code(&ada.answer(lost).await), "unknown_outcome");
    let page = grace.update("general", json!({ "count": 10 })).await;
    assert_eq!(page["entries"][0]["body"], "before");
    assert_eq!(metric(&server, "roomlog_journal_stalled").await, 1.0);
    assert_eq!(server.get("/readyz").send().await.status, 503);

    cluster.restart(0).expect("a NATS server");
    let once = within("an append that is taken again", async {
        loop {
            let again =
                json!({ "type": "append", "room": "general", "body": "lost?", "id": "a-2" });
            let req = ada.post(again).await;
            let answer = ada.answer(req).await;
            if answer["type"] == "appended" {
                return answer;
            }
            // Busy, or again unknown: the server gives a time to retry, and this test retries at once.
            assert!(["busy", "unknown_outcome"].contains(&code(&answer)), "{answer}");
        }
    })
    .await;
    assert_eq!(metric(&server, "roomlog_journal_stalled").await, 0.0);
    assert_eq!(metric(&server, "roomlog_journal_lag_blocks{partition=\"0\"}").await, 0.0);
    assert!(metric(&server, "roomlog_journal_proposed_again_total").await >= 1.0);
    assert!(metric(&server, "roomlog_journal_connections_total").await >= 2.0);
    let log = ada.whole_log("general").await;
    let copies = log.iter().filter(|entry| entry["id"] == "a-2").count();
    assert_eq!(
        (copies, slot(&once)),
        (1, slot(log.iter().find(|it| it["id"] == "a-2").expect("it")))
    );
}

#[tokio::test]
async fn a_node_stops_cleanly_while_nats_is_down() {
    let mut cluster = nats();
    let mut server = node(&cluster, &["--drain-ms", "1000"]).await;
    let mut ada = server.login("ada").await;
    ada.append("general", json!({ "body": "one" })).await;
    cluster.kill(0);
    ada.post(json!({ "type": "append", "room": "general", "body": "two" })).await;
    assert!(server.sigterm().await.success());
}

#[tokio::test]
async fn a_removed_archive_is_rebuilt_from_the_journal() {
    let cluster = nats();
    let mut server = node(&cluster, &["--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("general", 700, "again").await;
    let log = ada.whole_log("general").await;
    server.kill9().await;
    for file in ["archive.db", "archive.db-wal", "archive.db-shm"] {
        fs::remove_file(server.directory().join(file)).expect("a file");
    }
    server.restart().await;
    assert_eq!(server.login("ada").await.whole_log("general").await, log);
}

#[tokio::test]
async fn a_new_node_continues_from_another_nodes_backup() {
    let cluster = nats();
    let one = node(&cluster, &["--fold-ms", "1"]).await;
    let mut ada = one.login("ada").await;
    ada.fill("general", 300, "before").await;
    let backup = backup(&one).await;
    ada.fill("general", 100, "after").await;

    let url = cluster.url();
    let two = Server::start_on(&backup.path().join("backup"), &["--journal", &url], &[]).await;
    assert!(!two.directory().join("manifest.json").exists(), "it is a backup no more");
    let mut grace = two.login("grace").await;
    assert_eq!(grace.hello["log"], ada.hello["log"]);
    assert_eq!(grace.whole_log("general").await, ada.whole_log("general").await);
    // It is a node of its own: both write, and neither is fenced.
    for client in [&mut ada, &mut grace] {
        client.append("general", json!({ "body": "both" })).await;
    }
}

#[tokio::test]
async fn a_directory_of_one_node_is_rejected_with_what_to_do() {
    let cluster = nats();
    let mut server = Server::start(&[]).await;
    server.login("ada").await.append("general", json!({ "body": "one" })).await;
    assert!(server.sigterm().await.success());
    let url = cluster.url();
    let refused = serve_refused(server.directory(), "127.0.0.1:0", &["--journal", &url]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("a journal, the log of a single node"), "{said}");
    assert!(
        !cluster.has_stream("ROOMLOG_1_0"),
        "and nothing was made, so that it can be moved there"
    );
    server.restart().await;
}

#[tokio::test]
async fn a_cluster_directory_is_rejected_without_its_journal_and_with_another() {
    let cluster = nats();
    let mut server = node(&cluster, &["--fold-ms", "1"]).await;
    server.login("ada").await.append("general", json!({ "body": "one" })).await;
    assert!(server.sigterm().await.success());

    let refused = serve_refused(server.directory(), "127.0.0.1:0", &[]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("a node of a cluster is started with --journal"), "{said}");

    let url = cluster.url();
    let other = ["--journal", &url, "--journal-prefix", "OTHER"];
    let refused = serve_refused(server.directory(), "127.0.0.1:0", &other).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("archive.db is of log") && said.contains("the journal is of log"),
        "{said}"
    );
}

#[tokio::test]
async fn an_unreachable_or_impossible_journal_is_rejected() {
    let data = tempfile::tempdir().expect("a directory");
    for (flags, part, status) in [
        (
            &["--journal", "nats://127.0.0.1:1"][..],
            "no NATS server answers at nats://127.0.0.1:1",
            1,
        ),
        (&["--journal", "http://127.0.0.1:1"], "nats:// or tls://, not by http://", 2),
        (&["--journal", "nats://a", "--journal-replicas", "2"], "must be 1, 3 or 5", 2),
        (&["--journal", "nats://a", "--journal-prefix", "a.b"], "capital letters", 2),
        (&["--journal", "nats://a", "--journal-key", "k"], "journal_key go together", 2),
        (&["--journal-prefix", "LOG"], "add --journal", 2),
    ] {
        let refused = serve_refused(data.path(), "127.0.0.1:0", flags).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(part), "{flags:?}: {said}");
        assert_eq!(refused.status.code(), Some(status), "{flags:?}: {said}");
    }
}
