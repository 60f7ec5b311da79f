//! TLS at the public listener: what works over it, what it refuses, and what strangers cost.

mod support;

use std::fs;

use serde_json::json;
use support::{Client, Issuer, Server, session, slot, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// How many strangers open a handshake and do not finish it.
const STRANGERS: usize = 200;

/// A request over TLS: all that comes until the server ends the session.
async fn ask(issuer: &Issuer, server: &Server, request: &str) -> String {
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let mut stream = session(&issuer.ca, stream).await.expect("a session");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    // An end without close_notify is an error here.
    within("the end of the session", stream.read_to_string(&mut answer)).await.expect("an end");
    answer
}

fn get(server: &Server, path: &str, headers: &str) -> String {
    let host = server.address;
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n")
}

#[tokio::test]
async fn http_and_websockets_work_over_tls_and_end_with_close_notify() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let mut server = issuer.server(&[]).await;
    let lines = server.stderr_lines();
    assert!(lines.iter().any(|it| it.contains("listening on https://127.0.0.1:")), "{lines:?}");

    let (mut ada, mut bob) =
        (issuer.login(&server, "ada").await, issuer.login(&server, "bob").await);
    bob.join("general", json!({"count": 0})).await;
    ada.fill("general", 500, "over TLS").await;
    assert_eq!(bob.acks("general", -1, 499).await.len(), 500);
    // A frame and a page of many records.
    ada.append("general", json!({"body": "x".repeat(16_000)})).await;
    assert_eq!(ada.whole_log("general").await.len(), 501);

    let answer = ask(&issuer, &server, &get(&server, "/v1/rooms", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("general"), "{answer}");

    server.terminate().await;
    assert_eq!(ada.closed().await, Some(1012));
    drop((ada, bob));
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn the_own_origin_is_https_and_every_host_that_the_certificate_proves_is_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    let own = server.address;
    for (origin, status) in [
        (format!("https://{own}"), "200"),
        (format!("http://{own}"), "403"),
        ("https://evil.example".into(), "403"),
    ] {
        let answer =
            ask(&issuer, &server, &get(&server, "/v1/rooms", &format!("origin: {origin}\r\n")))
                .await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{origin}: {answer}");
    }
    let named = "GET /v1/rooms HTTP/1.1\r\nhost: chat.example\r\norigin: https://chat.example\r\n\
        connection: close\r\n\r\n";
    let answer = ask(&issuer, &server, named).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("strict-transport-security"), "{answer}");
}

#[tokio::test]
async fn plain_http_gets_400_in_the_clear_and_other_bytes_get_nothing_in_the_clear() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    let answer = server.raw(get(&server, "/v1/rooms", "").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.ends_with("use https://\n"), "{answer}");
    let mut ssh = TcpStream::connect(server.address).await.expect("a connection");
    ssh.write_all(b"\0\0\0\0 no TLS").await.expect("sent");
    let mut answer = Vec::new();
    let _ended_or_reset = within("the end", ssh.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
}

/// The names in the certificate that a new session is shown.
async fn shown(issuer: &Issuer, server: &Server) -> Vec<u8> {
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let stream = session(&issuer.ca, stream).await.expect("a session");
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("a certificate")[0].as_ref().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_rotates_the_certificate_under_load_and_no_socket_or_append_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    let mut writers = Vec::new();
    for n in 0..8 {
        writers.push(issuer.login(&server, &format!("author-{n}")).await);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut running = tokio::task::JoinSet::new();
    for mut writer in writers {
        let stopped = stopped.clone();
        running.spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                count += writer.fill("busy", 50, "more").await.len();
            }
            count
        });
    }
    let mut certificates = vec![shown(&issuer, &server).await];
    for reloads in 1..=5 {
        issuer.renew(&["127.0.0.1"]);
        let lines = || {
            let lines = server.stderr_lines();
            lines.iter().filter(|line| line.contains("was reloaded")).count()
        };
        server.sighup("the TLS certificate was reloaded").await;
        within("a reload", async {
            while lines() < reloads {
                tokio::task::yield_now().await
            }
        })
        .await;
        certificates.push(shown(&issuer, &server).await);
    }
    stop.send_replace(true);
    let appended: usize = running.join_all().await.into_iter().sum();
    certificates.dedup();
    assert_eq!(certificates.len(), 6, "each reload shows another certificate");
    assert_eq!(issuer.login(&server, "reader").await.whole_log("busy").await.len(), appended);
}

