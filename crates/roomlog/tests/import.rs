//! `roomlog import` under failures: whatever the server does, every line is in the room once, in the order
//! of the files, and lines that were not imported are reported.

mod support;

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};
use support::{Server, SmallDisk, may_mount, within};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

const LINES: usize = 12_000;

/// A file of `lines` lines, one entry each.
fn file(lines: impl Iterator<Item = Value>) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().expect("a file");
    for line in lines {
        writeln!(file, "{line}").expect("written");
    }
    file
}

fn entry(n: usize, bytes: usize) -> Value {
    json!({"author": "ada", "id": format!("line-{n}"), "body": format!("{n:0>bytes$}")})
}

fn import(server: &Server, file: &NamedTempFile) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.args(["import", "irc"]).arg(file.path()).env_clear();
    command.env("ROOMLOG_SERVER", format!("http://{}", server.address));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("an import")
}

/// The exit code of an import, its summary, and its standard error.
async fn ended(import: Child) -> (Option<i32>, String, String) {
    let output = within("the end of the import", import.wait_with_output()).await.expect("an end");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The ids of the room are those of the lines, in their order.
async fn holds(server: &Server, lines: impl Iterator<Item = usize>) {
    let log = server.login("reader").await.whole_log("irc").await;
    let ids: Vec<_> = log.iter().map(|entry| entry["id"].as_str().expect("an id")).collect();
    let expected: Vec<_> = lines.map(|n| format!("line-{n}")).collect();
    assert!(ids == expected, "{} entries of {} lines: {ids:?}", ids.len(), expected.len());
}

/// Whether an append had this outcome.
async fn counted(server: &Server, outcome: &str) -> bool {
    let metrics = server.operator_get("/metrics").send().await.body;
    let count = format!("roomlog_appends_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&count));
    line.is_some_and(|count| count != "0")
}

#[tokio::test]
async fn a_server_killed_during_batches_has_every_line_once_and_in_order() {
    let mut server = Server::start(&["--fold-ms", "1"]).await;
    let file = file((0..LINES).map(|n| entry(n, 10)));
    let mut import = import(&server, &file);
    for slot in [700, 4_300] {
        let mut watcher = server.login("watcher").await;
        while watcher.update("irc", json!({"count": 0})).await["latest"].as_i64() < Some(slot) {}
        assert!(import.try_wait().expect("a child").is_none(), "it is still under way");
        server.kill9().await;
        server.restart().await;
    }
    let (code, summary, said) = ended(import).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("roomlog: not connected (") && said.contains("connected again"),
        "{said}"
    );
    assert!(summary.contains("rejected         0"), "{summary}");
    assert!(summary.contains("batch p50 / p99 "), "{summary}");
    holds(&server, 0..LINES).await;
    let (code, summary, _) = ended(self::import(&server, &file)).await;
    assert_eq!(code, Some(0));
    assert!(summary.contains("new              0\nalready there    12000 "), "{summary}");
}

#[tokio::test]
async fn a_rejected_line_is_named_and_its_neighbours_are_imported() {
    let server = Server::start(&[]).await;
    let long = |n: &usize| [3, 1_500].contains(n);
    let file = file((0..2_500).map(|n| entry(n, if long(&n) { 16_385 } else { 10 })));
    let (code, summary, said) = ended(import(&server, &file)).await;
    assert_eq!(code, Some(1));
    assert!(summary.contains("new              2498\n"), "{summary}");
    assert!(summary.contains("rejected         2\n"), "{summary}");
    for line in [4, 1_501] {
        assert!(said.contains(&format!(".jsonl:{line}: too_large: ")), "{said}");
    }
    assert!(said.contains("2 lines were not imported"), "{said}");
    holds(&server, (0..2_500).filter(|n| !long(n))).await;
}

#[tokio::test]
async fn a_busy_server_gets_the_batch_again() {
    // Space for a part of a batch: every batch is `busy` somewhere in the middle.
    let server = Server::start(&["--memory=4194304"]).await;
    let file = file((0..2_000).map(|n| entry(n, 10)));
    let (code, summary, said) = ended(import(&server, &file)).await;
    assert_eq!((code, said.as_str()), (Some(0), ""), "{summary}");
    assert!(summary.contains("new              2000\n"), "{summary}");
    assert!(counted(&server, "busy").await, "it never was busy");
    holds(&server, 0..2_000).await;
}

#[tokio::test]
async fn a_server_with_a_smaller_body_limit_gets_smaller_batches() {
    let server = Server::start(&["--batch-bytes=20000"]).await;
    let file = file((0..3_000).map(|n| entry(n, 10)));
    let (code, summary, said) = ended(import(&server, &file)).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(summary.contains("new              3000\n"), "{summary}");
    holds(&server, 0..3_000).await;
}

#[tokio::test]
async fn an_import_waits_while_the_disk_is_full() {
    if !may_mount("an_import_waits_while_the_disk_is_full") {
        return;
    }
    let disk = SmallDisk::new("16m");
    let server = Server::start_on(&disk.data(), &["--fold-ms", "60000"], &[]).await;
    disk.fill_but(600_000);
    let file = file((0..1_500).map(|n| entry(n, 1_000)));
    let mut import = import(&server, &file);
    let refused = async {
        while !counted(&server, "storage_full").await {
            tokio::task::yield_now().await;
        }
    };
    within("a refusal", refused).await;
    assert!(import.try_wait().expect("a child").is_none(), "it waits");
    disk.free();
    let (code, summary, said) = ended(import).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(summary.contains("rejected         0\n"), "{summary}");
    holds(&server, 0..1_500).await;
}
