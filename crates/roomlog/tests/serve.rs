//! `roomlog serve`: what it rejects, the log's name across restarts, and errors of commands.

mod support;

use std::process::Stdio;

use serde_json::json;
use support::{Server, serve_refused, within};
use tokio::process::Command;

#[tokio::test]
async fn a_second_process_on_a_directory_is_rejected_and_the_first_continues() {
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
async fn an_open_server_listens_only_on_loopback_by_default() {
    let directory = tempfile::tempdir().expect("a directory");
    for listen in ["7400", "example.org:7400"] {
        let refused = serve_refused(directory.path(), listen, &[]).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("127.0.0.1:7400"), "it does not show the form: {said}");
    }
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let refused = serve_refused(directory.path(), listen, &[]).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{said}");
        assert!(said.contains("--insecure-open"), "it does not name the way out: {said}");
    }
}

#[tokio::test]
async fn an_invalid_setting_is_rejected_by_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    for (flag, name) in [
        ("--page-entries=0", "page"),
        ("--body-bytes=many", "body"),
        ("--room-bytes=129", "room"),
        ("--listen-to-me=1", "listen-to-me"),
        ("--sockets=0", "sockets is 0, but must be at least 1"),
        ("--memory=1048575", "memory is 1048575, but must be at least 1048576"),
        ("--event-comment-ms=0", "event_comment_ms is 0, but must be from 1 to 86400000"),
        ("--event-comment-ms=86400001", "event_comment_ms is 86400001, but must be from 1"),
        ("--batch-bytes=0", "batch_bytes is 0, but must be at least 1"),
        ("--fold-entries=0", "fold_entries is 0, but must be at least 1"),
        ("--journal-bytes=65535", "journal_bytes is 65535, but must be at least 65536"),
        ("--allow-origin=https://chat.example.org/app", "without a path"),
    ] {
        let refused = serve_refused(directory.path(), "127.0.0.1:0", &[flag]).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains(name), "{flag}: {said}");
        assert!(!said.contains("panicked"), "{flag}: {said}");
    }
}

#[tokio::test]
async fn a_boolean_in_the_environment_has_the_usual_spellings() {
    let directory = tempfile::tempdir().expect("a directory");
    // With a limit out of its range it ends before it listens where others can reach it.
    for (value, said) in [
        ("1", "page_entries is 0"),
        ("yes", "page_entries is 0"),
        ("TRUE", "page_entries is 0"),
        ("0", "add --insecure-open"),
        ("no", "add --insecure-open"),
        ("", "add --insecure-open"),
        ("perhaps", "write 1, yes or true"),
    ] {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_roomlog"));
        serve.args(["serve", "--listen", "0.0.0.0:0", "--page-entries", "0", "--data"]);
        serve.arg(directory.path()).env_clear().env("ROOMLOG_INSECURE_OPEN", value);
        let ended = within("the end", serve.kill_on_drop(true).output()).await.expect("a run");
        let why = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{value:?}: {why}");
        assert!(why.contains(said), "{value:?}: {why}");
    }
}

/// A command for this server: its exit code, standard output and standard error.
async fn run(server: &Server, args: &str) -> (Option<i32>, String, String) {
    let ended = within(args, command(server, args).output()).await.expect("a run");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

fn command(server: &Server, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.args(args.split(' ')).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command.env("ROOMLOG_SERVER", format!("http://{}", server.address));
    command
}

#[tokio::test]
async fn a_slot_beyond_the_end_is_answered_with_the_latest_slot() {
    let server = Server::start(&["--ahead-ms", "20"]).await;
    let mut ada = server.login("ada").await;
    for body in ["zero", "one"] {
        ada.append("general", json!({"body": body})).await;
    }
    for args in
        ["read general --after 99", "tail general --after 99", "append general x --after 99"]
    {
        let (code, lines, why) = run(&server, args).await;
        assert_eq!((code, lines.as_str()), (Some(1), ""), "{args}");
        let said = "roomlog: general ends at slot 1; use --after 1 or less\n";
        assert_eq!(why, said, "{args}");
    }
}
