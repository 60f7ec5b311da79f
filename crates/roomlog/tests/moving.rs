//! Moves a log from one node to a cluster and back: its name, slots, times, ids and digests stay, and a
//! returning client notices nothing.

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use roomlog_chaos::Proxy;
use roomlog_testkit::nats::{Cluster, Setup};
use serde_json::{Value, json};
use support::{Server, code, serve_refused, slot, within};
use tempfile::TempDir;
use tokio::process::Command;

fn nats() -> Cluster {
    Cluster::start(&Setup { servers: 1, ..Setup::default() }).expect("a NATS server")
}

fn moving(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.arg("move").args(args).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn moved(args: &[&str]) -> Output {
    within("the end of a move", moving(args).output()).await.expect("a run")
}

#[track_caller]
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of UTF-8")
}

/// A log of one node, and where it is.
struct Log {
    _directory: TempDir,
    path: PathBuf,
    name: Value,
    rooms: Vec<Vec<Value>>,
    digest: Value,
}

const ROOMS: [&str; 2] = ["general", "other"];

/// A server that was filled and stopped.
async fn log() -> Log {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("one");
    let mut server = Server::start_on(&path, &["--fold-ms", "1"], &[]).await;
    let mut ada = server.login("ada").await;
    ada.append("general", json!({ "body": "first", "id": "a-1", "meta": "{}" })).await;
    ada.append("general", json!({ "body": "👍", "kind": "reaction", "ref": 0, "sent_at": 7 }))
        .await;
    ada.fill("general", 1_200, "much").await;
    ada.fill("other", 30, "little").await;
    let mut rooms = Vec::new();
    for room in ROOMS {
        rooms.push(ada.whole_log(room).await);
    }
    let digest = ada.update("general", json!({ "count": 1 })).await["digest"].clone();
    let name = ada.hello["log"].clone();
    assert!(server.sigterm().await.success());
    Log { _directory: directory, path, name, rooms, digest }
}

/// A server holds the log, and appends continue it.
async fn goes_on(server: &Server, log: &Log) {
    let mut ada = server.login("ada").await;
    assert_eq!(ada.hello["log"], log.name);
    let last = log.rooms[0].len() as i64 - 1;
    let back = ada.join("general", json!({ "after": last, "digest": log.digest })).await;
    assert_eq!(back["type"], "reply", "whoever returns notices nothing: {back}");
    for (room, entries) in ROOMS.iter().zip(&log.rooms) {
        let there = ada.whole_log(room).await;
        assert_eq!(&there[..entries.len()], &entries[..], "{room}");
    }
    let repeat = ada.append("general", json!({ "body": "first", "id": "a-1", "meta": "{}" })).await;
    assert_eq!((slot(&repeat), &repeat["repeat"]), (0, &json!(true)));
}

#[tokio::test]
async fn a_log_moved_to_a_cluster_and_back_is_the_same_log() {
    let (cluster, log) = (nats(), log().await);
    let url = cluster.url();
    let said = good(&moved(&["--data", text(&log.path), "--to", &url]).await);
    assert!(
        said.contains("entries          1232") && said.contains("rooms            2"),
        "{said}"
    );

    // The source is no longer served.
    let refused = serve_refused(&log.path, "127.0.0.1:0", &[]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        why.contains("this log was moved to nats://127.0.0.1") && !why.contains("roomlog:roomlog"),
        "{why}"
    );

    let one = Server::start(&["--journal", &url, "--append-ms", "1500"]).await;
    let two = Server::start(&["--journal", &url]).await;
    goes_on(&one, &log).await;
    goes_on(&two, &log).await;
    let mut ada = one.login("ada").await;
    let new = ada.append("general", json!({ "body": "in the cluster" })).await;
    assert_eq!(slot(&new), 1_202);
    let general = ada.whole_log("general").await;

    // Back, while the nodes still run: they reject appends from then on.
    let directory = tempfile::tempdir().expect("a directory");
    let back = directory.path().join("back");
    good(&moved(&["--journal", &url, "--to", text(&back)]).await);
    let late = json!({ "type": "append", "room": "general", "body": "too late" });
    for answer in ["unknown_outcome", "busy"] {
        let req = ada.post(late.clone()).await;
        assert_eq!(code(&ada.answer(req).await), answer);
    }

    // A log is served in one place: neither copy can be moved again.
    let elsewhere = directory.path().join("elsewhere");
    let refused = moved(&["--journal", &url, "--to", text(&elsewhere)]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("was moved to another directory already"), "{why}");
    let refused = moved(&["--data", text(&log.path), "--to", &url, "--journal-prefix", "B"]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("a move of this log to nats://") && why.contains("was begun"), "{why}");

    let last = Server::start_on(&back, &[], &[]).await;
    goes_on(&last, &log).await;
    let mut ada = last.login("ada").await;
    assert_eq!(ada.whole_log("general").await, general);
    assert_eq!(slot(&ada.append("general", json!({ "body": "at home" })).await), 1_203);

    let refused = serve_refused(directory.path(), "127.0.0.1:0", &["--journal", &url]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("was moved away"), "{why}");
}

/// Bytes that a move sends to the servers until its streams exist and have some of the entries.
const CUT_AFTER: u64 = 100_000;

#[tokio::test]
async fn a_killed_move_continues_and_no_node_starts_before_it_is_done() {
    let (cluster, log) = (nats(), log().await);
    let url = cluster.url();
    let wire = Proxy::to(cluster.port(0)).expect("a wire");
    let over_the_wire = format!("nats://roomlog:roomlog@127.0.0.1:{}", wire.port());
    let args = ["--data", text(&log.path), "--to", &over_the_wire, "--journal-partitions", "2"];
    wire.cut_after(CUT_AFTER);
    let mut killed =
        moving(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a move");
    within("a move that stands", wire.is_cut()).await;
    within("the end of a killed move", killed.kill()).await.expect("killed");

    let data = tempfile::tempdir().expect("a directory");
    let refused = serve_refused(data.path(), "127.0.0.1:0", &["--journal", &url]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("a log is being moved to stream ROOMLOG_1_0"), "{why}");

    let there = [0, 1].map(|partition| cluster.messages(&format!("ROOMLOG_1_{partition}")));
    assert!(there.iter().sum::<u64>() > 2, "no entries came through before the cut: {there:?}");

    wire.mend();
    good(&moved(&args).await);
    goes_on(&Server::start(&["--journal", &url]).await, &log).await;
}

#[tokio::test]
async fn an_impossible_move_is_rejected_and_changes_nothing() {
    let (cluster, log) = (nats(), log().await);
    let url = cluster.url();
    drop(Server::start(&["--journal", &url]).await);
    let refused = moved(&["--data", text(&log.path), "--to", &url]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("holds log") && why.contains("--journal-prefix"), "{why}");

    let served = Server::start_on(&log.path, &[], &[]).await;
    let refused = moved(&["--data", text(&log.path), "--to", &url, "--journal-prefix", "B"]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("is in use"), "{why}");
    goes_on(&served, &log).await;

    // A prefix without streams is not made, sealed and emptied into a directory.
    let to = log.path.join("none");
    let refused = moved(&["--journal", &url, "--journal-prefix", "NONE", "--to", text(&to)]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("NONE_1_0") && why.contains("never made under this prefix"), "{why}");

    let both = moved(&["--journal", &url, "--to", &url]).await;
    assert_eq!(both.status.code(), Some(2), "{}", String::from_utf8_lossy(&both.stderr));
    let none = moved(&["--to", "somewhere"]).await;
    assert_eq!(none.status.code(), Some(2), "{}", String::from_utf8_lossy(&none.stderr));
}
