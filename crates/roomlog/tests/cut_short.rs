//! An interrupted command does not exit with 0.

mod support;

use std::{
    fs::{self, File},
    process::Stdio,
};

use rustix::pipe::pipe;
use serde_json::json;
use support::{Server, roomlog, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

/// A server with a room that no pipe holds.
async fn server() -> Server {
    let server = Server::start(&[]).await;
    server.login("ada").await.fill("general", 400, &"x".repeat(1_000)).await;
    server
}

/// Standard output without a reader.
fn closed() -> Stdio {
    let (read, write) = pipe().expect("a pipe");
    drop(read);
    write.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

async fn ended(mut command: Command) -> (Option<i32>, String) {
    let ended = within("the end", command.spawn().expect("a process").wait_with_output()).await;
    let ended = ended.expect("an end");
    (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8"))
}

#[tokio::test]
async fn a_command_that_could_not_print_fails() {
    let server = server().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("2015-01-01.log");
    fs::write(&file, "[10:59] <ada> hello\n").expect("a file");
    let dry_run = format!("import irc {} --dry-run", file.display());
    for args in [
        "export general",
        "read general",
        "tail general",
        "rooms",
        "verify",
        "rooms --json",
        &dry_run,
    ] {
        let mut unread = roomlog(&server, args);
        unread.stdout(closed());
        assert_eq!(ended(unread).await, (Some(141), String::new()), "{args}");
        let mut on_full = roomlog(&server, args);
        on_full.stdout(full());
        let (code, why) = ended(on_full).await;
        assert_eq!(code, Some(1), "{args}");
        assert!(why.starts_with("roomlog: cannot write to standard output: No space"), "{why}");
    }
    let mut help = roomlog(&server, "--help");
    help.stdout(closed());
    assert_eq!(ended(help).await, (Some(0), String::new()));
}

#[tokio::test]
async fn work_other_than_printing_is_done_without_a_reader() {
    let server = server().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("2015-01-01.log");
    fs::write(&file, "[10:59] <ada> hello\n").expect("a file");
    let import = format!("import irc {}", file.display());
    for (n, args) in ["append other hello", "backup", &import].into_iter().enumerate() {
        let args = |which: &str| match args {
            "backup" => format!("backup {}", dir.path().join(which).display()),
            args => args.to_owned(),
        };
        let mut unread = roomlog(&server, &args("unread"));
        unread.stdout(closed());
        assert_eq!(ended(unread).await.0, Some(0), "{n}");
        let mut on_full = roomlog(&server, &args("full"));
        on_full.stdout(full());
        let (code, why) = ended(on_full).await;
        assert_eq!(code, Some(1), "{n}");
        assert!(why.contains("done, but standard output cannot be written to"), "{why}");
    }
    let mut reader = server.login("reader").await;
    assert_eq!(reader.whole_log("other").await.len(), 2);
    assert_eq!(reader.whole_log("irc").await.len(), 1);
    for which in ["unread", "full"] {
        assert!(dir.path().join(which).join("manifest.json").exists(), "{which}");
    }
}

#[tokio::test]
async fn all_lines_are_appended_when_the_reader_of_the_slots_exits() {
    let server = Server::start(&[]).await;
    let mut append = roomlog(&server, "append general");
    let mut append = append.stdin(Stdio::piped()).spawn().expect("a process");
    let (mut input, output) = (append.stdin.take().expect("a pipe"), append.stdout.take());
    let lines: String = (0..5_000).map(|n| format!("{n}\n")).collect();
    let writing = tokio::spawn(async move { input.write_all(lines.as_bytes()).await });
    let mut slots = BufReader::new(output.expect("a pipe")).lines();
    let first = within("a slot", slots.next_line()).await.expect("a line");
    assert_eq!(first.as_deref(), Some("0"));
    drop(slots);
    within("all lines", writing).await.expect("no panic").expect("written");
    let ended = within("the end", append.wait_with_output()).await.expect("an end");
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
    let mut reader = server.login("reader").await;
    let head = reader.update("general", json!({"count": 0})).await;
    assert_eq!(head["latest"], 4_999);
}

async fn signal(process: &Child, name: &str) {
    let pid = process.id().expect("a running process");
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().await;
    assert!(sent.expect("a shell").success());
}

#[tokio::test]
async fn an_interrupt_is_success_for_tail_and_failure_for_export() {
    let server = server().await;
    for name in ["INT", "TERM"] {
        for (args, code) in [("tail general --after -1", Some(0)), ("export general", None)] {
            let mut running = roomlog(&server, args).spawn().expect("a process");
            // It prints, and waits for a reader that has stopped: the pipe is full.
            let output = running.stdout.take().expect("a pipe");
            let mut lines = BufReader::new(output).lines();
            within("a line", lines.next_line()).await.expect("a line");
            signal(&running, name).await;
            let ended = within("its end", running.wait()).await.expect("a status");
            assert_eq!(ended.code(), code, "{args}, {name}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn tail_reports_that_it_waits_for_the_first_entry() {
    let server = Server::start(&[]).await;
    let mut tail = roomlog(&server, "tail general").spawn().expect("a process");
    let mut said = BufReader::new(tail.stderr.take().expect("a pipe")).lines();
    let line = within("a line", said.next_line()).await.expect("a line");
    let waits = "roomlog: room general has no entries; waiting for the first one";
    assert_eq!(line.as_deref(), Some(waits));
    server.login("ada").await.append("general", json!({"body": "hello"})).await;
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    let line = within("an entry", lines.next_line()).await.expect("a line").expect("an entry");
    assert!(line.starts_with("0 ") && line.ends_with("<ada> hello"), "{line}");
    signal(&tail, "INT").await;
    assert_eq!(within("its end", tail.wait()).await.expect("a status").code(), Some(0));
}
