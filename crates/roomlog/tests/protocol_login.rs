//! From the handshake to `welcome`: who a connection is, and what it may do before it is anyone.

mod support;

use serde_json::{Value, json};
use support::{Server, code};

#[tokio::test]
async fn the_first_frame_is_a_hello_with_every_member() {
    // As many as the machine has descriptors for. Half of them may be pending.
    let server = Server::start(&["--sockets=10000"]).await;
    let hello = server.connect().await.hello;
    assert_eq!(hello["type"], "hello");
    assert_eq!(hello["protocol"], 1);
    assert!(hello["server"].as_str().is_some_and(|name| !name.is_empty()), "{hello}");
    let log = hello["log"].as_str().expect("the name of the log");
    assert!((1..=64).contains(&log.len()) && log.bytes().all(|b| (0x21..=0x7e).contains(&b)));
    assert_eq!(hello["auth"], "open");
    assert_eq!(hello["durability"], "fsync");
    assert_eq!(
        hello["limits"],
        json!({
            "body_bytes": 16_384, "meta_bytes": 4_096, "frame_bytes": 131_072,
            "page_entries": 500, "page_bytes": 1_048_576,
            "room_bytes": 128, "author_bytes": 64, "id_bytes": 64, "kind_bytes": 32,
            "seq_wait": 64, "seq_wait_ms": 10_000, "ahead_ms": 5_000, "append_ms": 30_000,
            "login_ms": 10_000, "ping_ms": 20_000, "idle_ms": 60_000,
            "rooms_per_connection": 1_000, "appends_in_flight": 256,
            "connections_per_principal": 10_000, "frames_per_second": 1_000_000_000,
            "entries_per_second": 1_000_000_000, "bytes_per_second": 1_000_000_000,
            "rooms_per_second": 1_000, "burst_ms": 10_000, "rooms": 1_000_000,
            "pending_logins": 5_000, "handshake_ms": 10_000, "header_bytes": 16_384,
            "body_ms": 120_000,
        })
    );
}

#[tokio::test]
async fn hello_tells_the_settings_of_this_server() {
    let settings = [
        ("body_bytes", 100),
        ("meta_bytes", 101),
        ("frame_bytes", 2_048),
        ("page_entries", 7),
        ("page_bytes", 4_096),
        ("room_bytes", 20),
        ("author_bytes", 21),
        ("id_bytes", 22),
        ("kind_bytes", 23),
        ("seq_wait", 5),
        ("seq_wait_ms", 1_001),
        ("ahead_ms", 1_002),
        ("append_ms", 1_003),
        ("login_ms", 5_004),
        ("ping_ms", 5_005),
        ("idle_ms", 9_006),
        ("rooms_per_connection", 9),
        ("appends_in_flight", 10),
        ("connections_per_principal", 11),
        ("frames_per_second", 1_007),
        ("entries_per_second", 1_008),
        ("bytes_per_second", 1_009),
        ("rooms_per_second", 12),
        ("burst_ms", 1_010),
        ("rooms", 13),
        ("pending_logins", 14),
        ("handshake_ms", 5_011),
        ("header_bytes", 8_193),
        ("body_ms", 5_012),
    ];
    let flags: Vec<_> =
        settings.iter().map(|(name, n)| format!("--{}={n}", name.replace('_', "-"))).collect();
    let server = Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let hello = server.connect().await.hello;
    for (name, value) in settings {
        assert_eq!(hello["limits"][name], value, "{name}");
    }
}

#[tokio::test]
async fn every_connection_gets_the_same_log_name() {
    let server = Server::start(&[]).await;
    let other = Server::start(&[]).await;
    let first = server.connect().await.hello;
    assert_eq!(first, server.connect().await.hello);
    assert_ne!(first["log"], other.connect().await.hello["log"], "two logs with one name");
}

#[tokio::test]
async fn a_login_is_welcomed_by_the_authors_name() {
    let server = Server::start(&[]).await;
    let mut ada = server.connect().await;
    ada.send(json!({"type": "login", "author": "Ada Lovelace 👋"})).await;
    assert_eq!(ada.recv().await, json!({"type": "welcome", "author": "Ada Lovelace 👋"}));
    ada.nothing_more().await;
}

#[tokio::test]
async fn an_author_has_1_to_64_bytes_no_control_character_and_no_white_space_around_it() {
    let server = Server::start(&[]).await;
    for author in ["a", &"x".repeat(64), &"é".repeat(32)] {
        server.login(author).await;
    }
    let mut nobody = server.connect().await;
    for author in
        ["", &"x".repeat(65), &"é".repeat(33), " a", "a ", "\u{3000}a", "a\tb", "a\u{85}b"]
    {
        nobody.refused(json!({"type": "login", "author": author}), "bad_name").await;
    }
    nobody.log_in("ada").await;
}

