//! The errors of a `serve` that cannot start, and the signals that end it.

mod support;

use std::{fs, path::Path, process::Stdio};

use support::{Server, pair, send_signal, serve_refused, within};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

/// `serve` on a directory that is rejected: its standard error.
async fn refused(data: &Path, listen: &str) -> String {
    let ended = serve_refused(data, listen, &[]).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    said
}

#[tokio::test]
async fn a_data_path_that_is_a_file_is_reported_as_one() {
    let parent = tempfile::tempdir().expect("a directory");
    let file = parent.path().join("data");
    fs::write(&file, "dear ada").expect("a file");
    for data in [file.clone(), file.join("below")] {
        let said = refused(&data, "127.0.0.1:0").await;
        assert!(said.contains("there is a file at this path"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "dear ada");
}

#[tokio::test]
async fn a_directory_of_other_files_is_not_written_to() {
    let data = tempfile::tempdir().expect("a directory");
    fs::write(data.path().join("letter.txt"), "dear ada").expect("a file");
    let said = refused(data.path(), "127.0.0.1:0").await;
    assert!(said.contains("is not empty and holds no log: letter.txt"), "{said}");
    assert_eq!(fs::read_dir(data.path()).expect("a directory").count(), 1, "nothing was added");

    // What file systems and tools put into an empty directory does not matter.
    let empty = tempfile::tempdir().expect("a directory");
    fs::create_dir(empty.path().join("lost+found")).expect("a directory");
    fs::write(empty.path().join(".gitkeep"), "").expect("a file");
    let mut server = Server::start_on(empty.path(), &[], &[]).await;
    assert!(server.sigterm().await.success());
}

#[tokio::test]
async fn an_unavailable_address_is_rejected_with_the_reason() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(&[]).await;
    let said = refused(data.path(), &server.address.to_string()).await;
    assert!(said.contains("is a server running there already?"), "{said}");
    // TEST-NET-1 (RFC 5737) is no machine's own.
    let ended = serve_refused(data.path(), "192.0.2.1:0", &["--insecure-open"]).await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("no interface of this machine has this address"), "{said}");
    assert_eq!(fs::read_dir(data.path()).expect("a directory").count(), 0, "nothing was opened");
}

#[tokio::test]
async fn a_closed_terminal_drains_the_server_as_sigterm_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = directory.path().join("said");
    let (screen, terminal) = pair();
    let mut server = Command::new("setsid");
    server.args(["--ctty", env!("CARGO_BIN_EXE_roomlog"), "serve", "--listen", "127.0.0.1:0"]);
    server.arg("--data").arg(directory.path().join("data")).env_clear().kill_on_drop(true);
    let stderr = fs::File::create(&said).expect("a file");
    let mut server = server.stdin(terminal).stderr(stderr).spawn().expect("a run");
    let says = async |what: &str| {
        let has_said = || fs::read_to_string(&said).expect("text").contains(what);
        within(what, async {
            while !has_said() {
                tokio::task::yield_now().await
            }
        })
        .await;
    };
    says("listening on").await;
    // Its terminal is still there: somebody asks for a reload.
    send_signal("HUP", &server).await;
    says("nothing to reload").await;
    drop(screen);
    let ended = within("the end of the server", server.wait()).await.expect("a status");
    assert_eq!(ended.code(), Some(0));
    says("stopping").await;
}

#[tokio::test]
async fn sighup_does_not_end_a_server_without_a_terminal() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    server.sighup("nothing to reload: this server has no --config, tls_cert or jwt_key").await;
    ada.fill("general", 3, "kept").await;
    assert!(server.sigterm().await.success());
}

#[tokio::test]
async fn nohup_outlives_the_terminal() {
    let data = tempfile::tempdir().expect("a directory");
    let mut nohup = Command::new("sh");
    // What `nohup` does, without its file.
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_roomlog"), "serve"]);
    nohup.args(["--listen", "127.0.0.1:0", "--data"]).arg(data.path()).env_clear();
    let mut child = nohup
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a run");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let first = within("`listening on`", lines.next_line()).await.expect("a pipe");
    assert!(first.is_some_and(|line| line.contains("listening on")));
    // Signals that wait together come in the order of their numbers: SIGHUP is 1, SIGTERM 15.
    send_signal("HUP", &child).await;
    send_signal("WINCH", &child).await;
    assert!(child.try_wait().expect("a status").is_none());
    send_signal("TERM", &child).await;
    let stopping = within("`stopping`", lines.next_line()).await.expect("a pipe");
    assert!(stopping.is_some_and(|line| line.contains("stopping")));
    let ended = within("the end", child.wait()).await.expect("a status");
    assert_eq!(ended.code(), Some(0));
}
