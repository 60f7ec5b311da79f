//! The operators' door: what is served there and not in public, who reaches it, and that neither
//! listener suffers from the other.

mod support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use hyper::Method;
use serde_json::json;
use support::{Server, roomlog, serve_refused, slot, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
    process::Command,
    time::timeout,
};

const BACKUP: &[u8] = b"GET /v1/backup HTTP/1.1\r\nhost: localhost\r\n\r\n";
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Runs a command with the server in its environment: its exit code and standard error.
async fn run(server: &Server, args: &str) -> (Option<i32>, String) {
    let ended = within(args, roomlog(server, args).output()).await.expect("a run");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

fn socket(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

#[tokio::test]
async fn metrics_and_backups_are_served_at_the_door_alone() {
    let server = Server::start(&[]).await;
    for path in ["/metrics", "/v1/backup"] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let error = server.request(method, path).send().await.refused(404, "not_found");
            let message = error["message"].as_str().expect("text").to_owned();
            assert!(message.contains("operators' listener: --admin-listen"), "{message}");
        }
        assert_eq!(server.request(Method::HEAD, path).status().await, 404);
        assert_eq!(server.operator_get(path).status().await, 200, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.operator_get(path).send().await.status, 200, "{path}");
    }
    for path in ["/", "/app/app.js", "/v1/ws", "/v1/rooms", "/v1/rooms/r/entries"] {
        server.operator_get(path).send().await.refused(404, "not_found");
    }
    let other = server.at_door(Method::POST, "/metrics").send().await;
    other.refused(405, "bad_message");
    assert_eq!(other.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn the_socket_is_the_users_own_and_accepts_any_host() {
    let mut server = Server::start(&[]).await;
    let mode = fs::metadata(socket(server.directory())).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!server.directory().join(".admin.new").exists());
    for host in ["prometheus.example", "localhost", ""] {
        assert_eq!(server.operator_get("/metrics").host(host).status().await, 200, "{host:?}");
    }
    let line = server.stderr_lines().swap_remove(0);
    let named = format!("operators {})", socket(server.directory()).display());
    assert!(line.ends_with(&named), "{line}");
    assert!(server.sigterm().await.success());
    assert!(!socket(server.directory()).exists(), "a clean stop removes it");
}

#[tokio::test]
async fn the_socket_of_a_killed_server_is_replaced() {
    let mut server = Server::start(&[]).await;
    server.kill9().await;
    assert!(socket(server.directory()).exists());
    // One that was killed while it made its socket.
    fs::create_dir(server.directory().join(".admin.new")).expect("a directory");
    let _left = UnixListener::bind(server.directory().join(".admin.new/s")).expect("a socket");
    let to = tempfile::tempdir().expect("a directory");
    let (code, why) = run(&server, &format!("backup {}", to.path().display())).await;
    assert_eq!(code, Some(1), "{why}");
    assert!(
        why.contains("admin.sock: Connection refused") && why.contains("roomlog serve"),
        "{why}"
    );
    server.restart().await;
    assert_eq!(server.operator_get("/healthz").send().await.body, "alive\n");
    assert!(!server.directory().join(".admin.new").exists());

    // Only the socket is left of a log that was moved away.
    server.kill9().await;
    for name in ["journal-00000001", "journal-00000002", "node"] {
        fs::remove_file(server.directory().join(name)).expect("removed");
    }
    for name in ["archive.db", "archive.db-wal", "archive.db-shm"] {
        fs::remove_file(server.directory().join(name)).expect("removed");
    }
    server.restart().await;
}

#[tokio::test]
async fn a_file_in_the_place_of_the_socket_is_refused_and_kept() {
    let mut server = Server::start(&[]).await;
    assert!(server.sigterm().await.success());
    fs::write(socket(server.directory()), "dear ada").expect("a file");
    let refused = serve_refused(server.directory(), "127.0.0.1:0", &[]).await;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("admin.sock is not a socket") && why.contains("--admin-listen"), "{why}");
    assert_eq!(fs::read_to_string(socket(server.directory())).expect("a file"), "dear ada");
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_works_for_server_and_backup() {
    let parent = tempfile::tempdir().expect("a directory");
    let data = parent.path().join("d".repeat(100)).join("e".repeat(100));
    let mut server = Server::start_on(&data, &[], &[]).await;
    assert!(socket(&data).as_os_str().len() > 200);
    let (code, why) = run(&server, &format!("backup {}/backup", parent.path().display())).await;
    assert_eq!(code, Some(0), "{why}");
    assert!(server.sigterm().await.success());
    assert!(!socket(&data).exists());
}

#[tokio::test]
async fn a_backup_that_is_served_has_its_socket_below_and_is_backed_up_by_its_name() {
    let parent = tempfile::tempdir().expect("a directory");
    let at = |name: &str| parent.path().join(name).display().to_string();
    let server = Server::start(&[]).await;
    assert_eq!(run(&server, &format!("backup {}", at("one"))).await.0, Some(0));
    let served = Server::start_on(&parent.path().join("one"), &[], &[]).await;
    let (code, why) = run(&served, &format!("backup {}", at("two"))).await;
    assert_eq!(code, Some(0), "{why}");
}

#[tokio::test]
async fn without_a_door_nothing_is_served_to_operators() {
    let server = Server::start(&["--admin-listen", "off"]).await;
    assert!(!socket(server.directory()).exists());
    assert!(!server.stderr_lines().concat().contains("operators"));
    let to = tempfile::tempdir().expect("a directory");
    let (code, why) = run(&server, &format!("backup {}", to.path().display())).await;
    assert!(code == Some(1) && why.contains("--server http://HOST:PORT"), "{why}");
    // The public listener is not the door.
    let public = format!("backup {} --server http://{}", to.path().display(), server.address);
    let (code, why) = run(&server, &public).await;
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("served on the operators' listener") && why.contains("--data"), "{why}");
}

