//! Requests of a proxy that says for whom it asks: who is limited, and what the own origin is.

mod support;

use serde_json::json;
use support::{Server, code, with, within};

/// One new room an hour for everybody, and 127.0.0.1 is a proxy.
async fn one_room_each(more: &[&str]) -> Server {
    let flags = ["--rooms-per-second=1", "--burst-ms=1"];
    Server::start(&[&flags, more].concat()).await
}

/// The status of a POST that makes a room, with these headers.
async fn makes(server: &Server, room: &str, headers: &[(&str, &str)]) -> u16 {
    let body = json!({"author": "ada", "body": "first"});
    let mut post = server.post(&format!("/v1/rooms/{room}/entries"), &body);
    for (name, value) in headers {
        post = post.header(name, value);
    }
    post.send().await.status
}

#[tokio::test]
async fn each_client_of_a_trusted_proxy_has_its_own_allowance() {
    let server = one_room_each(&["--trust-proxy=127.0.0.1,10.0.0.0/8"]).await;
    let of = |client| [("x-forwarded-for", client)];
    assert_eq!(makes(&server, "a", &of("192.0.2.1")).await, 201);
    assert_eq!(makes(&server, "b", &of("192.0.2.1, 10.0.0.7")).await, 429);
    assert_eq!(makes(&server, "c", &of("192.0.2.2")).await, 201);
    // What a client writes itself is before its own address.
    assert_eq!(makes(&server, "d", &of("192.0.2.3, 192.0.2.2")).await, 429);
    assert_eq!(makes(&server, "e", &[("forwarded", "for=\"[2001:db8::1]:80\"")]).await, 201);
    assert_eq!(makes(&server, "f", &[("forwarded", "for=\"[2001:db8::2]\"")]).await, 429);
    // Malformed, contradictory or missing: the proxy itself.
    assert_eq!(makes(&server, "g", &of("192.0.2.4, nonsense")).await, 201);
    let both = [("x-forwarded-for", "192.0.2.5"), ("forwarded", "for=192.0.2.6")];
    // At once, because a 429 comes after a while, in which the allowance grows.
    let statuses = tokio::join!(makes(&server, "h", &both), makes(&server, "i", &[]));
    assert_eq!(statuses, (429, 429));
}

#[tokio::test]
async fn the_header_of_anybody_else_is_ignored() {
    let server = one_room_each(&["--trust-proxy=10.0.0.0/8"]).await;
    assert_eq!(makes(&server, "a", &[("x-forwarded-for", "192.0.2.1")]).await, 201);
    assert_eq!(makes(&server, "b", &[("x-forwarded-for", "192.0.2.2")]).await, 429);
}

#[tokio::test]
async fn a_websocket_is_its_clients_and_is_counted_once() {
    let server = one_room_each(&["--trust-proxy=127.0.0.1", "--connections-per-principal=1"]).await;
    let of = async |client| {
        let mut socket = server.connect_unread(&[("x-forwarded-for", client)]).await;
        socket.expect("hello").await;
        socket.log_in("ada").await;
        socket
    };
    let (mut one, mut other) = (of("192.0.2.1").await, of("192.0.2.2").await);
    for (socket, room) in [(&mut one, "a"), (&mut other, "b")] {
        socket.append(room, json!({"body": "first"})).await;
        let error = socket.ask(with("append", &format!("{room}2"), json!({"body": "x"}))).await;
        assert_eq!(code(&error), "rate_limited", "{error}");
    }
    let surplus = server.get("/v1/rooms").header("x-forwarded-for", "192.0.2.1").send().await;
    surplus.refused(429, "rate_limited");
    let metrics = server.operator_get("/metrics").send().await.body;
    assert!(metrics.contains("roomlog_sockets 2\n"), "{metrics}");
    drop((one, other));
    within("no socket", async {
        while !server.operator_get("/metrics").send().await.body.contains("roomlog_sockets 0\n") {}
    })
    .await;
}

#[tokio::test]
async fn the_own_origin_is_https_where_a_trusted_proxy_says_so_and_a_host_is_listed_all_the_same() {
    let trusting = Server::start(&["--trust-proxy=127.0.0.1"]).await;
    let other = Server::start(&[]).await;
    for (server, proto, scheme, status) in [
        (&trusting, "https", "https", 200),
        (&trusting, "wss", "https", 200),
        (&trusting, "https", "http", 403),
        (&trusting, "http", "http", 200),
        (&trusting, "https,http", "https", 403),
        (&other, "https", "https", 403),
    ] {
        let origin = format!("{scheme}://{}", server.address);
        let get = server.get("/v1/rooms").header("x-forwarded-proto", proto);
        assert_eq!(get.header("origin", &origin).send().await.status, status, "{proto} {origin}");
    }
    let named = trusting.get("/v1/rooms").host("evil.example").header("x-forwarded-proto", "https");
    named.send().await.refused(403, "forbidden");
}
