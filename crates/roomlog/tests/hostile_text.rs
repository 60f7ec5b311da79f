//! Text of others in a terminal: a server that sends escape sequences, directions and invisible characters
//! wherever it may send text. No command passes them on.

use std::process::{Command, Output, Stdio};

use futures_util::{SinkExt, StreamExt};
use roomlog_protocol::{Digest, Entry, Limits, RoomName};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_websockets::{CloseCode, Message, ServerBuilder};

/// Moves the cursor, sets the title, turns the direction, hides, and begins lines of its own.
const HOSTILE: &str = "evil\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{2066}\u{200b}\u{feff}\r\nroomlog: \
                       all is well\u{85}\u{2028}\u{7f}end";

/// Where the server sends the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// As the refusal of the login.
    Login,
    /// As the reason of a close.
    Close,
    /// As the refusal of what was asked.
    Answer,
    /// In entries.
    Entries,
}

/// The server; it ends with the runtime.
fn hostile_server(place: Place) -> (String, Runtime) {
    let runtime = Runtime::new().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, place));
        }
    });
    (url, runtime)
}

async fn serve(mut stream: TcpStream, place: Place) {
    let mut first = [0; 16];
    let peeked = stream.peek(&mut first).await.unwrap_or(0);
    if first[..peeked].starts_with(b"GET /v1/backup") || first.starts_with(b"POST") {
        return refuse_over_http(&mut stream).await;
    }
    let Ok((_, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
    let hello = json!({"type": "hello", "protocol": 1, "server": HOSTILE, "log": "log-1",
        "auth": "open", "durability": "fsync", "limits": Limits::default()});
    let mut answer = Some(hello);
    while let Some(frame) = answer.take() {
        // A client that went away needs no answer.
        let _gone = socket.send(Message::text(frame.to_string())).await;
        let Some(Ok(asked)) = socket.next().await else { return };
        let Some(text) = asked.as_text() else { return };
        let asked: Value = serde_json::from_str(text).expect("JSON");
        if place == Place::Close {
            // A reason has 123 bytes at most.
            let reason: String = HOSTILE.chars().take(60).collect();
            let close = Message::close(CloseCode::try_from(4_001).ok(), &reason);
            let _gone = socket.send(close).await;
            return;
        }
        answer = answer_to(&asked, place);
    }
}

async fn refuse_over_http(stream: &mut TcpStream) {
    let _request = stream.read(&mut [0; 65_536]).await;
    let body = json!({"error": {"code": "unavailable", "message": HOSTILE}}).to_string();
    let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let _gone = stream.write_all(answer.as_bytes()).await;
}

fn answer_to(asked: &Value, place: Place) -> Option<Value> {
    let (req, room) = (&asked["req"], asked["room"].as_str().unwrap_or("general"));
    let refusal = json!({"type": "error", "req": req, "code": "forbidden", "message": HOSTILE});
    match asked["type"].as_str()? {
        "login" if place == Place::Login => Some(refusal),
        "login" => Some(json!({"type": "welcome", "author": asked["author"]})),
        _ if place == Place::Answer => Some(refusal),
        "watch" => Some(json!({"type": "heads", "rooms": {"general": 0}, "req": req})),
        "update" | "join" => {
            let entry = json!({"slot": 0, "author": "a\u{202e}d\u{200b}a", "id": "a", "body": HOSTILE,
                "meta": HOSTILE, "committed_at": 1_763_796_120_123_u64, "salt": "cm9vbWxvZy1zbHQw"});
            let read: Entry = serde_json::from_value(entry.clone()).expect("an entry");
            let digest = Digest::start(&RoomName::new(room).expect("a room")).then(&read);
            let is_asked = asked["count"] != 0;
            let entries = if is_asked { vec![entry] } else { Vec::new() };
            Some(json!({"type": "reply", "room": room, "entries": entries, "latest": 0,
                "digest_at": 0, "digest": digest, "req": req}))
        }
        _ => Some(refusal),
    }
}

fn run(url: &str, args: &str) -> Output {
    let mut command = Command::new("timeout");
    // `tail` is asked to end: it would follow for ever.
    command.args(["-s", "INT", if args.starts_with("tail") { "2" } else { "20" }]);
    command.arg(env!("CARGO_BIN_EXE_roomlog")).args(args.split(' '));
    command.env("ROOMLOG_SERVER", url).stdin(Stdio::null()).output().expect("a run")
}

fn check(what: &str, output: &Output) {
    for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let commands = |c: char| {
            (c.is_control() && c != '\n' && c != '\t')
                || matches!(c, '\u{200b}' | '\u{202e}' | '\u{2066}' | '\u{2028}' | '\u{feff}')
        };
        assert!(!text.contains(commands), "{what}: {stream}: {text:?}");
        let forged = text.lines().any(|line| line.starts_with("roomlog: all is well"));
        assert!(!forged, "{what}: {stream}: {text}");
    }
}

const COMMANDS: [&str; 9] = [
    "read general",
    "read general --json",
    "tail general",
    "tail general --json",
    "export general",
    "rooms",
    "verify",
    "append general hello",
    "chat general",
];

#[test]
fn errors_of_a_server_cannot_control_the_terminal() {
    for place in [Place::Login, Place::Answer] {
        let (url, _runtime) = hostile_server(place);
        for args in COMMANDS {
            let output = run(&url, args);
            check(&format!("{place:?}: {args}"), &output);
            assert_ne!(output.status.code(), Some(0), "{place:?}: {args}: {output:?}");
        }
    }
    let (url, _runtime) = hostile_server(Place::Answer);
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("backup");
    let output = run(&url, &format!("backup {} --server {url}", to.display()));
    check("backup", &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("evil␛[2J"), "{said}");
}

#[test]
fn the_reason_of_a_close_cannot_control_the_terminal() {
    let (url, _runtime) = hostile_server(Place::Close);
    for args in ["rooms", "append general hello", "tail general"] {
        let output = run(&url, args);
        check(args, &output);
        assert_eq!(output.status.code(), Some(1), "{args}: {output:?}");
    }
}

#[test]
fn entries_and_authors_cannot_control_the_terminal() {
    let (url, _runtime) = hostile_server(Place::Entries);
    for args in &COMMANDS[..7] {
        check(args, &run(&url, args));
    }
    let read = String::from_utf8(run(&url, "read general").stdout).expect("UTF-8");
    assert!(read.contains("<a\u{fffd}d\u{fffd}a> evil␛[2J␛]0;x␇"), "{read}");
    assert_eq!(read.lines().count(), 1, "{read}");
    let json = run(&url, "read general --json").stdout;
    let entry: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(entry["body"], HOSTILE, "in JSON nothing is lost");
}
