//! SIGTERM: accepted appends are committed and answered, waiting ones get `unavailable`, and the exit
//! code is 0.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Server, code};

#[tokio::test]
async fn at_shutdown_waits_for_seq_after_seen_or_ref_are_unavailable_at_once() {
    // Waits that would outlast the test's patience.
    let mut server = Server::start(&["--ahead-ms=600000", "--seq-wait-ms=600000"]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([
        json!({"type": "append", "room": "a", "body": "x", "seq": 1, "req": 1}),
        json!({"type": "append", "room": "b", "body": "x", "after": 9, "req": 2}),
        json!({"type": "append", "room": "c", "body": "x", "ref": 9, "req": 3}),
        json!({"type": "update", "room": "d", "seen": 9, "req": 4}),
        json!({"type": "join", "room": "e", "after": 9, "req": 5}),
    ])
    .await;
    ada.nothing_more().await;
    server.terminate().await;
    let (frames, closed) = ada.rest().await;
    let mut answers: Vec<_> = frames.iter().map(|f| (f["req"].as_i64(), code(f))).collect();
    answers.sort_unstable();
    let want: Vec<_> = (1..=5).map(|req| (Some(req), "unavailable")).collect();
    assert_eq!(answers, want, "{frames:?}");
    assert!(frames.iter().all(|frame| frame["retry_after_ms"].is_u64()), "{frames:?}");
    assert_eq!(closed, Some(1012));
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn accepted_appends_are_committed_and_answered_before_the_close() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let frames = (0..2_000).map(
        |n| json!({"type": "append", "room": "r", "id": format!("i-{n}"), "body": "x", "req": n}),
    );
    let (sent, mut answered) = (frames.len(), BTreeSet::new());
    ada.try_send_all(frames).await;
    for _ in 0..50 {
        answered.insert(ada.expect("appended").await["id"].to_string());
    }
    server.terminate().await;
    let (frames, closed) = ada.rest().await;
    for frame in &frames {
        match frame["type"].as_str() {
            Some("appended") => assert!(answered.insert(frame["id"].to_string()), "{frame}"),
            _ => assert_eq!(code(frame), "unavailable", "{frame}"),
        }
    }
    assert_eq!(closed, Some(1012));
    assert_eq!(server.ended().await.code(), Some(0));
    server.restart().await;
    let log = server.login("ada").await.whole_log("r").await;
    assert!(log.len() <= sent);
    let there: BTreeSet<_> = log.iter().map(|entry| entry["id"].to_string()).collect();
    assert_eq!(there, answered, "committed and answered are the same");
}

#[tokio::test]
async fn followers_and_idle_connections_are_closed_with_1012() {
    let mut server = Server::start(&[]).await;
    let mut follower = server.login("follower").await;
    follower.join("r", json!({})).await;
    let mut nobody = server.connect().await;
    server.terminate().await;
    assert_eq!(follower.closed().await, Some(1012));
    assert_eq!(nobody.closed().await, Some(1012));
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_delay_the_shutdown() {
    let mut server = Server::start(&["--drain-ms=300"]).await;
    let mut ada = server.login("ada").await;
    let mut sleeper = server.login_with_small_buffer("sleeper").await;
    sleeper.join("r", json!({})).await;
    ada.fill("r", 1_000, &"z".repeat(12_000)).await;
    let status = server.sigterm().await;
    assert_eq!(status.code(), Some(0));
    server.restart().await;
    let head: Value = server.login("ada").await.update("r", json!({"count": 0})).await;
    assert_eq!(head["latest"], 999);
}