#[tokio::test]
async fn a_door_at_an_address_keeps_the_browser_rules() {
    let listed = "https://chat.example";
    let flags = ["--admin-listen", "127.0.0.1:0", "--allow-origin", listed];
    let server = Server::start(&flags).await;
    let address = server.door_address().expect("an address");
    assert!(!socket(server.directory()).exists());
    let get = || server.operator_get("/metrics");
    assert_eq!(get().send().await.status, 200);
    assert_eq!(get().host("chat.example").send().await.status, 200, "a scraper by that name");
    get().host("evil.example").send().await.refused(403, "forbidden");
    // Pages may use the log, not what only operators may.
    for origin in [listed, "https://evil.example", "null"] {
        let answer = get().header("origin", origin).send().await;
        answer.refused(403, "forbidden");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
    let to = tempfile::tempdir().expect("a directory");
    let backup = format!("backup {} --server http://{address}", to.path().display());
    let (code, why) = run(&server, &backup).await;
    assert_eq!(code, Some(0), "{why}");
}

#[tokio::test]
async fn a_door_that_others_can_reach_has_to_be_opted_in() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--admin-listen", "0.0.0.0:0"];
    let refused = serve_refused(data.path(), "127.0.0.1:0", &flags).await;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("admin_listen 0.0.0.0:0") && why.contains("--insecure-open"), "{why}");
    let server = Server::start(&[&flags[..], &["--insecure-open"]].concat()).await;
    assert!(server.door_address().is_some_and(|address| address.ip().is_unspecified()));

    let taken = server.address.to_string();
    let refused = serve_refused(data.path(), "127.0.0.1:0", &["--admin-listen", &taken]).await;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("Give another address with --admin-listen"), "{why}");
}

#[tokio::test]
async fn a_full_public_listener_leaves_the_door_open() {
    // One address has as many as are free.
    let server = Server::start(&["--sockets", "5"]).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        stream.write_all(b"GET /").await.expect("sent");
        taken.push(stream);
    }
    within("all sockets taken", async {
        while !server.operator_get("/metrics").send().await.body.contains("roomlog_sockets 3") {}
    })
    .await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.operator_get(path).send().await.status, 200, "{path}");
    }
    let (code, why) = run(&server, &format!("backup {}/b", server.directory().display())).await;
    assert_eq!(code, Some(0), "{why}");
}

#[tokio::test]
async fn a_public_listener_without_descriptors_leaves_the_door_open() {
    let data = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 364; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_roomlog")]);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()).env_clear();
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("a run");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let line = within("a line", lines.next_line()).await.expect("a pipe").expect("a line");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
    let address: SocketAddr = address.expect("an address").parse().expect("an address");
    // More than it has descriptors. Those that it does not accept wait in the system's queue, and
    // beyond that queue they do not even connect.
    let connect = || timeout(Duration::from_secs(1), TcpStream::connect(address));
    let taken = futures_util::future::join_all((0..300).map(|_| connect())).await;
    assert!(taken.iter().filter(|taken| matches!(taken, Ok(Ok(_)))).count() > 44);
    let mut door = UnixStream::connect(socket(data.path())).await.expect("a connection");
    door.write_all(HEALTH).await.expect("sent");
    let mut answer = String::new();
    within("an answer", door.read_to_string(&mut answer)).await.expect("read");
    assert!(answer.ends_with("alive\n"), "{answer}");
}

#[tokio::test]
async fn two_hundred_slow_readers_of_backups_stop_nobody_in_public() {
    let server = Server::start(&["--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 200, &"x".repeat(16_000)).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut door = server.door().await;
        door.write_all(BACKUP).await.expect("sent");
        slow.push(door);
    }
    for n in 0..50 {
        assert_eq!(slot(&ada.append("r", json!({"body": "on"})).await), 200 + n);
        assert_eq!(server.get("/healthz").send().await.status, 200);
    }
    drop(slow);
    let healthz = server.operator_get("/healthz").send().await;
    assert_eq!(healthz.status, 200, "the door has places again");
}
