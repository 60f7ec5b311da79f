//! The commands as typed, against a server in memory that can misbehave.

mod memory;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::atomic::Ordering,
};

use futures_util::{SinkExt, StreamExt};
use memory::Memory;
use roomlog_protocol::{Digest, Limits, RoomName};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_websockets::{Message, ServerBuilder};

/// A command line for this server.
fn roomlog(server: &Memory, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.args(args.split(' ')).env("ROOMLOG_SERVER", &server.url).env("ROOMLOG_AUTHOR", "ada");
    command
}

fn run(server: &Memory, args: &str) -> (i32, String, String) {
    told(roomlog(server, args).stdin(Stdio::null()).output().expect("a run"))
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

fn pipe(server: &Memory, args: &str, input: &str) -> (i32, String, String) {
    let mut child = spawn(roomlog(server, args).stdin(Stdio::piped()));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    told(child.wait_with_output().expect("a run"))
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process")
}

fn bodies(server: &Memory, room: &str) -> Vec<String> {
    server.log(room).iter().map(|entry| entry.body().to_owned()).collect()
}

#[test]
fn every_command_has_a_manual_page_and_is_completed_in_every_shell() {
    let server = Memory::start();
    let (_, help, _) = run(&server, "help");
    let listed = help.split_once("Commands:\n").and_then(|(_, rest)| rest.split_once("\n\n"));
    let listed = listed.expect("the commands").0.lines();
    let commands: Vec<&str> = listed
        .filter_map(|line| line.split_whitespace().next())
        .filter(|it| *it != "help")
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    for command in &commands {
        let (code, page, _) = run(&server, &format!("man {command}"));
        assert_eq!(code, 0);
        assert!(page.contains(&format!(".TH roomlog-{command} 1")), "{page}");
    }
    let (_, page, _) = run(&server, "man");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = run(&server, &format!("completions {shell}"));
        assert_eq!(code, 0);
        for command in &commands {
            assert!(script.contains(command) && page.contains(command), "{shell}: {command}");
        }
    }
    let (code, _, why) = run(&server, "man serv");
    assert_eq!(code, 2);
    assert!(why.contains("\"serv\" is no command of roomlog (did you mean serve?)"), "{why}");
}

