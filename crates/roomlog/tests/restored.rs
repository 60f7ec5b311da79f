//! The commands across a restore of an older backup: they continue with the new log, and report it.

mod support;

use std::{fs, process::Stdio};

use serde_json::json;
use support::{Server, backup, restore, roomlog, within};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::Child,
};

/// The next line that has `part` in it.
async fn line(lines: &mut Lines<impl AsyncBufRead + Unpin>, part: &str) -> String {
    loop {
        let next = within(part, lines.next_line()).await.expect("a pipe");
        let line = next.unwrap_or_else(|| panic!("{part:?} was never said"));
        if line.contains(part) {
            return line;
        }
    }
}

fn pipes(
    child: &mut Child,
) -> (Lines<BufReader<tokio::process::ChildStdout>>, Lines<BufReader<tokio::process::ChildStderr>>)
{
    let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    (BufReader::new(out).lines(), BufReader::new(err).lines())
}

#[tokio::test]
async fn tail_reports_another_log_and_continues_with_it() {
    let mut server = Server::start(&["--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    for body in ["zero", "one"] {
        ada.append("general", json!({"body": body})).await;
    }
    let backup = backup(&server).await;
    ada.append("general", json!({"body": "lost"})).await;
    let mut tail = roomlog(&server, "tail general").spawn().expect("a tail");
    let (mut out, mut err) = pipes(&mut tail);
    line(&mut out, "2 ").await;

    restore(&mut server, &backup).await;
    let told = line(&mut err, "another log").await;
    assert_eq!(
        told,
        "roomlog: the server now has another log: the entries of general printed so far are no longer \
         valid; its newest entries follow"
    );
    assert!(line(&mut out, "zero").await.starts_with("0 "));
    assert!(line(&mut out, "one").await.starts_with("1 "));
    server.login("ada").await.append("general", json!({"body": "new"})).await;
    let next = line(&mut out, "<ada>").await;
    assert!(next.starts_with("2 ") && next.ends_with("<ada> new"), "{next}");
}

#[tokio::test]
async fn an_import_starts_over_and_every_line_is_stored_once() {
    const LINES: usize = 12_000;
    let mut server = Server::start(&["--fold-ms", "1"]).await;
    server.login("ada").await.append("irc", json!({"body": "before"})).await;
    let backup = backup(&server).await;
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile().expect("a file");
    let mut text = String::new();
    for n in 0..LINES {
        let mut entry = json!({"slot": n, "author": "ada", "id": format!("line-{n}"),
            "body": format!("line {n}"), "committed_at": 1_000 + n});
        if n % 1_000 == 500 {
            entry["ref"] = json!(n - 500);
        }
        text += &format!("{entry}\n");
    }
    fs::write(file.path(), text).expect("written");
    let command = format!("import irc {}", file.path().display());
    let mut import = roomlog(&server, &command).spawn().expect("an import");
    let (_out, mut err) = pipes(&mut import);
    let mut watcher = server.login("watcher").await;
    // In the middle of it.
    while watcher.update("irc", json!({"count": 0})).await["latest"].as_i64() < Some(2_000) {}
    assert!(import.try_wait().expect("a child").is_none(), "it is still under way");
    restore(&mut server, &backup).await;
    let told = line(&mut err, "another log").await;
    assert!(told.ends_with("starting again with the first line"), "{told}");
    let ended = within("the end of the import", import.wait()).await.expect("an end");
    let mut rest = Vec::new();
    while let Ok(Some(line)) = err.next_line().await {
        rest.push(line);
    }
    assert!(ended.success(), "{rest:?}");

    let log = server.login("reader").await.whole_log("irc").await;
    assert_eq!(log.len(), LINES + 1);
    for (n, entry) in log[1..].iter().enumerate() {
        assert_eq!(entry["id"], format!("line-{n}"));
        let about = (n % 1_000 == 500).then(|| json!(n - 500 + 1));
        assert_eq!(entry.get("ref"), about.as_ref(), "a ref names its line's slot in this log");
    }
}

#[tokio::test]
async fn appending_lines_over_a_restore_fails() {
    let mut server = Server::start(&["--fold-ms", "1"]).await;
    server.login("ada").await.append("general", json!({"body": "kept"})).await;
    let backup = backup(&server).await;
    let mut command = roomlog(&server, "append general");
    let mut append = command.stdin(Stdio::piped()).spawn().expect("an append");
    let mut input = append.stdin.take().expect("a pipe");
    let (mut out, mut err) = pipes(&mut append);
    input.write_all(b"before\n").await.expect("written");
    assert_eq!(line(&mut out, "").await, "1");
    restore(&mut server, &backup).await;
    let told = line(&mut err, "another log").await;
    assert_eq!(
        told,
        "roomlog: the server now has another log: the following slots are of that log"
    );
    input.write_all(b"after\n").await.expect("written");
    assert_eq!(line(&mut out, "").await, "1");
    drop(input);
    assert!(line(&mut err, "another log").await.contains("may lack some"));
    let ended = within("the end", append.wait()).await.expect("an end");
    assert_eq!(ended.code(), Some(1));
}

#[tokio::test]
async fn a_read_after_a_slot_beyond_the_restored_log_names_its_end() {
    let mut server = Server::start(&["--fold-ms", "1", "--ahead-ms", "20"]).await;
    let mut ada = server.login("ada").await;
    ada.append("general", json!({"body": "kept"})).await;
    let backup = backup(&server).await;
    ada.append("general", json!({"body": "lost"})).await;
    restore(&mut server, &backup).await;
    let read = within("a read", roomlog(&server, "read general --after 1").output()).await;
    let read = read.expect("a run");
    assert_eq!(read.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&read.stderr),
        "roomlog: general ends at slot 0; use --after 0 or less\n"
    );
}
