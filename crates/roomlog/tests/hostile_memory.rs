//! Each way to make a server hold memory, tried by 200 connections of one address that never read.
//!
//! Input: an attack, as the bytes that a connection sends before it falls silent. Output: what the
//! server's process held meanwhile, what an honest client of the same address got, and what is still
//! charged when the attackers are gone.

mod support;

use std::{collections::BTreeMap, fmt::Write, fs, io, net::SocketAddr, time::Duration};

use serde_json::json;
use support::{Client, Server, slot, slots, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

const ATTACKERS: usize = 200;

/// The setting `memory`, in bytes.
const MEMORY: usize = 64 << 20;

/// The setting `frame_bytes`: the longest frames together are more than `memory`.
const FRAME_BYTES: usize = 1 << 20;

/// How often the honest client does all that it does during an attack.
const ROUNDS: usize = 12;

/// The entries of room `long`, of 12 KiB each.
const LONG: usize = 100;

/// An attack: what a connection sends, given its number.
type Attack = fn(usize) -> Vec<u8>;

macro_rules! attacks {
    ($($name:ident: $attack:expr,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            holds(stringify!($name), $attack).await;
        })*
    };
}

attacks! {
    frames_that_come_in_part: |_| websocket(half_frame()),
    messages_in_fragments_without_an_end: |_| websocket(fragments()),
    largest_pages_that_nobody_reads: |_| frames((0..64).map(|_| json!({"type": "update", "room": "long", "count": 500}))),
    pings_without_reading: pings,
    joins_of_many_rooms: |n| frames((0..400).map(|room| json!({"type": "join", "room": format!("r{n}-{room}")}))),
    follows_of_a_long_room: |_| frames((0..3).map(|_| json!({"type": "join", "room": "long", "after": -1}))),
    numbered_appends_in_many_rooms: |n| frames((0..30).map(|room| json!({"type": "append", "room": format!("r{n}-{room}"), "seq": 0, "body": ""}))),
    appends_parked_by_seq: |n| frames((1..64).map(|seq| append(&format!("r{n}"), json!({"seq": seq})))),
    appends_parked_by_after: |n| frames((0..100).map(|_| append(&format!("r{n}"), json!({"after": 1_000_000})))),
    appends_parked_by_ref: |n| frames((0..100).map(|room| append(&format!("r{n}-{room}"), json!({"ref": 1_000_000})))),
    reads_that_wait: |n| frames((0..100).map(|room| json!({"type": "update", "room": format!("r{n}-{room}"), "seen": 1_000_000}))),
    watches_that_nobody_reads: |_| frames((0..200).map(|_| json!({"type": "watch"}))),
    heads_of_requests_that_come_in_part: |_| format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(15_000)).into(),
    bodies_that_come_in_part: |_| post("application/x-ndjson", 16 << 20, &"x".repeat(1 << 20)),
    batches_whose_answer_nobody_reads: |_| post("application/x-ndjson", long_batch().len(), &long_batch()),
    events_that_nobody_reads: |_| get("/v1/rooms/long/events?after=-1"),
    pages_over_http_that_nobody_reads: |n| get(&format!("/v1/rooms/long/entries?count=500&upto={}", LONG - 1 - n % 10)),
    queries_of_many_parameters: |_| get(&format!("/v1/rooms/long/entries?after=1000000{}", "&a".repeat(7_000))),
    lists_of_rooms_that_nobody_reads: |_| get("/v1/rooms?limit=1000").repeat(50),
}

/// Lets the attackers loose on a server, and asserts that it holds.
async fn holds(name: &str, attack: Attack) {
    let server = Server::start(&[
        &format!("--memory={MEMORY}"),
        &format!("--frame-bytes={FRAME_BYTES}"),
        "--tail-bytes=4194304",
        "--ahead-ms=1000",
        "--seq-wait-ms=1000",
    ])
    .await;
    let seeded = server.post_text("/v1/rooms/long/entries", "application/x-ndjson", long_batch());
    assert_eq!(seeded.send().await.status, 200);
    let mut honest = server.login("ada").await;
    honest.join("general", json!({"count": 0})).await;
    talk(&mut honest, 0).await;
    let quiet = quiet(&server).await;
    let rest = resident(&server);

    let mut attackers = JoinSet::new();
    for n in 0..ATTACKERS {
        attackers.spawn(send_and_stay(server.address, attack(n)));
    }
    let mut most = 0;
    for round in 1..=ROUNDS {
        talk(&mut honest, round).await;
        most = most.max(resident(&server));
    }
    // A quarter more than `memory`, for what the allocator does not reuse.
    assert!(most < rest + MEMORY / 4 * 5, "{name}: {rest} bytes at rest, {most} under attack");

    attackers.shutdown().await;
    within("the end of all charges", async {
        while charged(&server).await.iter().any(|(it, held)| *held > quiet[it]) {}
    })
    .await;
    talk(&mut honest, ROUNDS + 1).await;
}