#[tokio::test]
async fn a_token_on_an_open_server_is_a_bad_message_and_the_socket_stays_open() {
    let server = Server::start(&[]).await;
    let mut ada = server.connect().await;
    ada.refused(json!({"type": "login", "token": "t"}), "bad_message").await;
    ada.refused(json!({"type": "login", "token": "t", "author": "ada"}), "bad_message").await;
    ada.refused(json!({"type": "login"}), "bad_message").await;
    ada.refused(json!({"type": "append", "room": "r", "body": "x"}), "login_required").await;
    ada.log_in("ada").await;
}

#[tokio::test]
async fn a_second_author_is_forbidden_and_the_first_stays() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.refused(json!({"type": "login", "author": "grace"}), "forbidden").await;
    ada.refused(json!({"type": "login", "author": "Ada"}), "forbidden").await;
    ada.append("r", json!({"body": "still me"})).await;
    let reply = ada.update("r", json!({})).await;
    assert_eq!(reply["entries"][0]["author"], "ada");
}

#[tokio::test]
async fn the_same_author_again_is_welcome() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.log_in("ada").await;
    ada.append("r", json!({"body": "twice"})).await;
}

#[tokio::test]
async fn one_author_may_be_logged_in_on_many_connections() {
    let server = Server::start(&[]).await;
    let (mut here, mut there) = (server.login("ada").await, server.login("ada").await);
    here.append("r", json!({"body": "from here"})).await;
    there.append("r", json!({"body": "from there"})).await;
    assert_eq!(here.whole_log("r").await.len(), 2);
}

#[tokio::test]
async fn before_a_login_all_but_login_and_ping_are_answered_login_required() {
    let server = Server::start(&[]).await;
    let mut nobody = server.connect().await;
    for frame in [
        json!({"type": "join", "room": "r"}),
        json!({"type": "leave", "room": "r"}),
        json!({"type": "append", "room": "r", "body": "x"}),
        json!({"type": "update", "room": "r"}),
        json!({"type": "watch"}),
    ] {
        nobody.refused(frame, "login_required").await;
    }
    assert_eq!(
        nobody.ask(json!({"type": "ping", "req": 7})).await,
        json!({"type": "pong", "req": 7})
    );
    nobody.log_in("ada").await;
    assert_eq!(nobody.update("r", json!({})).await["latest"], -1, "something was stored");
}

#[tokio::test]
async fn a_connection_without_login_within_login_ms_is_closed_with_1008() {
    let server = Server::start(&["--login-ms=300"]).await;
    let mut ada = server.login("ada").await;
    // Connected after ada, so that ada's time is over first.
    let mut nobody = server.connect().await;
    assert_eq!(nobody.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(nobody.closed().await, Some(1008));
    ada.nothing_more().await;
}

#[tokio::test]
async fn the_subprotocol_is_echoed_when_offered_and_may_be_absent() {
    let server = Server::start(&[]).await;
    for (offer, echo) in [
        (Some("roomlog.v1"), Some("roomlog.v1")),
        (Some("chat, roomlog.v1"), Some("roomlog.v1")),
        (None, None),
    ] {
        let headers: Vec<_> =
            offer.iter().map(|offer| ("sec-websocket-protocol", *offer)).collect();
        let mut client = server.connect_unread(&headers).await;
        let echoed = client.handshake.get("sec-websocket-protocol");
        assert_eq!(echoed.map(|value| value.to_str().expect("text")), echo);
        client.expect("hello").await;
    }
}

#[tokio::test]
async fn frames_may_be_sent_before_hello_and_welcome_have_come() {
    let server = Server::start(&[]).await;
    let mut ada = server.connect_unread(&[]).await;
    ada.send_all([
        json!({"type": "ping", "req": 1}),
        json!({"type": "watch", "req": 2}),
        json!({"type": "login", "author": "ada"}),
        json!({"type": "join", "room": "r", "req": 3}),
        json!({"type": "append", "room": "r", "body": "in one go", "req": 4}),
        json!({"type": "update", "room": "r", "count": 1, "req": 5}),
    ])
    .await;
    ada.expect("hello").await;
    assert_eq!(ada.answer(1).await["type"], "pong");
    assert_eq!(code(&ada.answer(2).await), "login_required");
    assert_eq!(ada.find(|frame| frame["type"] == "welcome").await["author"], "ada");
    assert_eq!(ada.answer(3).await["type"], "reply");
    assert_eq!(ada.answer(4).await["slot"], 0);
    assert_eq!(ada.answer(5).await["type"], "reply");
}

#[tokio::test]
async fn an_error_names_its_frame_by_room_id_and_req() {
    let server = Server::start(&[]).await;
    let mut nobody = server.connect().await;
    let append = json!({"type": "append", "room": "r", "id": "a-1", "body": "x", "req": -5});
    let mut error = nobody.refused(append, "login_required").await;
    assert!(error["message"].take().is_string());
    assert_eq!(
        error,
        json!({"type": "error", "code": "login_required", "message": Value::Null,
               "room": "r", "id": "a-1", "req": -5})
    );
}
