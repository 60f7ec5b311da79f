//! What a running server takes from its settings file at SIGHUP: limits, for those who are connected too.
//! What is wrong changes nothing, and what needs a restart is named.

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{Client, Server, code, slot, with, within};

async fn with_settings(file: &Path, text: &str) -> Server {
    fs::write(file, text).expect("a file");
    Server::start(&["--config", file.to_str().expect("a path"), "--log-format", "text"]).await
}

fn append(room: &str) -> Value {
    with("append", room, json!({"body": "x"}))
}

/// Appends to a new room until that is taken: a connection may be faster than the new limits.
async fn takes_soon(author: &mut Client, room: &str) {
    within("the new limit", async {
        while author.ask(append(room)).await["type"] != "appended" {}
    })
    .await;
}

fn in_file(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("roomlog.toml")
}

#[tokio::test]
async fn sighup_applies_limits_to_whoever_is_connected_and_to_whoever_comes() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = in_file(&directory);
    let server = with_settings(&file, "rooms = 1\nrooms_per_second = 5\n").await;
    let mut ada = server.login("ada").await;
    assert_eq!(slot(&ada.append("one", json!({"body": "x"})).await), 0);
    ada.refused(append("two"), "too_large").await;

    fs::write(&file, "rooms = 3\nrooms_per_second = 5\n").expect("a file");
    server.sighup("the settings were reloaded: rooms = 3").await;
    takes_soon(&mut ada, "two").await;
    let grace = server.connect().await;
    assert_eq!(grace.hello["limits"]["rooms"], 3);

    // Of an allowance that is full again, one may be used: with the old one it was five.
    fs::write(&file, "rooms = 9\nrooms_per_second = 1\nburst_ms = 1000\n").expect("a file");
    server
        .sighup("the settings were reloaded: burst_ms = 1000, rooms = 9, rooms_per_second = 1")
        .await;
    let mut answers: Vec<Value> = Vec::new();
    for room in ["three", "four", "five"] {
        answers.push(ada.ask(append(room)).await);
    }
    assert_eq!(slot(&answers[0]), 0);
    assert!(answers[1..].iter().any(|answer| code(answer) == "rate_limited"), "{answers:?}");

    // A line that is gone is the default again.
    fs::write(&file, "rooms = 9\n").expect("a file");
    server.sighup("burst_ms is the default, rooms_per_second is the default").await;
    takes_soon(&mut ada, "six").await;
    server.sighup("the settings have not changed").await;
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_what_needs_a_restart_is_named_each_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = in_file(&directory);
    let server = with_settings(&file, "rooms = 1\n").await;
    let mut ada = server.login("ada").await;
    assert_eq!(slot(&ada.append("one", json!({"body": "x"})).await), 0);
    for (wrong, why) in [
        ("rooms = \"two\"\n", "line 1"),
        ("rooms = 0\n", "rooms is 0, but must be from 1"),
        ("rums = 2\n", "\"rums\" is not a setting"),
    ] {
        fs::write(&file, wrong).expect("a file");
        server.sighup(why).await;
    }
    fs::remove_file(&file).expect("a file");
    server.sighup("cannot read the settings file").await;
    let failures = server.stderr_lines();
    let kept = |line: &&String| {
        line.contains("the settings were not reloaded, those before stay in use: ")
    };
    assert_eq!(failures.iter().filter(kept).count(), 4, "{failures:?}");
    ada.refused(append("two"), "too_large").await;

    fs::write(&file, "rooms = 2\nbody_bytes = 5\ndrain_ms = 5\n").expect("a file");
    server.sighup("restart the server to change body_bytes, drain_ms").await;
    assert_eq!(slot(&ada.append("two", json!({"body": "longer than five"})).await), 0);
    fs::write(&file, "rooms = 3\nbody_bytes = 5\ndrain_ms = 5\n").expect("a file");
    server.sighup("the settings were reloaded: rooms = 3").await;
    assert_eq!(slot(&ada.append("three", json!({"body": "longer than five"})).await), 0);
    within("the second line", async {
        let told = |line: &String| line.contains("restart the server to change");
        while server.stderr_lines().iter().filter(|line| told(line)).count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_flag_still_overrides_the_file_and_fewer_sockets_still_fit() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = in_file(&directory);
    fs::write(&file, "rooms = 1\n").expect("a file");
    let flags = ["--config", file.to_str().expect("a path"), "--rooms", "2", "--sockets", "10"];
    let server = Server::start(&flags).await;
    fs::write(&file, "rooms = 5\nconnections_per_principal = 500\n").expect("a file");
    server.sighup("the settings were reloaded: connections_per_principal = 500").await;
    let hello = server.connect().await.hello;
    assert_eq!(hello["limits"]["rooms"], 2);
    assert_eq!(hello["limits"]["connections_per_principal"], 10);
}
