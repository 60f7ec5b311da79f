//! Both sides of the limits per address and per server: rates, rooms, connections, heads and bodies
//! of requests. What is over gets `rate_limited` with the time to wait, and is counted by the limit's
//! name; others notice nothing.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Client, Server, code, slot, with, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// How often a limit was reached, as `/metrics` says once it answers.
async fn counted(server: &Server, limit: &str) -> u64 {
    let scraped = async {
        loop {
            let answer = server.operator_get("/metrics").send().await;
            if answer.status == 200 {
                return answer.body;
            }
            tokio::task::yield_now().await;
        }
    };
    let text = within("the metrics", scraped).await;
    let name = format!("roomlog_limited_total{{limit=\"{limit}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

fn append(room: &str, seq: u64, body: &str) -> Value {
    with("append", room, json!({"id": format!("i-{seq}"), "seq": seq, "body": body, "req": seq}))
}

fn retry_after(error: &Value) -> Duration {
    assert_eq!(code(error), "rate_limited", "{error}");
    Duration::from_millis(error["retry_after_ms"].as_u64().expect("a time to wait"))
}

async fn of_type(client: &mut Client, req: u64) -> String {
    let answer = client.answer(i64::try_from(req).expect("a req")).await;
    let kind = answer["code"].as_str().or(answer["type"].as_str()).expect("a type");
    kind.to_owned()
}

#[tokio::test]
async fn numbered_appends_beyond_entries_per_second_come_again_in_order_after_the_wait() {
    let server = Server::start(&["--entries-per-second=1", "--burst-ms=3000"]).await;
    let mut ada = server.login("ada").await;
    ada.send_all((0..5).map(|seq| append("r", seq, "x"))).await;
    for seq in 0..3 {
        assert_eq!(of_type(&mut ada, seq).await, "appended");
    }
    let error = ada.answer(3).await;
    let wait = retry_after(&error);
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{error}");
    assert_eq!(
        (&error["seq"], &error["id"], &error["room"]),
        (&json!(3), &json!("i-3"), &json!("r"))
    );
    // The one behind it waits for its turn, and uses up nothing until then: it is too much as well.
    tokio::time::sleep(wait).await;
    ada.send(append("r", 3, "x")).await;
    assert_eq!(slot(&ada.answer(3).await), 3);
    let error = ada.answer(4).await;
    tokio::time::sleep(retry_after(&error)).await;
    ada.send(append("r", 4, "x")).await;
    assert_eq!(slot(&ada.answer(4).await), 4);
    assert_eq!(counted(&server, "entries_per_second").await, 2);
}

#[tokio::test]
async fn a_batch_stops_at_the_line_beyond_entries_per_second_and_a_post_is_429() {
    let server = Server::start(&["--entries-per-second=1", "--burst-ms=3000"]).await;
    let line = json!({"author": "ada", "body": "x"}).to_string() + "\n";
    let path = "/v1/rooms/r/entries";
    let batch = server.post_text(path, "application/x-ndjson", line.repeat(5)).send().await;
    let lines = batch.body.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let codes: Vec<_> = lines.map(|line| code(&line["error"]).to_owned()).collect();
    let (stored, behind) = ("no error", "out_of_order");
    assert_eq!(codes, [stored, stored, stored, "rate_limited", behind]);
    // Its answer was held back until there was an allowance again, for one.
    let append = json!({"author": "ada", "body": "x"});
    server.post(path, &append).send().await.json();
    let begun = Instant::now();
    let answer = server.post(path, &append).send().await;
    // It is held back for the wait, at most a second.
    let wait = retry_after(&answer.refused(429, "rate_limited"));
    assert!(begun.elapsed() >= wait.min(Duration::from_secs(1)), "{wait:?}");
    assert_eq!(answer.headers["retry-after"], "1");
    // Reading is no append.
    assert_eq!(server.get(path).status().await, 200);
}

#[tokio::test]
async fn frames_beyond_frames_per_second_are_refused_and_the_connection_goes_on() {
    let server = Server::start(&["--frames-per-second=1", "--burst-ms=12000"]).await;
    let begun = Instant::now();
    // The handshake is a request, and the login a frame.
    let mut ada = server.login("ada").await;
    ada.send_all((0..11_u64).map(|n| with("update", "r", json!({"req": n})))).await;
    for n in 0..10 {
        assert_eq!(of_type(&mut ada, n).await, "reply", "{n}");
    }
    let last = ada.answer(10).await;
    if begun.elapsed() < Duration::from_millis(500) {
        let wait = retry_after(&last);
        assert!(wait <= Duration::from_secs(1), "{last}");
        server.get("/v1/rooms/r/entries").send().await.refused(429, "rate_limited");
    }
    // A ping is answered, if only after the wait.
    ada.nothing_more().await;
}

#[tokio::test]
async fn a_new_connection_has_what_is_left_of_bytes_per_second_and_no_new_allowance() {
    // A full allowance is one message of 1,024 bytes; it takes 17 minutes until it is full again.
    let flags =
        ["--bytes-per-second=1", "--burst-ms=1", "--frame-bytes=1024", "--batch-bytes=1024"];
    let server = Server::start(&[&flags[..], &["--body-bytes=512"]].concat()).await;
    let body = "x".repeat(450);
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": body})).await;
    drop(ada);
    let mut again = server.login("ada").await;
    let error = again.refused(with("append", "r", json!({"body": body})), "rate_limited").await;
    // Two appends and two logins do not fit.
    assert!(retry_after(&error) <= Duration::from_secs(1_024), "{error}");
    let posted = json!({"author": "ada", "body": body});
    let answer = server.post("/v1/rooms/r/entries", &posted).send().await;
    let wait = retry_after(&answer.refused(429, "rate_limited"));
    let seconds: u64 = answer.headers["retry-after"].to_str().expect("ASCII").parse().expect("s");
    assert_eq!(u128::from(seconds), wait.as_millis().div_ceil(1_000));
    assert!(counted(&server, "bytes_per_second").await >= 2);
}

#[tokio::test]
async fn rooms_beyond_rooms_per_second_are_refused_and_those_that_exist_are_not() {
    let server = Server::start(&["--rooms-per-second=1", "--burst-ms=2000"]).await;
    let mut ada = server.login("ada").await;
    let frames = ["a", "a", "b", "a", "c", "b"];
    let frames = frames
        .iter()
        .zip(0_i64..)
        .map(|(room, n)| with("append", room, json!({"body": "x", "req": n})));
    ada.send_all(frames).await;
    let mut codes = Vec::new();
    for n in 0..6 {
        codes.push(of_type(&mut ada, n).await);
    }
    let done = "appended";
    assert_eq!(codes, [done, done, done, done, "rate_limited", done]);
    let posted = json!({"author": "ada", "body": "x"});
    server.post("/v1/rooms/a/entries", &posted).send().await.json();
    assert_eq!(counted(&server, "rooms_per_second").await, 1);
}

#[tokio::test]
async fn whoever_appends_beyond_a_rate_is_not_read_for_a_while() {
    let pause = Duration::from_millis(100);
    for rate in ["--rooms-per-second=1000", "--entries-per-second=1000"] {
        // With an allowance of one, the next is there after a millisecond.
        let server = Server::start(&[rate, "--burst-ms=1"]).await;
        let mut ada = server.login("ada").await;
        let frames = (0..40)
            .map(|req| with("append", &format!("r-{req}"), json!({"body": "x", "req": req})));
        let begun = Instant::now();
        ada.send_all(frames).await;
        let mut refused = 0;
        for req in 0..40 {
            refused += u32::from(of_type(&mut ada, req).await == "rate_limited");
        }
        assert!(refused >= 2, "{rate}: {refused}");
        // After the last one there may be nothing that had to wait for its pause.
        let paused = pause * (refused - 1);
        assert!(begun.elapsed() >= paused, "{rate}: {refused} in {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_log_has_as_many_rooms_as_it_may_and_keeps_count_through_a_restart() {
    let mut server = Server::start(&["--rooms=2"]).await;
    let posted = json!({"author": "ada", "body": "x"});
    for _ in 0..2 {
        let mut ada = server.login("ada").await;
        for room in ["a", "b"] {
            ada.append(room, json!({"body": "x"})).await;
        }
        ada.refused(with("append", "c", json!({"body": "x"})), "too_large").await;
        server.post("/v1/rooms/c/entries", &posted).send().await.refused(413, "too_large");
        let answer = server.post("/v1/rooms/a/entries", &posted).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        // Reading a room makes none.
        ada.join("d", json!({})).await;
        assert!(server.sigterm().await.success());
        server.restart().await;
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_one_that_ends_makes_room() {
    let server = Server::start(&["--connections-per-principal=2"]).await;
    let (ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let refused = server.get("/v1/ws").upgrade().send().await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.headers["connection"], "close");
    server.get("/v1/rooms").send().await.refused(429, "rate_limited");
    grace.append("r", json!({"body": "x"})).await;
    drop(ada);
    within("a place", async {
        while server.get("/v1/rooms").status().await == 429 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(counted(&server, "connections_per_principal").await >= 2);
}

/// A connection from this address of loopback, and the first answer on it.
async fn healthz(server: &Server, from: [u8; 4]) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address");
    let mut stream = socket.connect(server.address).await.expect("a connection");
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = vec![0; 2_000];
    let count = within("an answer", stream.read(&mut answer)).await.expect("read");
    (stream, String::from_utf8_lossy(&answer[..count]).into_owned())
}

#[tokio::test]
async fn an_address_that_takes_all_the_sockets_it_may_leaves_some_to_another() {
    let server = Server::start(&["--sockets=9"]).await;
    let mut held = Vec::new();
    let refused = loop {
        match healthz(&server, [127, 0, 0, 1]).await {
            (stream, answer) if answer.starts_with("HTTP/1.1 200 ") => held.push(stream),
            (_, answer) => break answer,
        }
    };
    assert!(held.len() == 5 && refused.starts_with("HTTP/1.1 429 "), "{}: {refused}", held.len());
    let (_other, answer) = healthz(&server, [127, 0, 0, 2]).await;
    assert!(answer.ends_with("alive\n"), "{answer}");
    assert_eq!(counted(&server, "sockets").await, 1);
}

/// Whether the server has closed this connection, on which it never sends anything.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(within("the end", stream.read(&mut [0; 1])).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn beyond_pending_logins_the_oldest_that_has_not_logged_in_is_cut() {
    let server = Server::start(&["--pending-logins=2"]).await;
    let connect = || async { TcpStream::connect(server.address).await.expect("a connection") };
    let mut ada = server.login("ada").await;
    let (mut first, mut second) = (connect().await, connect().await);
    let mut grace = server.login("grace").await;
    assert!(is_closed(&mut first).await, "the oldest");
    // An upgraded connection without a login is pending too.
    let mut nobody = server.connect().await;
    let _third = connect().await;
    assert!(is_closed(&mut second).await, "then the next");
    let _fourth = connect().await;
    assert_eq!(nobody.closed().await, None);
    // Those who have logged in are not.
    ada.append("r", json!({"body": "x"})).await;
    grace.append("r", json!({"body": "x"})).await;
    assert_eq!(counted(&server, "pending_logins").await, 3);
}

#[tokio::test]
async fn a_head_has_handshake_ms_and_header_bytes() {
    let server = Server::start(&["--handshake-ms=200", "--header-bytes=8192"]).await;
    let begun = Instant::now();
    assert_eq!(server.raw(b"GET /healthz HTTP/1.1\r\n").await, "");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(counted(&server, "handshake_ms").await, 1);
    let head = |bytes: usize| server.get("/healthz").header("x-long", &"x".repeat(bytes));
    assert_eq!(head(7_900).status().await, 200);
    assert_eq!(head(8_192).status().await, 431);
    assert_eq!(counted(&server, "header_bytes").await, 1);
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off_after_body_ms() {
    let server = Server::start(&["--body-ms=500"]).await;
    let posted = json!({"author": "ada", "body": "in time"});
    assert_eq!(server.post("/v1/rooms/r/entries", &posted).send().await.status, 201);
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let head = format!(
        "POST /v1/rooms/r/entries HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: 100000\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (mut read, mut write) = stream.into_split();
    // A byte now and then: it is never silent for long.
    let trickle = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = vec![0; 1_000];
    let count = within("an answer", read.read(&mut answer)).await.expect("read");
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("body_ms"), "{answer}");
    trickle.abort();
    assert_eq!(counted(&server, "body_ms").await, 1);
}

#[tokio::test]
async fn pings_are_frames_too() {
    let server = Server::start(&["--frames-per-second=1", "--burst-ms=60000"]).await;
    let begun = Instant::now();
    let mut ada = server.login("ada").await;
    ada.send_raw(&[0x89, 0x80, 0, 0, 0, 0].repeat(58)).await;
    let last = ada.ask(with("update", "r", json!({}))).await;
    if begun.elapsed() < Duration::from_millis(900) {
        retry_after(&last);
    }
}

#[tokio::test]
async fn requests_that_the_browser_rules_refuse_count_too() {
    let server = Server::start(&["--frames-per-second=1", "--burst-ms=10000"]).await;
    let over = async {
        while counted(&server, "frames_per_second").await == 0 {
            server.get("/healthz").host("elsewhere.example").send().await.refused(403, "forbidden");
        }
    };
    within("too many requests", over).await;
}

#[tokio::test]
async fn a_surplus_connection_is_closed_whatever_it_asks() {
    let server = Server::start(&["--connections-per-principal=1"]).await;
    let _ada = server.login("ada").await;
    let refused = server.get("/healthz").host("elsewhere.example").send().await;
    assert!(refused.status >= 400, "{refused:?}");
    assert_eq!(refused.headers["connection"], "close");
}

#[tokio::test]
async fn a_body_beyond_bytes_per_second_is_refused_before_it_is_read() {
    let server = Server::start(&[
        "--bytes-per-second=1",
        "--burst-ms=1",
        "--frame-bytes=1024",
        "--body-bytes=512",
        "--batch-bytes=1024",
    ])
    .await;
    let body = json!({"author": "ada", "body": "x".repeat(450)});
    assert_eq!(server.post("/v1/rooms/r/entries", &body).send().await.status, 201);
    let head = format!(
        "POST /v1/rooms/r/entries HTTP/1.1\r\nhost: {}\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n",
        server.address
    );
    let answer = server.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
}

#[tokio::test]
async fn whoever_is_refused_for_want_of_space_is_not_read_for_a_while() {
    let server = Server::start(&["--disk-reserve-bytes=1000000000000000000"]).await;
    let mut ada = server.login("ada").await;
    within("a disk that counts as full", async {
        while ada.ask(with("append", "first", json!({"body": "x"}))).await["type"] != "error" {}
    })
    .await;
    let pause = Duration::from_millis(100);
    // Numbered or not, each one is answered only after the pause that the one before caused.
    for seq in [None, Some(0)] {
        let begun = Instant::now();
        for req in 0..3 {
            let append = json!({"body": "x", "seq": seq, "req": req});
            ada.send(with("append", &format!("r-{}", seq.is_some()), append)).await;
        }
        for req in 0..3 {
            let refused = ada.answer(req).await;
            assert_eq!(refused["type"], "error", "{refused}");
        }
        assert!(begun.elapsed() >= 2 * pause, "{:?}", begun.elapsed());
    }
    let line = json!({"author": "ada", "body": "x"}).to_string() + "\n";
    let begun = Instant::now();
    let path = "/v1/rooms/r/entries";
    let batch = server.post_text(path, "application/x-ndjson", line).send().await;
    assert!(batch.body.contains("storage_full"), "{batch:?}");
    assert!(begun.elapsed() >= pause, "{:?}", begun.elapsed());
}