/// A server with a budget of 512 KiB for all but appends.
async fn small() -> Server {
    Server::start(&["--memory=1048576", &format!("--frame-bytes={FRAME_BYTES}")]).await
}

#[tokio::test]
async fn a_frame_that_cannot_be_held_in_part_is_closed_with_1013() {
    let server = small().await;
    let mut ada = server.login("ada").await;
    ada.send_raw(&half_frame()[..300_000]).await;
    assert_eq!(ada.closed().await, Some(1013));
}

#[tokio::test]
async fn a_connection_that_cannot_be_held_is_503_until_another_ends() {
    let server = small().await;
    let mut ada = server.login("ada").await;
    let mut held = Vec::new();
    let refused = loop {
        let answer = server.get("/healthz").send().await;
        if answer.status != 200 {
            break answer;
        }
        held.push(TcpStream::connect(server.address).await.expect("a connection"));
        assert!(held.len() < 100, "a principal has half of 512 KiB, and each takes 24 KiB");
    };
    assert_eq!(refused.headers["retry-after"], "1");
    refused.refused(503, "busy");
    held.clear();
    within("room for another", async {
        while server.get("/healthz").send().await.status != 200 {}
    })
    .await;
    ada.append("r", json!({"body": "still here"})).await;
}

#[tokio::test]
async fn a_connection_that_was_held_may_post_as_little_as_a_small_frame() {
    let server = small().await;
    let mut first = TcpStream::connect(server.address).await.expect("a connection");
    let mut open = Vec::new();
    let mut exchange = async |request: &[u8]| {
        first.write_all(request).await.expect("sent");
        let mut answer = vec![0; 4_096];
        let count = within("an answer", first.read(&mut answer)).await.expect("read");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    };
    assert!(exchange(&get("/healthz")).await.contains("alive"));
    while server.get("/healthz").send().await.status == 200 {
        open.push(TcpStream::connect(server.address).await.expect("a connection"));
    }
    let append = json!({"author": "ada", "body": "x".repeat(1_000)}).to_string();
    let answer = exchange(&post("application/json", append.len(), &append)).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_charged_the_longest_head_that_it_may_send() {
    let server = Server::start(&["--memory=67108864", "--header-bytes=1048576"]).await;
    let quiet = charged(&server).await["clients"];
    let _ada = server.login("ada").await;
    within("its charge", async { while charged(&server).await["clients"] < quiet + (1 << 20) {} })
        .await;
}

#[tokio::test]
async fn connections_that_cannot_be_held_are_open_64_at_a_time_and_each_answer_is_safe() {
    let server = small().await;
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        // Refused ones are answered after this; they say nothing more, and are open for 2 s.
        let _closed = stream.write_all(b"GET /healthz HTTP/1.1\r\n").await;
        open.push(stream);
    }
    let (mut answered, mut closed) = (0, 0);
    for stream in &mut open {
        let mut answer = String::new();
        match timeout(Duration::from_millis(100), stream.read_to_string(&mut answer)).await {
            Ok(_) if answer.contains("503") => {
                assert!(answer.contains("x-frame-options: DENY\r\n"), "{answer}");
                answered += 1;
            }
            Ok(_) => closed += 1,
            // It is served, and waits for the rest of the head.
            Err(_) => {}
        }
    }
    assert!(answered <= 64 && closed > 100, "{answered} answered, {closed} closed");
}

#[tokio::test]
async fn a_page_that_cannot_be_held_is_shorter_and_a_follower_gets_every_entry() {
    let server = Server::start(&["--memory=8388608", "--fold-ms=10"]).await;
    let mut ada = server.login("ada").await;
    let body = "x".repeat(6_000);
    ada.fill("r", 5, &body).await;
    ada.join("r", json!({"count": 0})).await;
    for _ in 0..7 {
        ada.fill("r", 5, &body).await;
    }
    let reply = ada.update("r", json!({"count": 40})).await;
    let got = slots(&reply);
    assert!(!got.is_empty() && got.len() < 40 && got.ends_with(&[39]), "{got:?}");
    assert_eq!(ada.whole_log("r").await.len(), 40);
    ada.acks("r", 4, 39).await;
}

#[tokio::test]
async fn a_long_frame_is_charged_until_it_is_answered() {
    let server = small().await;
    let mut ada = server.login("ada").await;
    let clients = async || charged(&server).await["clients"];
    let quiet = clients().await;
    let long = frame(0x81, format!("{{\"type\":\"ping\"{}}}", " ".repeat(60_000)).as_bytes());
    let (most, last) = long.split_at(50_000);
    ada.send_raw(most).await;
    within("a charge", async { while clients().await < quiet + 50_000 {} }).await;
    ada.send_raw(last).await;
    ada.expect("pong").await;
    within("its end", async { while clients().await > quiet {} }).await;
}

