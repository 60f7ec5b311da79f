//! `roomlog backup` of a running server, and `serve` on the backup: every entry acked before it is there,
//! and an incomplete download is no backup.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use roomlog_protocol::{BackupLine, Digest, Manifest};
use serde_json::json;
use support::{Client, PATIENCE, Server, digest_after, serve_refused, slot, within};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
};

/// The request of a backup.
const BACKUP: &[u8] = b"GET /v1/backup HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn roomlog(args: &[&str], server: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.args(args).env_clear().env("ROOMLOG_SERVER", server).stdin(Stdio::null());
    command.kill_on_drop(true);
    command
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// A place for a backup, and the directory that holds it.
fn place() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a directory");
    let path = parent.path().join("backup");
    (parent, path)
}

async fn backup(to: &Path, server: &Server) -> Output {
    let data = server.directory().to_str().expect("a path");
    backup_of(to, &["--data", data]).await
}

/// A backup of a server that the flags name.
async fn backup_of(to: &Path, flags: &[&str]) -> Output {
    let to = to.to_str().expect("a path");
    let args = [&["backup", to], flags].concat();
    within("a backup", roomlog(&args, "http://nowhere").output()).await.expect("a run")
}

async fn backed_up(server: &Server) -> (TempDir, PathBuf) {
    let (parent, path) = place();
    let output = backup(&path, server).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (parent, path)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<_> = entries.map(|entry| name(entry).expect("a name")).collect();
    names.sort();
    names
}

/// Puts a backup in the place of what a stopped server had.
fn put_in_place(backup: &Path, server: &Server) {
    for name in names(server.directory()) {
        fs::remove_file(server.directory().join(name)).expect("removed");
    }
    for name in names(backup) {
        fs::copy(backup.join(&name), server.directory().join(&name)).expect("copied");
    }
}

async fn log_of(server: &Server, room: &str) -> Vec<serde_json::Value> {
    server.login("reader").await.whole_log(room).await
}

