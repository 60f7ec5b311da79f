//! `roomlog serve`: what it refuses, and the log's name through restarts.

mod support;

use serde_json::json;
use support::{Server, serve_refused};

#[tokio::test]
async fn a_second_process_on_a_directory_is_refused_and_the_first_goes_on() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": "before"})).await;
    let refused = serve_refused(server.directory(), "127.0.0.1:0", &[]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    let directory = server.directory().to_str().expect("a path");
    assert!(said.contains(directory), "it does not name the directory: {said}");
    assert!(said.contains("another process") || said.contains("lock"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    ada.append("r", json!({"body": "after"})).await;
}

#[tokio::test]
async fn the_log_keeps_its_name_through_restarts() {
    let mut server = Server::start(&[]).await;
    let log = server.connect().await.hello["log"].clone();
    for _ in 0..2 {
        server.kill9().await;
        server.restart().await;
        assert_eq!(server.connect().await.hello["log"], log);
    }
    server.login("ada").await.append("r", json!({"body": "x"})).await;
    assert!(server.sigterm().await.success());
    server.restart().await;
    assert_eq!(server.connect().await.hello["log"], log);
}

#[tokio::test]
async fn an_open_server_listens_on_loopback_only_unless_told_otherwise() {
    let directory = tempfile::tempdir().expect("a directory");
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let refused = serve_refused(directory.path(), listen, &[]).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{said}");
        assert!(said.contains("--insecure-open"), "it does not name the way out: {said}");
    }
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_refused_by_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    for (flag, name) in [
        ("--page-entries=0", "page"),
        ("--body-bytes=many", "body"),
        ("--room-bytes=129", "room"),
        ("--listen-to-me=1", "listen-to-me"),
    ] {
        let refused = serve_refused(directory.path(), "127.0.0.1:0", &[flag]).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(name), "{flag}: {said}");
        assert!(!said.contains("panicked"), "{flag}: {said}");
    }
}
