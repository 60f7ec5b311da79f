//! Standard error that takes nothing stops nothing: not a server, not a command.

mod support;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
};

use rustix::{
    pipe::{fcntl_setpipe_size, pipe},
    process::{Pid, Resource, Rlimit, prlimit},
};
use serde_json::{Value, json};
use support::{Server, roomlog, slot, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::oneshot,
};

/// More lines than the server keeps for a standard error that takes none.
const LINES: usize = 1_500;

/// Makes the server say as many lines: each is of a connection that sends what is no HTTP.
async fn make_it_talk(server: &Server, lines: usize) {
    for _ in 0..lines {
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        stream.write_all(b"no HTTP\r\n\r\n").await.expect("sent");
        let _answer_or_reset = within("its end", stream.read_to_end(&mut Vec::new())).await;
    }
}

/// A server that has much to say takes appends and ends as if it were heard.
async fn works_and_ends(stderr: Option<Stdio>) -> ExitStatus {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Server::start_with_stderr(data.path(), stderr).await;
    let mut ada = server.login("ada").await;
    make_it_talk(&server, LINES).await;
    assert_eq!(slot(&ada.append("r", json!({"body": "x"})).await), 0);
    assert_eq!(server.get("/readyz").status().await, 200);
    server.sigterm().await
}

fn device_that_is_full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

/// A pipe that holds one page, and its other end.
fn small_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe().expect("a pipe");
    fcntl_setpipe_size(&write, 4_096).expect("a small pipe");
    (read, write)
}

#[tokio::test]
async fn a_server_keeps_running_when_standard_error_is_full() {
    assert_eq!(works_and_ends(Some(device_that_is_full())).await.code(), Some(0));
}

#[tokio::test]
async fn a_server_keeps_running_when_standard_error_is_closed() {
    let (read, write) = small_pipe();
    drop(read);
    assert_eq!(works_and_ends(Some(write.into())).await.code(), Some(0));
}

#[tokio::test]
async fn a_server_keeps_running_without_a_reader_and_reports_the_dropped_lines() {
    let (read, write) = small_pipe();
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Server::start_with_stderr(data.path(), Some(write.into())).await;
    make_it_talk(&server, LINES).await;
    let (counted, count_came) = oneshot::channel();
    let read_all = tokio::task::spawn_blocking(move || {
        let (mut said, mut counted) = (String::new(), Some(counted));
        for line in BufReader::new(File::from(read)).lines() {
            let line = line?;
            if line.contains("lines are missing here") {
                let _told_once = counted.take().map(|counted| counted.send(()));
            }
            said += &line;
            said.push('\n');
        }
        Ok::<_, io::Error>(said)
    });
    // While the queue is still full, the last lines would be missing too.
    within("the count", count_came).await.expect("a count");
    let ended = server.sigterm().await;
    assert_eq!(ended.code(), Some(0));
    let said = within("what it said", read_all).await.expect("no panic").expect("UTF-8");
    assert!(said.contains("listening on"), "{said}");
    assert!(said.contains("lines are missing here"), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.contains("stats blocks=")), "{said}");
}

#[tokio::test]
async fn a_server_stops_in_time_without_a_reader() {
    let (read, write) = small_pipe();
    assert_eq!(works_and_ends(Some(write.into())).await.code(), Some(0));
    drop(read);
}

#[tokio::test]
async fn a_server_started_without_standard_error_keeps_running() {
    assert_eq!(works_and_ends(None).await.code(), Some(0));
}

#[tokio::test]
async fn a_server_keeps_running_when_its_log_file_has_the_maximum_size() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    log.as_file().set_len(16 << 20).expect("a long file");
    let stderr = File::options().append(true).open(log.path()).expect("the file");
    let limit = Some(16 << 20);
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Server::start_with_stderr(data.path(), Some(stderr.into())).await;
    let pid = Pid::from_raw(server.pid().try_into().expect("a pid"));
    prlimit(pid, Resource::Fsize, Rlimit { current: limit, maximum: limit }).expect("a limit");
    make_it_talk(&server, 10).await;
    assert_eq!(slot(&server.login("ada").await.append("r", json!({"body": "x"})).await), 0);
    assert_eq!(server.sigterm().await.code(), Some(0));
}