#[tokio::test]
async fn a_backup_under_load_has_every_earlier_acked_entry_and_is_served_as_a_new_log() {
    let mut server = Server::start(&["--journal-bytes", "65536", "--fold-ms", "20"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("general", 2_000, "before").await;
    let (stop, (_parent, path)) = (AtomicBool::new(false), place());
    let acked = AtomicUsize::new(2_000);
    let write = async {
        while !stop.load(Ordering::Relaxed) {
            ada.fill("general", 100, "while").await;
            acked.fetch_add(100, Ordering::Relaxed);
        }
    };
    let copy = async {
        let before = acked.load(Ordering::Relaxed);
        let output = backup(&path, &server).await;
        let after = acked.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        (output, before, after)
    };
    let ((), (output, before, after)) = tokio::join!(write, copy);
    assert!(output.status.success(), "{}", said(&output));
    let text = fs::read_to_string(path.join("manifest.json")).expect("a manifest");
    let manifest = Manifest::from_json(&text).expect("a manifest");
    let entries = usize::try_from(manifest.entries).expect("a number");
    assert!(before <= entries && entries <= after + 100, "{before} {entries} {after}");
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = [
        format!("log              {}", manifest.log),
        format!("position         {}", manifest.position),
        "rooms            1".into(),
        format!("entries          {entries}"),
        format!("digest           {}", manifest.digest),
    ];
    assert!(lines.iter().all(|line| summary.lines().any(|said| said == line)), "{summary}");
    assert_eq!(names(&path), ["archive.db", "manifest.json"]);
    assert!(!names(server.directory()).iter().any(|name| name.starts_with("backup")));

    let original = log_of(&server, "general").await;
    let old = server.connect().await.hello["log"].clone();
    assert_eq!(old, json!(manifest.log));
    assert!(server.sigterm().await.success());
    let data = path.to_str().expect("a path");
    let verified = roomlog(&["verify", "--data", data], &url(&server)).output().await;
    let verified = verified.expect("a run");
    assert!(verified.status.success(), "{}", said(&verified));
    let digest = digest_after("general", &original[..entries]);
    let expected = format!("general\t{}\t{digest}\tok\n", entries - 1);
    assert_eq!(String::from_utf8_lossy(&verified.stdout), expected);

    put_in_place(&path, &server);
    server.restart().await;
    let new = server.connect().await.hello["log"].clone();
    assert_ne!(new, old);
    assert_eq!(log_of(&server, "general").await, original[..entries]);
    let mut ada = server.login("ada").await;
    assert_eq!(slot(&ada.append("general", json!({"body": "on"})).await), entries as i64);
    let id = original[17]["id"].clone();
    let again = ada.append("general", json!({"id": id, "body": original[17]["body"]})).await;
    assert_eq!((slot(&again), &again["repeat"]), (17, &json!(true)), "every id is known");
    // It is restored only once: from now on it is an ordinary directory.
    server.kill9().await;
    server.restart().await;
    assert_eq!(server.connect().await.hello["log"], new);
    assert_eq!(log_of(&server, "general").await.len(), entries + 1);
}

/// Waits until all is in the archive.
async fn folded(server: &Server) {
    while !server.operator_get("/metrics").send().await.body.contains("fold_lag_entries 0\n") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_trimmed_directory_is_verified_and_starts_after_kill_9() {
    let mut server = Server::start(&["--journal-bytes", "65536", "--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    // Folded blocks are trimmed when later blocks are written.
    for _ in 0..40 {
        ada.fill("general", 100, &"x".repeat(100)).await;
        within("a fold", folded(&server)).await;
    }
    let log = log_of(&server, "general").await;
    server.kill9().await;
    let data = server.directory().to_str().expect("a path").to_owned();
    let verified = roomlog(&["verify", "--data", &data], &url(&server)).output().await;
    let verified = verified.expect("a run");
    assert!(said(&verified).contains("the journal begins at position "), "{}", said(&verified));
    let expected = format!("general\t3999\t{}\tok\n", digest_after("general", &log));
    assert_eq!(String::from_utf8_lossy(&verified.stdout), expected);
    server.restart().await;
    assert_eq!(log_of(&server, "general").await, log);

    // Without its archive the directory is incomplete, which is reported before anything is changed.
    assert!(server.sigterm().await.success());
    let kept = names(server.directory());
    fs::rename(server.directory().join("archive.db"), server.directory().join("away"))
        .expect("moved");
    let refused = serve_refused(server.directory(), "127.0.0.1:0", &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("bring archive.db back"), "{}", said(&refused));
    fs::rename(server.directory().join("away"), server.directory().join("archive.db"))
        .expect("moved");
    assert_eq!(names(server.directory()), kept);
    server.restart().await;
    assert_eq!(log_of(&server, "general").await, log);
}

#[tokio::test]
async fn backup_rejects_a_directory_with_files_and_an_unreachable_server() {
    let server = Server::start(&[]).await;
    let (_parent, path) = backed_up(&server).await;
    let again = backup(&path, &server).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("is not empty: it holds "), "{}", said(&again));
    assert_eq!(names(&path), ["archive.db", "manifest.json"]);
    let (_parent, path) = place();
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr();
    let nobody = format!("http://{}", nobody.expect("an address"));
    let nobody = backup_of(&path, &["--server", &nobody]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(said(&nobody).contains("cannot reach"), "{}", said(&nobody));
    assert!(!path.exists(), "what was made is removed");
}

#[tokio::test]
async fn one_backup_runs_at_a_time_and_a_closed_connection_frees_it() {
    let server = Server::start(&["--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    // More than the sockets hold.
    ada.fill("general", 1_000, &"x".repeat(16_000)).await;
    let mut slow = server.door().await;
    slow.write_all(BACKUP).await.expect("sent");
    let mut begun = [0; 12];
    within("an answer", slow.read_exact(&mut begun)).await.expect("an answer");
    assert_eq!(&begun, b"HTTP/1.1 200");

    let busy = server.operator_get("/v1/backup").send().await;
    busy.refused(503, "busy");
    assert_eq!(busy.headers["retry-after"], "1");
    let (_parent, path) = place();
    let refused = backup(&path, &server).await;
    assert!(refused.status.code() == Some(1) && said(&refused).contains("busy: "), "{refused:?}");
    assert!(!path.exists());
    // The server keeps running, and the copy has no name.
    ada.append("general", json!({"body": "meanwhile"})).await;
    drop(slow);
    let begun = std::time::Instant::now();
    while !backup(&path, &server).await.status.success() {
        assert!(begun.elapsed() < PATIENCE, "the place is never free");
    }
    assert!(!names(server.directory()).iter().any(|name| name.starts_with("backup")));
}

#[tokio::test]
async fn a_page_of_another_site_cannot_start_a_backup() {
    let server = Server::start(&["--admin-listen", "127.0.0.1:0"]).await;
    let get = |site: &str| server.operator_get("/v1/backup").header("sec-fetch-site", site);
    for site in ["cross-site", "same-site"] {
        get(site).send().await.refused(403, "forbidden");
    }
    for site in ["same-origin", "none"] {
        // The server has to notice the closed connection first.
        let answered = async {
            loop {
                match get(site).status().await {
                    503 => {}
                    status => return status,
                }
            }
        };
        assert_eq!(within("an answer", answered).await, 200);
    }
}

#[tokio::test]
async fn a_head_of_a_backup_starts_none() {
    let server = Server::start(&[]).await;
    let mut door = server.door().await;
    let head = String::from_utf8_lossy(BACKUP).replace("GET", "HEAD");
    door.write_all(head.as_bytes()).await.expect("sent");
    // Sent before the first is answered: a backup of it would be the one that runs.
    let close =
        String::from_utf8_lossy(BACKUP).replace("localhost", "localhost\r\nconnection: close");
    door.write_all(close.as_bytes()).await.expect("sent");
    let mut both = Vec::new();
    within("the end", door.read_to_end(&mut both)).await.expect("read");
    let both = String::from_utf8_lossy(&both);
    assert_eq!(both.matches("HTTP/1.1 200").count(), 2, "{both}");
    assert_eq!(both.matches("{\"manifest\"").count(), 1, "{both}");
}

#[tokio::test]
async fn a_client_that_reads_a_backup_too_slowly_is_cut_off() {
    let flags = ["--fold-ms", "1", "--ping-ms", "500", "--idle-ms", "2500"];
    let server = Server::start(&flags).await;
    server.login("ada").await.fill("general", 1_000, &"x".repeat(16_000)).await;
    // It is never idle for as long, but reads 100 KiB/s.
    let mut slow = server.door().await;
    slow.write_all(BACKUP).await.expect("sent");
    let (mut all, mut piece) = (0, vec![0; 20 << 10]);
    let read = async {
        loop {
            match slow.read(&mut piece).await {
                Ok(0) | Err(_) => return all,
                Ok(more) => all += more,
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let taken = within("the end of a slow backup", read).await;
    assert!(taken < 4 << 20, "{taken} bytes of 16 MB were read before it was cut off");
    let (_parent, path) = place();
    let output = backup(&path, &server).await;
    assert!(output.status.success(), "the place is free: {}", said(&output));
    let lines = server.stderr_lines();
    assert!(lines.iter().any(|line| line.contains("reads too slowly")), "{lines:?}");
}

#[tokio::test]
async fn a_stopping_server_aborts_a_backup() {
    let mut server = Server::start(&["--fold-ms", "1", "--drain-ms", "1000"]).await;
    server.login("ada").await.fill("general", 1_000, &"x".repeat(16_000)).await;
    let mut slow = server.door().await;
    slow.write_all(BACKUP).await.expect("sent");
    let mut begun = [0; 12];
    within("an answer", slow.read_exact(&mut begun)).await.expect("an answer");
    assert!(server.sigterm().await.success());
    assert!(!names(server.directory()).iter().any(|name| name.starts_with("backup")));
}

/// A server that answers `GET /v1/backup` with these bytes and hangs up.
async fn answering(bytes: Vec<u8>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 1_024];
        let _asked = stream.read(&mut head).await.expect("a request");
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(&bytes).await.expect("sent");
    });
    (url, serving)
}

#[tokio::test]
async fn a_truncated_or_changed_backup_is_rejected() {
    let server = Server::start(&[]).await;
    server.login("ada").await.append("general", json!({"body": "hello"})).await;
    let (_parent, path) = backed_up(&server).await;
    let archive = fs::read(path.join("archive.db")).expect("an archive");
    let text = fs::read_to_string(path.join("manifest.json")).expect("a manifest");
    let manifest = Manifest::from_json(&text).expect("a manifest");
    let sha256 = manifest.sha256.expect("a digest");
    let line = |line: &BackupLine| serde_json::to_string(line).expect("JSON") + "\n";
    let head = line(&BackupLine::Copying { done: 0, of: 10 })
        + &line(&BackupLine::Manifest(Manifest { sha256: None, ..manifest }));
    let whole = [head.as_bytes(), &archive, line(&BackupLine::Sha256(sha256)).as_bytes()].concat();
    let mut changed = whole.clone();
    changed[head.len() + 100] ^= 1;
    let zeros = line(&BackupLine::Sha256(Digest([0; 32])));
    let wrong = [head.as_bytes(), &archive, zeros.as_bytes()].concat();
    let ends = [3, head.len() - 1, head.len(), head.len() + archive.len() / 2, whole.len() - 70];
    let cut = ends.iter().map(|end| (whole[..*end].to_vec(), "the backup is incomplete"));
    let none = (b"<html>\n".to_vec(), "a line is not one of a backup");
    let differs = [(changed, "was damaged on the way"), (wrong, "was damaged on the way"), none];
    for (bytes, part) in cut.chain(differs) {
        let (length, (_parent, path)) = (bytes.len(), place());
        let (url, serving) = answering(bytes).await;
        let output = backup_of(&path, &["--server", &url]).await;
        let told = said(&output);
        assert!(output.status.code() == Some(1) && told.contains(part), "{length}: {told}");
        assert!(!path.exists(), "{length} bytes left something behind");
        serving.await.expect("a server");
    }
    let (_parent, again) = place();
    let (url, serving) = answering(whole).await;
    assert!(backup_of(&again, &["--server", &url]).await.status.success());
    serving.await.expect("a server");
    assert_eq!(fs::read(again.join("archive.db")).expect("an archive"), archive);
}

#[tokio::test]
async fn a_client_ahead_of_the_restored_log_gets_ahead_or_diverged() {
    let mut server = Server::start(&["--fold-ms", "1", "--ahead-ms", "20"]).await;
    let mut ada = server.login("ada").await;
    ada.append("general", json!({"body": "kept"})).await;
    let (_parent, path) = backed_up(&server).await;
    let lost = ada.append("general", json!({"body": "lost", "id": "lost-1"})).await;
    assert_eq!(slot(&lost), 1);
    let digest = ada.update("general", json!({"count": 0})).await["digest"].clone();
    server.kill9().await;
    put_in_place(&path, &server);
    server.restart().await;

    let mut ada: Client = server.login("ada").await;
    let join = |more: serde_json::Value| support::with("join", "general", more);
    let refused = ada.refused(join(json!({"after": 1})), "ahead").await;
    assert_eq!(refused["latest"], 0);
    // The slot has another entry now, which a client that held the old one detects.
    let other = ada.append("general", json!({"body": "another"})).await;
    assert_eq!(slot(&other), 1);
    let refused = ada.refused(join(json!({"after": 1, "digest": digest})), "diverged").await;
    assert_eq!(refused["latest"], 1);
    let again = ada.append("general", json!({"body": "lost", "id": "lost-1"})).await;
    assert_eq!((slot(&again), again.get("repeat")), (2, None), "it is not there, so it is new");
}