#[test]
fn an_id_sent_twice_is_stored_once() {
    let server = Memory::start();
    let said = "append general hello --id greeting-1";
    assert_eq!(run(&server, said), (0, "0\n".into(), String::new()));
    assert_eq!(run(&server, said), (0, "0\n".into(), "roomlog: 0 (already there)\n".into()));
    let (code, _, why) = run(&server, "append general other --id greeting-1");
    assert_eq!((code, why.as_str()), (1, "roomlog: id_reused: said the server in memory\n"));
    let (_, json, _) = run(&server, "append general waves --kind action --id x --json");
    assert_eq!(
        json,
        "{\"room\":\"general\",\"id\":\"x\",\"slot\":1,\"committed_at\":1763796120001}\n"
    );
    let (_, lines, _) = run(&server, "read general");
    let expected = ["0 2025-11-22T07:22:00Z <ada> hello", "1 2025-11-22T07:22:00Z * ada waves"];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn lines_of_standard_input_are_appended_in_order_over_lost_connections() {
    let server = Memory::start();
    server.rooms.hang_up_every.store(40, Ordering::Relaxed);
    let lines: Vec<_> = (0..100).map(|n| format!("line {n}")).collect();
    let (code, slots, why) = pipe(&server, "append general", &(lines.join("\r\n") + "\n\nlast"));
    assert_eq!((code, why.as_str()), (0, ""));
    assert_eq!(
        slots.lines().collect::<Vec<_>>(),
        (0..102).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(bodies(&server, "general"), [lines, vec![String::new(), "last".into()]].concat());
}

#[test]
fn a_rejected_line_is_named_and_the_others_are_appended() {
    let server = Memory::start();
    let input = format!("one\n{}\nthree\n", "x".repeat(16_385));
    let (code, slots, why) = pipe(&server, "append general", &input);
    assert_eq!((code, slots.as_str()), (1, "0\n1\n"));
    assert!(why.contains("line 2: too_large: body has 16385 bytes, more than 16384"), "{why}");
    assert!(why.contains("1 of 3 lines are not in the log"), "{why}");
    assert_eq!(bodies(&server, "general"), ["one", "three"]);
}

#[test]
fn lines_that_are_not_utf_8_are_named_and_not_appended() {
    let server = Memory::start();
    let mut child = spawn(roomlog(&server, "append general").stdin(Stdio::piped()));
    let input = child.stdin.take().expect("a pipe").write_all(b"one\ncaf\xe9\nthree\n");
    input.expect("written");
    let (code, slots, why) = told(child.wait_with_output().expect("a run"));
    assert_eq!((code, slots.as_str()), (1, "0\n1\n"));
    assert!(why.contains("line 2: not UTF-8, so it was not appended"), "{why}");
    assert!(why.contains("iconv") && why.contains("1 of 3 lines are not in the log"), "{why}");
    assert_eq!(bodies(&server, "general"), ["one", "three"]);
}

#[test]
fn unquoted_words_are_rejected_with_the_quoted_form() {
    let server = Memory::start();
    let (code, slots, why) = run(&server, "append general it's not quoted --kind action");
    assert_eq!((code, slots.as_str()), (2, ""));
    assert!(why.contains(r"`roomlog append general 'it'\''s not quoted'`"), "{why}");
    assert!(bodies(&server, "general").is_empty());
}

#[test]
fn a_wrong_value_in_the_environment_is_reported_with_its_variable() {
    let server = Memory::start();
    let mut rooms = roomlog(&server, "rooms");
    let (code, _, why) = told(rooms.env("ROOMLOG_SERVER", "nowhere").output().expect("a run"));
    assert_eq!(code, 2);
    assert!(why.contains("\"nowhere\" is not the address of a server"), "{why}");
    assert!(why.contains("environment variable ROOMLOG_SERVER"), "{why}");
    let (code, _, why) = run(&server, "rooms --server=nowhere");
    assert_eq!((code, why.contains("environment")), (2, false), "{why}");
}

#[test]
fn read_counts_from_the_end_or_continues_to_it() {
    let server = Memory::start();
    (0..250).for_each(|n| server.append("general", &n.to_string()));
    let slots = |args: &str| {
        let (code, lines, _) = run(&server, args);
        assert_eq!(code, 0);
        let slot = |line: &str| line.split(' ').next().expect("a slot").parse().expect("a slot");
        lines.lines().map(slot).collect::<Vec<u64>>()
    };
    assert_eq!(slots("read general"), (200..250).collect::<Vec<_>>());
    assert_eq!(slots("read general --count 3 --upto 9"), [7, 8, 9]);
    assert_eq!(slots("read general --count 120"), (130..250).collect::<Vec<_>>());
    assert_eq!(slots("read general --count 9 --upto 1"), [0, 1]);
    assert_eq!(slots("read general --after 100"), (101..250).collect::<Vec<_>>());
    assert_eq!(slots("read general --after -1"), (0..250).collect::<Vec<_>>());
    for args in ["read empty", "read empty --json", "read empty --upto 3", "read empty --after -1"]
    {
        let (code, lines, why) = run(&server, args);
        assert_eq!((code, lines.as_str()), (1, ""), "{args}");
        assert!(why.starts_with("roomlog: room empty has no entries"), "{args}: {why}");
    }
    assert_eq!(run(&server, "read general --count 0"), (0, String::new(), String::new()));
    let (_, lines, why) = run(&server, "read general --after 249");
    assert_eq!((lines.as_str(), why.contains("general ends at slot 249")), ("", true));
    assert_eq!(run(&server, "rooms").1, "general\t249\n");
}

#[test]
fn a_closed_reader_ends_a_command_silently() {
    let server = Memory::start();
    (0..2_000).for_each(|_| server.append("general", &"x".repeat(100)));
    let mut child = spawn(&mut roomlog(&server, "export general"));
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
    assert!(first.starts_with("{\"slot\":0,"), "{first}");
    let (code, _, why) = told(child.wait_with_output().expect("an end"));
    assert_eq!((code, why.as_str()), (141, ""), "not everything was printed");
}

#[test]
fn tail_continues_where_it_stopped_when_the_server_is_back() {
    let server = Memory::start();
    ["one", "two", "three"].iter().for_each(|body| server.append("general", body));
    let mut child = spawn(&mut roomlog(&server, "tail general --count 2"));
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || {
        lines.next().expect("a line").expect("a line").split_once("> ").map(|(_, b)| b.to_owned())
    };
    assert_eq!([next(), next()], [Some("two".into()), Some("three".into())]);
    server.hang_up();
    server.append("general", "four");
    assert_eq!(next(), Some("four".into()));
    server.append("general", "five");
    assert_eq!(next(), Some("five".into()));
    child.kill().expect("stopped");
    let why = told_after_kill(child);
    assert!(why.contains("trying again") && why.contains("connected again"), "{why}");
}

fn told_after_kill(child: Child) -> String {
    let output = child.wait_with_output().expect("an end");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn write_days(dir: &Path) {
    let days = [
        ("2015-01-02", "[00:01] <bo> again\n\n[00:01] <bo> again\n"),
        (
            "2015-01-01.log",
            "[23:58] <ada> hello\n[23:58:09] * ada waves\n[23:59] *** bo joined\n[23:59] <bo> \n",
        ),
    ];
    for (name, content) in days {
        std::fs::write(dir.join(name), content).expect("a file");
    }
}

#[test]
fn an_import_is_stored_once_and_in_order_however_often_it_runs() {
    let server = Memory::start();
    server.rooms.hang_up_every.store(3, Ordering::Relaxed);
    let dir = tempfile::tempdir().expect("a directory");
    write_days(dir.path());
    let import = format!("import irc {}", dir.path().display());
    let (code, summary, why) = run(&server, &import);
    assert_eq!(code, 0, "{why}");
    for line in [
        "files            2",
        "entries          5 (action 1, text 4)",
        "duplicates       1 ",
        "skipped          1 ",
    ] {
        assert!(summary.contains(line), "{line}: {summary}");
    }
    let log = server.log("irc");
    let said: Vec<_> =
        log.iter().map(|entry| (&*entry.author, &*entry.kind, entry.body())).collect();
    let expected = [
        ("ada", "text", "hello"),
        ("ada", "action", "waves"),
        ("bo", "text", ""),
        ("bo", "text", "again"),
        ("bo", "text", "again"),
    ];
    assert_eq!(said, expected);
    assert_eq!(log[1].sent_at, Some(1_420_156_689_000));

    server.rooms.hang_up_every.store(0, Ordering::Relaxed);
    let (code, summary, _) = run(&server, &import);
    assert_eq!(code, 0);
    assert!(summary.contains("new              0\nalready there    5 "), "{summary}");
    assert!(!summary.contains("entries/s") && !summary.contains("p99"), "of five: {summary}");
    let (_, summary, _) = run(&server, &(import + " --joins"));
    assert!(summary.contains("new              1\nalready there    5"), "{summary}");
}

#[test]
fn a_dry_run_counts_and_needs_no_server() {
    let dir = tempfile::tempdir().expect("a directory");
    write_days(dir.path());
    std::fs::write(dir.path().join("2015-01-03"), b"what?\n[00:00] <ada> \xff\n").expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    let command = command.args(["import", "irc", "--dry-run"]).arg(dir.path());
    let (code, summary, why) =
        told(command.env("ROOMLOG_SERVER", "http://127.0.0.1:1").output().expect("a run"));
    assert_eq!(code, 1, "a line was not imported");
    assert!(summary.contains("entries          6 (action 1, text 5)"), "{summary}");
    assert!(
        summary.contains("not UTF-8        1 ") && summary.contains("unreadable       1"),
        "{summary}"
    );
    assert!(why.contains("2015-01-03:1: not imported: not a line of an IRC log"), "{why}");
    assert!(why.contains("2015-01-03:2: not UTF-8: imported with replacement characters"), "{why}");
}

#[test]
fn an_export_imports_as_the_same_log_and_refs_follow_their_entries() {
    let server = Memory::start();
    server.append("general", "zero");
    run(&server, "append general yes --ref 0 --id r-1");
    let (code, export, _) = run(&server, "export general");
    assert_eq!(code, 0);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("general.jsonl");
    std::fs::write(&path, &export).expect("a file");
    assert_eq!(run(&server, &format!("import copy {}", path.display())).0, 0);
    assert_eq!(run(&server, "export copy").1, export);

    // In a room that has entries already, the slot of a ref is another one.
    server.append("other", "first");
    assert_eq!(run(&server, &format!("import other {}", path.display())).0, 0);
    let log = server.log("other");
    assert_eq!((log[2].slot, log[2].reference), (2, Some(1)));

    let second = export.lines().nth(1).expect("two lines").to_owned() + "\n";
    std::fs::write(&path, second).expect("a file");
    let (code, _, why) = run(&server, &format!("import part {}", path.display()));
    assert_eq!(code, 1);
    assert!(
        why.contains("general.jsonl:1: its ref, slot 0, is not among the imported lines"),
        "{why}"
    );
}

#[test]
fn verify_names_the_first_wrong_slot() {
    let server = Memory::start();
    (0..250).for_each(|n| server.append("general", &n.to_string()));
    server.append("other", "x");
    let (code, lines, why) = run(&server, "verify");
    assert_eq!((code, why.as_str()), (0, "roomlog: 2 of 2 rooms are right\n"));
    assert!(lines.starts_with("general\t249\t") && lines.contains("\tok\nother\t0\t"), "{lines}");
    for slot in [0, 99, 100, 137, 249] {
        server.rooms.wrong_from.store(slot, Ordering::Relaxed);
        let (code, lines, _) = run(&server, "verify general");
        assert_eq!(code, 3);
        assert!(lines.starts_with(&format!("general\t{slot}\twrong: ")), "{lines}");
    }
}

#[test]
fn verify_and_export_fail_for_a_room_without_entries() {
    let server = Memory::start();
    server.append("general", "x");
    for command in ["verify nosuch", "export nosuch"] {
        let (code, lines, why) = run(&server, command);
        assert_eq!((code, lines.as_str()), (1, ""), "{command}");
        assert!(why.starts_with("roomlog: room nosuch has no entries"), "{why}");
    }
}

/// A server with two empty rooms that cannot read `ill`, and its runtime.
fn ill_server() -> (String, Runtime) {
    let runtime = Runtime::new().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let accepted = ServerBuilder::new().accept(stream).await;
            let (_, mut socket) = accepted.expect("a WebSocket");
            let hello = json!({"type": "hello", "protocol": 1, "server": "ill", "log": "log-1",
                "auth": "open", "durability": "fsync", "limits": Limits::default()});
            let mut answer = Some(hello);
            while let Some(frame) = answer.take() {
                // A closed client needs no answer.
                let _ = socket.send(Message::text(frame.to_string())).await;
                let asked = socket.next().await.and_then(Result::ok);
                answer = asked.and_then(|asked| ill_answer(asked.as_text()?));
            }
        }
    });
    (url, runtime)
}