#[tokio::test]
async fn a_reply_that_is_read_but_for_its_end_is_charged_whole() {
    let server = Server::start(&["--memory=67108864"]).await;
    let seeded = server.post_text("/v1/rooms/long/entries", "application/x-ndjson", long_batch());
    assert_eq!(seeded.send().await.status, 200);
    let held = async || charged(&server).await["clients"];
    let update = json!({"type": "update", "room": "long", "count": 500});
    let mut stream = connect_with_small_buffer(server.address).await.expect("a connection");
    stream.write_all(&frames([update])).await.expect("sent");
    within("a page that the socket does not take", async { while held().await < 1_000_000 {} })
        .await;
    // The kernel holds at most 512 KiB more.
    stream.read_exact(&mut vec![0; 300_000]).await.expect("the beginning");
    for _ in 0..20 {
        assert!(held().await >= 1_000_000, "{}", held().await);
    }
    stream.read_exact(&mut vec![0; 700_000]).await.expect("nearly all");
    within("the end of the charge", async { while held().await > 100_000 {} }).await;
}

/// The honest client appends, is acked, and reads.
async fn talk(honest: &mut Client, round: usize) {
    let appended = honest.append("general", json!({"body": format!("round {round}")})).await;
    honest.acks("general", slot(&appended) - 1, slot(&appended)).await;
    let reply = honest.update("general", json!({"count": 3})).await;
    assert_eq!(reply["latest"], appended["slot"]);
}

async fn connect_with_small_buffer(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    socket.connect(server).await
}

/// Connects with a small receive buffer, sends everything as far as the server takes it, reads
/// nothing, and stays until it is aborted.
async fn send_and_stay(server: SocketAddr, bytes: Vec<u8>) {
    let Ok(mut stream) = connect_with_small_buffer(server).await else { return };
    // A server that closes the connection has defended itself.
    let _closed = stream.write_all(&bytes).await;
    drop(bytes);
    std::future::pending::<()>().await;
}

/// The resident memory of the server's process, in bytes.
fn resident(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// What is charged, by budget: the operators' door always answers.
async fn charged(server: &Server) -> BTreeMap<String, usize> {
    let answer = server.operator_get("/metrics").send().await;
    let sample = |line: &str| {
        let rest = line.strip_prefix("roomlog_memory_bytes{budget=\"")?;
        let (budget, held) = rest.split_once("\"} ")?;
        Some((budget.to_owned(), held.parse().expect("a number")))
    };
    assert_eq!(answer.status, 200);
    answer.body.lines().filter_map(sample).collect()
}

/// What is charged once all appends are in the archive.
async fn quiet(server: &Server) -> BTreeMap<String, usize> {
    within("the archive of all appends", async {
        loop {
            let charged = charged(server).await;
            if charged["appends"] == 0 {
                return charged;
            }
        }
    })
    .await
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into()
}

/// A POST that announces `length` bytes and sends `body`.
fn post(kind: &str, length: usize, body: &str) -> Vec<u8> {
    let head = "POST /v1/rooms/long/entries HTTP/1.1\r\nhost: 127.0.0.1";
    format!("{head}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}").into()
}

/// The lines that fill room `long`; sent again, they are repeats.
fn long_batch() -> String {
    let mut lines = String::new();
    for n in 0..LONG {
        let line =
            json!({"author": "ada", "id": format!("long-{n}"), "body": "x".repeat(12 << 10)});
        writeln!(lines, "{line}").expect("a string");
    }
    lines
}

/// A handshake and what follows it.
fn websocket(rest: Vec<u8>) -> Vec<u8> {
    let mut bytes = b"GET /v1/ws HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\n\
        connection: upgrade\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    bytes.extend(rest);
    bytes
}

/// A handshake, a login and text frames.
fn frames(texts: impl IntoIterator<Item = serde_json::Value>) -> Vec<u8> {
    let login = json!({"type": "login", "author": "mallory"});
    let texts = std::iter::once(login).chain(texts);
    websocket(texts.into_iter().flat_map(|text| frame(0x81, text.to_string().as_bytes())).collect())
}

/// A frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | 127];
    match payload.len() {
        short @ 0..=125 => frame[1] = 0x80 | short as u8,
        middle @ 126..=0xffff => {
            frame[1] = 0x80 | 126;
            frame.extend((middle as u16).to_be_bytes());
        }
        long => frame.extend((long as u64).to_be_bytes()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The longest frame without its last byte.
fn half_frame() -> Vec<u8> {
    let mut frame = frame(0x81, &vec![b' '; FRAME_BYTES]);
    frame.pop();
    frame
}

fn fragments() -> Vec<u8> {
    let fragment = |n: usize| frame(u8::from(n == 0), &[b' '; 65_000]);
    (0..FRAME_BYTES / 65_000).flat_map(fragment).collect()
}

fn pings(_: usize) -> Vec<u8> {
    let ping = json!({"type": "ping", "req": 1}).to_string();
    let pair = [frame(0x89, &[b'x'; 125]), frame(0x81, ping.as_bytes())].concat();
    websocket(pair.repeat(1_000))
}

fn append(room: &str, mut members: serde_json::Value) -> serde_json::Value {
    members["type"] = "append".into();
    members["room"] = room.into();
    members["body"] = "x".repeat(2_000).into();
    members
}
