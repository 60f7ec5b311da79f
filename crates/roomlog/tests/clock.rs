//! A clock that jumped: the log goes on in order, and the operator is told.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Fault, PATIENCE, Server, slot};

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn a_log_that_is_ahead_of_the_clock_goes_on_and_is_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let fault = Fault::of("none", "none");
    let ahead = fault.clock_ahead(DAY);
    let ahead: Vec<_> = ahead.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::start_on(directory.path(), &[], &ahead).await;
    let before = server.login("ada").await.append("r", json!({"body": "tomorrow"})).await;
    assert!(server.sigterm().await.success());

    // Then the clock is right.
    let server = Server::start_on(directory.path(), &[], &[]).await;
    let mut ada = server.login("ada").await;
    let after = ada.append("r", json!({"body": "today"})).await;
    assert_eq!(slot(&after), 1);
    let times = [&before, &after].map(|entry| entry["committed_at"].as_u64().expect("a time"));
    assert!(times[0] <= times[1], "{times:?}");
    let told = async {
        let is_so = |line: &String| line.contains("dated ahead of the clock");
        while !server.stderr_lines().iter().any(is_so) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("told in time");
    let metrics = server.operator_get("/metrics").send().await.body;
    let line = metrics.lines().find(|line| line.starts_with("roomlog_clock_ahead_seconds "));
    let seconds: u64 = line.and_then(|it| it.split(' ').nth(1)?.parse().ok()).expect("a number");
    assert!((DAY - 60..=DAY).contains(&seconds), "{seconds}");
}
