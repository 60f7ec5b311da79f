//! A disk that is full: appends are `storage_full`, reads and followers go on, and when there is room
//! appends are taken again by themselves. Nothing acked is lost, nothing refused appears.
//!
//! The disk is a small tmpfs; see `support::may_mount` for what that needs.

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use support::{
    Client, PATIENCE, Server, SmallDisk, code, may_mount, serve, serve_if_it_can, slot, terminate,
    within,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::Instant,
};

/// Appends may fill the disk.
const NO_RESERVE: &str = "--disk-reserve-bytes=1";

/// Appends bodies of this many bytes until there is no room; gives what was acked, id and slot, and
/// the id that was refused.
async fn append_until_full(
    ada: &mut Client,
    prefix: &str,
    bytes: usize,
) -> (BTreeMap<String, i64>, String) {
    let mut acked = BTreeMap::new();
    for n in 0..100_000 {
        let id = format!("{prefix}-{n}");
        let append = json!({"type": "append", "room": "r", "id": id, "body": body(&id, bytes)});
        let answer = ada.ask(append).await;
        if answer["type"] == "appended" {
            acked.insert(id, slot(&answer));
            continue;
        }
        assert_eq!(code(&answer), "storage_full", "{answer}");
        assert!(answer["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{answer}");
        return (acked, id);
    }
    panic!("the disk did not become full");
}

fn body(id: &str, bytes: usize) -> String {
    format!("{id} ").repeat(bytes.div_ceil(id.len() + 1))
}

/// Sends an append again until it is taken.
async fn append_until_taken(ada: &mut Client, id: &str, bytes: usize) -> i64 {
    let begun = Instant::now();
    loop {
        let append = json!({"type": "append", "room": "r", "id": id, "body": body(id, bytes)});
        let answer = ada.ask(append).await;
        if answer["type"] == "appended" {
            assert_ne!(answer["repeat"], true, "what was refused was there");
            return slot(&answer);
        }
        assert!(["storage_full", "busy"].contains(&code(&answer)), "{answer}");
        assert!(begun.elapsed() < PATIENCE, "it is not taken again: {answer}");
    }
}

/// The log of the room is what was acked, each at its slot, and nothing else.
async fn check(server: &Server, acked: &BTreeMap<String, i64>) -> Vec<Value> {
    let log = server.login("reader").await.whole_log("r").await;
    let there = log.iter().map(|entry| (entry["id"].as_str().expect("an id").into(), slot(entry)));
    assert_eq!(there.collect::<BTreeMap<String, i64>>(), *acked);
    log
}

async fn verified(data: &Path) {
    let mut verify = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    verify.args(["verify", "--data"]).arg(data).kill_on_drop(true);
    let output = within("the end of verify", verify.output()).await.expect("run");
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn on_a_full_disk_appends_are_rejected_and_all_else_works() {
    if !may_mount("on_a_full_disk_appends_are_rejected_and_all_else_works") {
        return;
    }
    let disk = SmallDisk::new("16m");
    let mut server = Server::start_on(&disk.data(), &["--fold-ms=200", NO_RESERVE], &[]).await;
    let (mut ada, mut bob) = (server.login("ada").await, server.login("bob").await);
    bob.join("r", json!({"after": -1})).await;
    disk.fill_but(200_000);
    let (mut acked, refused) = append_until_full(&mut ada, "before", 1_000).await;
    assert!(acked.len() > 3, "{acked:?}");

    // Reads and followings go on, old ones and new ones.
    let last = acked.len() as i64 - 1;
    assert_eq!(bob.acks("r", -1, last).await.len(), acked.len());
    let log = check(&server, &acked).await;
    let mut eve = server.login("eve").await;
    assert_eq!(eve.join("r", json!({"count": 3})).await["latest"], last);
    let posted = json!({"author": "ada", "id": "by-http", "body": body("by-http", 9_000)});
    let answer = server.post("/v1/rooms/r/entries", &posted).send().await;
    answer.refused(507, "storage_full");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    assert_eq!(server.get("/readyz").status().await, 200);

    // With room, appends are taken again without any help, and followers hear of them.
    disk.free();
    for id in [refused.as_str(), "by-http"] {
        acked.insert(id.to_string(), append_until_taken(&mut ada, id, 1_000).await);
    }
    // However many were refused: a line when it began and a line when it ended, or the log fills the disk.
    let lines =
        |part: &str| server.stderr_lines().iter().filter(|line| line.contains(part)).count();
    within("word that there is room", async {
        while lines("the journal has room again") == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let said = (lines("the journal has no room"), lines("the journal has room again"));
    assert_eq!(said, (1, 1), "{:?}", server.stderr_lines());
    let now = acked.len() as i64 - 1;
    assert_eq!(bob.acks("r", last, now).await.len(), 2);
    assert_eq!(eve.acks("r", last, now).await.len(), 2);

    for killed in [true, false] {
        if killed {
            server.kill9().await;
        } else {
            assert!(server.sigterm().await.success());
        }
        server.restart().await;
        assert_eq!(check(&server, &acked).await[..log.len()], log);
    }
    assert!(server.sigterm().await.success());
    verified(&disk.data()).await;
}

#[tokio::test]
async fn appends_stop_at_the_reserve_and_go_on_above_it() {
    if !may_mount("appends_stop_at_the_reserve_and_go_on_above_it") {
        return;
    }
    let disk = SmallDisk::new("64m");
    let flags = ["--disk-reserve-bytes=16777216", "--fold-ms=100"];
    let server = Server::start_on(&disk.data(), &flags, &[]).await;
    let mut ada = server.login("ada").await;
    disk.fill_but(18 << 20);
    let (mut acked, refused) = append_until_full(&mut ada, "before", 1_000).await;
    // The disk is not full: the journal never said so, and the archive gets all of it.
    let said = |part: &str| server.stderr_lines().iter().filter(|line| line.contains(part)).count();
    assert_eq!(said("no room"), 0, "{:?}", server.stderr_lines());
    let posted = json!({"author": "ada", "body": "by-http"});
    let answer = server.post("/v1/rooms/r/entries", &posted).send().await;
    answer.refused(507, "storage_full");
    check(&server, &acked).await;
    let metrics = server.operator_get("/metrics").send().await.body;
    let free = metrics.lines().find_map(|line| line.strip_prefix("roomlog_disk_free_bytes "));
    let free: f64 = free.expect("the metric").parse().expect("a number");
    assert!((1e6..16_777_216.0).contains(&free), "{free}");

    disk.free();
    acked.insert(refused.clone(), append_until_taken(&mut ada, &refused, 1_000).await);
    check(&server, &acked).await;
    within("word that there is room", async {
        while said("more than its reserve again") == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let lines = (said("full up to its reserve"), said("more than its reserve again"));
    assert_eq!(lines, (1, 1), "{:?}", server.stderr_lines());
}

#[tokio::test]
async fn a_log_file_on_the_full_disk_blocks_nothing_and_resumes_when_space_is_free() {
    if !may_mount("a_log_file_on_the_full_disk_blocks_nothing_and_resumes_when_space_is_free") {
        return;
    }
    let disk = SmallDisk::new("16m");
    let log = disk.data().with_extension("log");
    let stderr = fs::File::create(&log).expect("a file");
    let mut server = Server::start_with_stderr(&disk.data(), Some(stderr.into())).await;
    let mut ada = server.login("ada").await;
    disk.fill_but(200_000);
    let (mut acked, refused) = append_until_full(&mut ada, "before", 4_000).await;
    disk.fill_but(0);
    let written = fs::read_to_string(&log).expect("a log");
    // Each refused origin is worth a line, and there is no room for all of them.
    for n in 0..100 {
        let origin = format!("https://{n}.example");
        let refused = server.get("/v1/rooms/r").header("origin", &origin).send().await;
        assert_eq!(refused.status, 403, "{refused:?}");
        let answer = server.get("/v1/rooms/r").send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let posted = json!({"author": "ada", "id": "by-http", "body": body("by-http", 9_000)});
        server.post("/v1/rooms/r/entries", &posted).send().await.refused(507, "storage_full");
    }
    disk.free();
    acked.insert(refused.clone(), append_until_taken(&mut ada, &refused, 4_000).await);
    check(&server, &acked).await;
    assert!(server.sigterm().await.success());
    let all = fs::read_to_string(&log).expect("a log");
    let after = all.strip_prefix(&written).expect("the same log");
    assert!(after.contains("missing here"), "{after}");
    assert!(after.lines().last().is_some_and(|line| line.contains("stats blocks=")), "{after}");
}

#[tokio::test]
async fn folds_and_checkpoints_wait_for_free_disk_space() {
    if !may_mount("folds_and_checkpoints_wait_for_free_disk_space") {
        return;
    }
    let disk = SmallDisk::new("64m");
    // Long enough that the disk is full before the first fold begins.
    let mut server = Server::start_on(&disk.data(), &["--fold-ms=3000", NO_RESERVE], &[]).await;
    let mut ada = server.login("ada").await;
    // More than the WAL's length at which it is copied, and less than that and its copy.
    disk.fill_but(14 << 20);
    let (mut acked, refused) = append_until_full(&mut ada, "large", 16_000).await;
    let begun = Instant::now();
    while !server.stderr_lines().iter().any(|line| line.contains("waits for room in the archive")) {
        assert!(begun.elapsed() < PATIENCE, "no word of the fold: {:?}", server.stderr_lines());
        tokio::task::yield_now().await;
    }
    check(&server, &acked).await;
    disk.free();
    acked.insert(refused.clone(), append_until_taken(&mut ada, &refused, 16_000).await);
    check(&server, &acked).await;
    // All of it comes into the archive.
    let last = acked.iter().max_by_key(|(_, slot)| **slot).expect("an entry").0.clone();
    let holds = |file: &str| {
        let bytes = fs::read(disk.data().join(file)).unwrap_or_default();
        bytes.windows(last.len()).any(|window| window == last.as_bytes())
    };
    while !(holds("archive.db") || holds("archive.db-wal")) {
        assert!(begun.elapsed() < PATIENCE * 2, "{last} is not folded");
        tokio::task::yield_now().await;
    }
    assert!(server.sigterm().await.success());
    verified(&disk.data()).await;
}

#[tokio::test]
async fn stops_and_starts_on_a_full_disk_are_reported_and_lose_nothing() {
    if !may_mount("stops_and_starts_on_a_full_disk_are_reported_and_lose_nothing") {
        return;
    }
    let disk = SmallDisk::new("16m");
    let mut server = Server::start_on(&disk.data(), &["--fold-ms=60000", NO_RESERVE], &[]).await;
    let mut ada = server.login("ada").await;
    disk.fill_but(150_000);
    let (acked, _) = append_until_full(&mut ada, "only", 1_000).await;
    assert!(server.sigterm().await.success(), "a stop needs no room");
    disk.free();
    let mut refused = 0;
    for bytes in [0, 4_096, 8_192, 16_384, 32_768, 65_536] {
        disk.fill_but(bytes);
        if let Err((status, said)) = serve_if_it_can(&disk.data()).await {
            assert_eq!(status, Some(1), "{bytes}: {said}");
            assert!(said.contains("free disk space"), "{bytes}: {said}");
            refused += 1;
        }
        disk.free();
    }
    assert!(refused > 0, "it starts without any room");
    server.restart().await;
    check(&server, &acked).await;
    assert!(server.sigterm().await.success());
}

#[tokio::test]
async fn a_server_that_cannot_catch_up_on_a_full_disk_can_be_stopped() {
    if !may_mount("a_server_that_cannot_catch_up_on_a_full_disk_can_be_stopped") {
        return;
    }
    let disk = SmallDisk::new("16m");
    let mut server = Server::start_on(&disk.data(), &["--fold-ms=60000", NO_RESERVE], &[]).await;
    let mut ada = server.login("ada").await;
    for n in 0..100 {
        ada.append("r", json!({"body": body(&n.to_string(), 16_000)})).await;
    }
    assert!(server.sigterm().await.success(), "nothing is folded for that");
    disk.fill_but(500_000);

    let flags = ["--memory", "1048576", "--fold-ms", "1"].map(String::from);
    let mut starting = serve(&disk.data(), "127.0.0.1:0", &flags, &[]).spawn().expect("the binary");
    let mut said = BufReader::new(starting.stderr.take().expect("a pipe")).lines();
    let no_room = async {
        while let Some(line) = said.next_line().await.expect("a line") {
            if line.contains("waits for room in the archive") {
                return;
            }
            assert!(!line.contains("roomlog:"), "{line}");
        }
        panic!("it ended");
    };
    within("word that there is no room", no_room).await;
    terminate(&starting).await;
    let ended = within("the end", starting.wait()).await.expect("an exit status");
    assert!(ended.success(), "{ended}");

    disk.free();
    server.restart().await;
    assert_eq!(server.login("ada").await.whole_log("r").await.len(), 100);
}