#[tokio::test]
async fn a_blocked_standard_error_does_not_change_how_a_command_ends() {
    let server = Server::start(&[]).await;
    server.login("ada").await.append("r", json!({"body": "x"})).await;
    for (args, code) in
        [("export r", 0), ("export nosuch", 1), ("append --nonsense", 2), ("serve --sockets 0", 2)]
    {
        let (read, write) = small_pipe();
        // Full before it begins.
        rustix::io::write(&write, &[b'.'; 4_096]).expect("written");
        let mut unread = roomlog(&server, args);
        let ended =
            within(args, unread.stdout(Stdio::null()).stderr(write).status()).await.expect("a run");
        assert_eq!(ended.code(), Some(code), "{args}: nobody reads");
        drop(read);
        let mut full = roomlog(&server, args);
        let ended =
            within(args, full.stdout(Stdio::null()).stderr(device_that_is_full()).status()).await;
        assert_eq!(ended.expect("a run").code(), Some(code), "{args}: /dev/full");
        let mut closed = Command::new("sh");
        closed.args(["-c", "exec \"$0\" \"$@\" 2>&-", env!("CARGO_BIN_EXE_roomlog")]);
        closed.args(args.split(' ')).env("ROOMLOG_SERVER", format!("http://{}", server.address));
        let ended = within(args, closed.stdout(Stdio::null()).status()).await.expect("a run");
        assert_eq!(ended.code(), Some(code), "{args}: closed");
    }
}

#[tokio::test]
async fn a_line_about_data_is_written_before_the_data() {
    let server = Server::start(&[]).await;
    // One pipe for both, as a terminal has it.
    let again =
        "exec 2>&1; for i in 1 2 3 4 5 6 7 8 9 10; do \"$0\" append r x --id a || exit; done";
    let mut shell = Command::new("sh");
    shell.args(["-c", again, env!("CARGO_BIN_EXE_roomlog")]).env_clear().kill_on_drop(true);
    shell.env("ROOMLOG_SERVER", format!("http://{}", server.address));
    let ended = within("ten appends", shell.output()).await.expect("a shell");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(said, format!("0\n{}", "roomlog: 0 (already there)\n0\n".repeat(9)));
}

#[tokio::test]
async fn with_json_every_line_is_an_object_of_one_shape() {
    let mut server = Server::start(&["--log-format", "json"]).await;
    let page = ("origin", "https://evil.example");
    assert_eq!(server.get("/v1/rooms").header(page.0, page.1).status().await, 403);
    server.sighup("nothing to reload").await;
    assert!(server.sigterm().await.success());
    let lines = server.stderr_lines();
    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        let has = |name: &str| line[name].as_str().is_some_and(|text| !text.is_empty());
        let all = ["timestamp", "level", "message", "target"].map(has);
        assert!(all.iter().all(|has| *has), "{line}");
    }
    let levels = |begins: &str| {
        let of =
            lines.iter().filter(|it| it["message"].as_str().expect("text").starts_with(begins));
        of.map(|line| line["level"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(levels("listening on http"), ["INFO"]);
    assert_eq!(levels("refused a page of the origin https://evil.example"), ["WARN"]);
    assert_eq!(levels("stats blocks="), ["INFO"]);
}

#[tokio::test]
async fn with_json_the_reason_why_a_server_cannot_start_is_an_object_too() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let refused =
        support::serve_refused(file.path(), "127.0.0.1:0", &["--log-format", "json"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let line: Value = serde_json::from_str(said.trim_end()).expect(&said);
    assert_eq!((refused.status.code(), &line["level"]), (Some(1), &"ERROR".into()), "{said}");
}