#[tokio::test]
async fn changed_files_are_taken_without_a_signal_and_wrong_ones_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    let first = shown(&issuer, &server).await;
    let [certificate, _] = issuer.files();
    let (other, _) = issuer.issue(&["127.0.0.1"], |_| ());
    fs::write(&certificate, other).expect("written");
    server.sighup("does not belong to the certificate in").await;
    assert_eq!(shown(&issuer, &server).await, first);
    fs::remove_file(&certificate).expect("removed");
    server.sighup("cannot read").await;
    assert_eq!(shown(&issuer, &server).await, first);

    issuer.renew(&["127.0.0.1"]);
    let begun = tokio::time::Instant::now();
    while shown(&issuer, &server).await == first {
        assert!(begun.elapsed().as_secs() < 40, "the files have changed");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// The resident memory of the server's process, in bytes.
fn resident(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// A client's first record: a handshake message of 60,000 bytes that has hardly begun.
fn long_hello() -> Vec<u8> {
    let mut bytes = vec![22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60];
    bytes.resize(5 + 0x4000, 0);
    bytes.repeat(4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_do_not_finish_a_handshake_cost_little_and_are_cut() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&["--memory=67108864", "--handshake-ms=3000"]).await;
    let mut ada = issuer.login(&server, "ada").await;
    ada.append("general", json!({"body": "before"})).await;
    let rest = resident(&server);
    let mut strangers = tokio::task::JoinSet::new();
    for n in 0..STRANGERS {
        let address = server.address;
        strangers.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            match n % 3 {
                0 => {}
                1 => {
                    // A byte at a time.
                    for byte in &long_hello()[..20] {
                        if stream.write_all(&[*byte]).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
                _ => drop(stream.write_all(&long_hello()).await),
            }
            // The server ends it.
            let mut end = [0; 64];
            while stream.read(&mut end).await.is_ok_and(|count| count > 0) {}
        });
    }
    let mut most = 0;
    for round in 0..20 {
        ada.append("general", json!({"body": format!("round {round}")})).await;
        issuer.login(&server, "bob").await.append("general", json!({"body": "new"})).await;
        most = most.max(resident(&server));
    }
    assert!(most < rest + STRANGERS * (72 << 10), "{rest} bytes at rest, {most} under attack");
    within("the end of the strangers", strangers.join_all()).await;
    let metrics = server.operator_get("/metrics").send().await.body;
    assert!(!metrics.contains("limit=\"handshake_ms\"} 0\n"), "some were late: {metrics}");
    ada.append("general", json!({"body": "after"})).await;
}

#[tokio::test]
async fn a_slow_reader_over_tls_holds_nobody_back_and_gets_every_entry() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&["--tail-bytes=1048576"]).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let stream = socket.connect(server.address).await.expect("a connection");
    let stream = session(&issuer.ca, stream).await.expect("a session");
    let mut slow = Client::open(&server, stream, &[]).await;
    slow.expect("hello").await;
    slow.log_in("slow").await;
    slow.join("r", json!({"count": 0})).await;
    let mut ada = issuer.login(&server, "ada").await;
    let body = "x".repeat(8_000);
    ada.fill("r", 1_500, &body).await;
    let charged = server.operator_get("/metrics").send().await.body;
    let held = charged
        .lines()
        .find_map(|line| line.strip_prefix("roomlog_memory_bytes{budget=\"clients\"} "));
    let held: usize = held.and_then(|held| held.parse().ok()).expect("a number");
    assert!(held < 2 << 20, "{held}");
    assert_eq!(slow.acks("r", -1, 1_499).await.last().map(slot), Some(1_499));
}

#[tokio::test]
async fn a_session_that_is_cut_within_a_record_or_half_closed_does_not_hang() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let mut server = issuer.server(&[]).await;
    let quiet = server.operator_get("/metrics").send().await.body;
    assert!(quiet.contains("roomlog_sockets 0"), "{quiet}");
    // Half a record, as of a client that was killed while it wrote.
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let mut stream = session(&issuer.ca, stream).await.expect("a session");
    stream.write_all(get(&server, "/v1/rooms", "").as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let (tcp, _) = stream.get_mut();
    tcp.write_all(&[23, 3, 3, 0x20, 0, 1, 2, 3]).await.expect("sent");
    drop(stream);
    // A client that says that it sends no more may get no answer.
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let mut stream = session(&issuer.ca, stream).await.expect("a session");
    let request = get(&server, "/v1/rooms", "");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream.shutdown().await.expect("half closed");
    let mut answer = String::new();
    let _answer_or_none = within("an end", stream.read_to_string(&mut answer)).await;
    within("no socket", async {
        while !server.operator_get("/metrics").send().await.body.contains("roomlog_sockets 0") {}
    })
    .await;
    assert!(server.sigterm().await.success());
}