fn ill_answer(asked: &str) -> Option<Value> {
    let asked: Value = serde_json::from_str(asked).expect("JSON");
    let (req, room) = (&asked["req"], &asked["room"]);
    match asked["type"].as_str()? {
        "login" => Some(json!({"type": "welcome", "author": asked["author"]})),
        "watch" => Some(json!({"type": "heads", "rooms": {"ill": 0, "well": -1}, "req": req})),
        "update" | "join" if room == "ill" => {
            Some(json!({"type": "error", "room": room, "req": req,
            "code": "unavailable", "message": "the archive is damaged", "retry_after_ms": 1}))
        }
        "update" => {
            let digest = Digest::start(&RoomName::new(room.as_str()?).expect("a room"));
            Some(json!({"type": "reply", "room": room, "entries": [], "latest": -1,
                "digest_at": -1, "digest": digest, "req": req}))
        }
        _ => None,
    }
}

#[test]
fn an_unreadable_room_is_reported_and_the_others_are_checked() {
    let (url, _runtime) = ill_server();
    let command = |args: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
        command.args(args.split(' ')).env("ROOMLOG_SERVER", &url).stdin(Stdio::null());
        command
    };
    let (code, lines, why) = told(command("verify").output().expect("a run"));
    assert_eq!((code, why.as_str()), (3, "roomlog: 1 of 2 rooms are right\n"), "{lines}");
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[0], "ill\t-\tcannot be read: the archive is damaged");
    assert!(lines[1].starts_with("well\t-1\t") && lines[1].ends_with("\tok"), "{lines:?}");

    let mut tail = spawn(&mut command("tail ill"));
    let mut line = String::new();
    let mut said = BufReader::new(tail.stderr.take().expect("a pipe"));
    said.read_line(&mut line).expect("a line");
    let why = "unavailable: the archive is damaged";
    assert_eq!(line, format!("roomlog: ill cannot be followed ({why}); trying again\n"));
    tail.kill().expect("stopped");
    tail.wait().expect("an end");
}

#[test]
fn an_unreachable_server_is_named_with_what_to_do() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    let command = command.args(["rooms", "--server", "http://127.0.0.1:1"]);
    let (code, _, why) = told(command.output().expect("a run"));
    assert_eq!(code, 1);
    assert!(why.starts_with("roomlog: cannot reach http://127.0.0.1:1: "), "{why}");
    assert!(why.contains("start a server with `roomlog serve`"), "{why}");
}
