//! Requests as proxies pass them on: one host that all agree on, one length, handshakes over old HTTP.

mod support;

use serde_json::json;
use support::Server;

/// The status of each answer.
fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.split("HTTP/1.").skip(1);
    lines.map(|line| line.split(' ').nth(1).unwrap_or_default()).collect()
}

/// The answers to a GET of this target with these lines behind it.
async fn get(server: &Server, target: &str, lines: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\n{lines}connection: close\r\n\r\n");
    server.raw(head.as_bytes()).await
}

#[tokio::test]
async fn a_request_is_for_one_host_or_it_is_400() {
    let server = Server::start(&["--allow-origin", "https://chat.example"]).await;
    let host = format!("host: {}\r\n", server.address);
    for lines in [
        format!("{host}host: chat.example\r\n"),
        format!("{host}{host}"),
        "x: y\r\n".into(),
        "host:\r\n".into(),
        "host: a b\r\n".into(),
        "host: ada@127.0.0.1\r\n".into(),
        "host: 127.0.0.1:port\r\n".into(),
        format!("{host}origin: https://chat.example\r\norigin: https://evil.example\r\n"),
    ] {
        let answer = get(&server, "/v1/rooms", &lines).await;
        assert_eq!(statuses(&answer), ["400"], "{lines}");
        assert!(answer.contains(r#""code":"bad_message""#), "{answer}");
    }
}

#[tokio::test]
async fn the_host_of_an_absolute_target_counts_and_not_the_line() {
    let server = Server::start(&["--allow-origin", "https://chat.example"]).await;
    let host = format!("host: {}\r\n", server.address);
    for (target, lines, status) in [
        (format!("http://{}/v1/rooms", server.address), host.as_str(), "200"),
        (format!("http://{}/v1/rooms", server.address), "host: evil.example\r\n", "200"),
        ("http://chat.example/v1/rooms".into(), host.as_str(), "200"),
        ("http://evil.example/v1/rooms".into(), host.as_str(), "403"),
        ("http://ada@chat.example/v1/rooms".into(), host.as_str(), "400"),
    ] {
        assert_eq!(statuses(&get(&server, &target, lines).await), [status], "{target} {lines}");
    }
    // The server's own origin is that of the target too.
    let origin = format!("host: {0}\r\norigin: http://{0}\r\n", server.address);
    assert_eq!(statuses(&get(&server, "http://localhost/v1/rooms", &origin).await), ["403"]);
}

#[tokio::test]
async fn a_body_with_contradictory_lengths_is_rejected() {
    let server = Server::start(&[]).await;
    let body = json!({"author": "ada", "body": "x"}).to_string();
    let length = format!("content-length: {}\r\n", body.len());
    let post = |lines: String, body: String| {
        let host = server.address;
        let head = format!(
            "POST /v1/rooms/r/entries HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{lines}"
        );
        let next = format!("GET /v1/rooms HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let all = format!("{head}\r\n{body}{next}");
        let server = &server;
        async move { statuses(&server.raw(all.as_bytes()).await).join(" ") }
    };
    assert_eq!(post(length.clone(), body.clone()).await, "201 200");
    assert_eq!(post(format!("{length}{length}"), body.clone()).await, "201 200");
    assert_eq!(post(format!("{length}content-length: 1\r\n"), body.clone()).await, "400");
    assert_eq!(post("content-length: +3\r\n".into(), body.clone()).await, "400");
    assert_eq!(post("transfer-encoding: chunked, gzip\r\n".into(), body.clone()).await, "400");
    assert_eq!(post("transfer-encoding: xchunked\r\n".into(), body.clone()).await, "400");
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(post("transfer-encoding: chunked\r\n".into(), chunks.clone()).await, "201 200");
    // With both headers a proxy may have used the length: nothing after the body is a request.
    let both = format!("{length}transfer-encoding: chunked\r\n");
    assert_eq!(post(both, chunks).await, "201");
    assert_eq!(server.login("ada").await.whole_log("r").await.len(), 4);
}

#[tokio::test]
async fn an_invalid_handshake_is_rejected_with_the_reason() {
    let server = Server::start(&[]).await;
    let good = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];
    let ask = |http: &str, change: (&str, &str)| {
        let mut head = format!("GET /v1/ws HTTP/{http}\r\nhost: {}\r\n", server.address);
        for (name, value) in good {
            let value = if name == change.0 { change.1 } else { value };
            if !value.is_empty() {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head + "\r\n"
    };
    for (http, change, status, word) in [
        ("1.0", ("", ""), "426", "proxy_http_version 1.1"),
        ("1.1", ("upgrade", ""), "426", "does not pass them on"),
        ("1.1", ("connection", "close"), "426", "does not pass them on"),
        ("1.1", ("sec-websocket-version", "8"), "426", "has to be 13"),
        ("1.1", ("sec-websocket-version", ""), "426", "has to be 13"),
        ("1.1", ("sec-websocket-key", ""), "400", "Sec-WebSocket-Key"),
        ("1.1", ("sec-websocket-key", "c2hvcnQ="), "400", "Sec-WebSocket-Key"),
        ("1.1", ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"), "400", "Sec-WebSocket-Key"),
    ] {
        // A second request that closes, so that the answer has an end.
        let next =
            format!("GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address);
        let answer = server.raw((ask(http, change) + &next).as_bytes()).await;
        assert_eq!(statuses(&answer)[0], status, "{http} {change:?}: {answer}");
        assert!(answer.contains(word), "{http} {change:?}: {answer}");
        let names_13 = answer.contains("sec-websocket-version: 13");
        assert_eq!(names_13, status == "426", "{http} {change:?}: {answer}");
    }
    let head = ask("1.1", ("", "")).replacen("GET", "HEAD", 1);
    let next = format!("GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address);
    assert_eq!(statuses(&server.raw((head + &next).as_bytes()).await)[0], "426");
}

#[tokio::test]
async fn events_over_http_1_0_are_a_body_without_chunks() {
    let mut server = Server::start(&["--drain-ms=200"]).await;
    server.login("ada").await.append("r", json!({"body": "x"})).await;
    let head =
        format!("GET /v1/rooms/r/events?after=-1 HTTP/1.0\r\nhost: {}\r\n\r\n", server.address);
    let (answer, ()) = tokio::join!(server.raw(head.as_bytes()), async {
        // It is under way when the connection is counted; the stop of the server ends it.
        while !server.operator_get("/metrics").send().await.body.contains("roomlog_sockets 1") {}
        server.terminate().await;
    });
    assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
    assert!(answer.contains("\r\n\r\nid: -1\n\nid: 0\ndata: {"), "{answer}");
    assert!(server.ended().await.success());
}
