//! `roomlog verify --data DIR` of directories that are intact, left by a killed server, served or damaged;
//! and that a server does not start on a damaged journal.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
};

use roomlog_core::{archive::Archive, proposal::Proposal};
use roomlog_protocol::{Content, HeadsDigest, MANIFEST_FILE, Manifest};
use roomlog_sqlite::SqliteArchive;
use roomlog_testkit::fixtures::{Speaker, proposal, redaction, room, window};
use serde_json::json;
use sha2::{Digest, Sha256};
use support::{Server, serve_refused, within};
use tokio::process::Command;

async fn verify(data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command
        .arg("verify")
        .args(more)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    within("the end of verify", command.output()).await.expect("run")
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every file with its bytes.
fn files(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(data).expect("a directory");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(path).expect("a file"))
    };
    // A killed server leaves its socket, which has no bytes.
    let is_socket = |entry: &std::io::Result<fs::DirEntry>| {
        entry.as_ref().is_ok_and(|entry| entry.file_name() == "admin.sock")
    };
    entries.filter(|entry| !is_socket(entry)).map(file).collect()
}

/// Flips one bit after the last occurrence of `text` in a file.
fn flip(path: &Path, text: impl AsRef<[u8]>) {
    let mut bytes = fs::read(path).expect("a file");
    let text = text.as_ref();
    let is_there = |at: &usize| bytes[*at..].starts_with(text);
    let places: Vec<usize> = (0..bytes.len()).filter(is_there).collect();
    assert!(!places.is_empty(), "the text is not there");
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(path, bytes).expect("a file");
}

/// How the archive names an append: the first bytes of SHA-256 over lengths and names.
fn hash_of_id(room: &str, author: &str, id: &str) -> [u8; 8] {
    let mut sha = Sha256::new();
    for name in [room, author, id] {
        sha.update([name.len() as u8]);
        sha.update(name);
    }
    sha.finalize()[..8].try_into().expect("eight bytes")
}

/// A server with an entry in room `a` and three in room `b`, in the archive as soon as it can be.
async fn server_with_entries() -> Server {
    let server = Server::start(&["--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    ada.append("a", json!({"body": "alone"})).await;
    for body in ["first of three", "second of three", "third of three"] {
        ada.append("b", json!({"body": body, "id": body.replace(' ', "-")})).await;
    }
    server
}

/// Stops a server, once all it holds is in the archive: what a stop left unfolded is folded after the
/// next start.
async fn stop_folded(server: &mut Server) -> PathBuf {
    let archive = server.directory().join("archive.db");
    loop {
        assert!(server.sigterm().await.success());
        let bytes = fs::read(&archive).expect("a file");
        if bytes.windows(14).any(|text| text == b"third of three") {
            return archive;
        }
        server.restart().await;
    }
}

#[tokio::test]
async fn verify_accepts_and_does_not_change_the_directory_of_a_stopped_or_killed_server() {
    let mut server = server_with_entries().await;
    for killed in [true, false] {
        if killed {
            server.kill9().await;
        } else {
            server.restart().await;
            assert!(server.sigterm().await.success());
        }
        let before = files(server.directory());
        let (code, out) = said(&verify(server.directory(), &[]).await);
        assert_eq!(code, Some(0), "{out}");
        let rooms: Vec<(&str, &str)> = out
            .lines()
            .filter_map(|line| line.strip_suffix("\tok")?.split_once('\t'))
            .map(|(room, rest)| (room, rest.split('\t').next().unwrap_or_default()))
            .collect();
        assert_eq!(rooms, [("a", "0"), ("b", "2")]);
        assert!(before == files(server.directory()), "the directory was written to");
    }
    let (code, out) = said(&verify(server.directory(), &["a"]).await);
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}");
    assert_eq!(said(&verify(server.directory(), &["nosuch"]).await).0, Some(1));
}

#[tokio::test]
async fn the_first_wrong_slot_of_a_damaged_archive_is_named() {
    let mut server = server_with_entries().await;
    let archive = stop_folded(&mut server).await;
    flip(&archive, "second of three");
    let (code, out) = said(&verify(server.directory(), &[]).await);
    assert_eq!(code, Some(3), "{out}");
    assert!(out.lines().any(|line| line.starts_with("b\t1\twrong")), "{out}");
    assert!(out.lines().any(|line| line.starts_with("a\t0\t") && line.ends_with("\tok")), "{out}");
}

#[tokio::test]
async fn an_id_that_is_not_indexed_is_named_by_its_slot() {
    let mut server = server_with_entries().await;
    let archive = stop_folded(&mut server).await;
    flip(&archive, hash_of_id("b", "ada", "second-of-three"));
    let (code, out) = said(&verify(server.directory(), &[]).await);
    assert_eq!(code, Some(3), "{out}");
    assert!(out.lines().any(|line| line.contains("its id cannot be looked up")), "{out}");
}

#[tokio::test]
async fn a_changed_block_of_the_journal_is_rejected_by_verify_and_serve() {
    let mut server = Server::start(&["--fold-ms", "60000"]).await;
    let mut ada = server.login("ada").await;
    for body in ["first of three", "second of three", "third of three"] {
        ada.append("b", json!({"body": body})).await;
    }
    drop(ada);
    assert!(server.sigterm().await.success());
    flip(&server.directory().join("journal-00000001"), "second of three");
    let verified = verify(server.directory(), &[]).await;
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let refused = serve_refused(server.directory(), "127.0.0.1:0", &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    for output in [verified, refused] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("journal-00000001 is damaged") && said.contains("position 2 is not"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_served_or_missing_directory_is_rejected() {
    let server = Server::start(&[]).await;
    let served = verify(server.directory(), &[]).await;
    assert_eq!(served.status.code(), Some(1));
    let said = String::from_utf8_lossy(&served.stderr).into_owned();
    assert!(said.contains("another process"), "{said}");
    let empty = tempfile::tempdir().expect("a directory");
    assert_eq!(verify(empty.path(), &[]).await.status.code(), Some(1));
}

/// A backup of room `r` with one commit; of a node of a cluster, or of a node alone.
fn backup_of(proposals: Vec<Proposal>, removes: bool, cluster: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("archive.db");
    let archive = SqliteArchive::open(&file, "a-log").expect("an archive");
    let mut speaker = Speaker::new("r");
    let mut commit = speaker.commits(1, proposals.into_iter());
    if !removes {
        Arc::get_mut(&mut commit).expect("no other owner").removes.clear();
    }
    let mut window = window(1, &[commit]);
    window.applied.chain = window.applied.chain.filter(|_| cluster);
    archive.fold(&window).expect("a fold");
    drop(archive);
    let mut digest = HeadsDigest::default();
    digest.room(&room("r"), speaker.head.end, &speaker.head.digest);
    let bytes = fs::read(&file).expect("a file");
    let manifest = Manifest {
        format: 1,
        log: "a-log".into(),
        position: 1,
        rooms: 1,
        entries: speaker.head.end,
        digest: digest.finish(),
        taken_at: 0,
        archive_bytes: bytes.len() as u64,
        sha256: Some(roomlog_protocol::Digest(Sha256::digest(&bytes).into())),
    };
    let manifest = serde_json::to_string(&manifest).expect("JSON");
    fs::write(directory.path().join(MANIFEST_FILE), manifest).expect("a file");
    directory
}

#[tokio::test]
async fn a_redacted_entry_and_a_later_removal_need_each_other() {
    let said = || proposal("r", "ada", "a-0", "a pin");
    let redacted = || {
        let said = said();
        Proposal { content: Content::Redacted(said.commitment), ..said }
    };
    let removal = || redaction("r", "ada", "a-1", 0);
    let text = || proposal("r", "ada", "a-1", "a text");
    let line = async |backup: tempfile::TempDir| said_of(verify(backup.path(), &[]).await);
    let ok = (Some(0), "ok".to_owned());
    assert_eq!(line(backup_of(vec![said(), removal()], true, false)).await, ok);
    assert_eq!(line(backup_of(vec![redacted(), removal()], true, false)).await, ok);
    assert_eq!(line(backup_of(vec![said(), text()], true, false)).await, ok);
    let stray = "wrong: it is redacted, but no later entry removes its text";
    assert_eq!(
        line(backup_of(vec![redacted(), text()], true, false)).await,
        (Some(3), stray.into())
    );
    let kept = "wrong: a later entry removes its text, but the text is still there";
    assert_eq!(
        line(backup_of(vec![said(), removal()], false, false)).await,
        (Some(3), kept.into())
    );
    // The backup of a node that caught up may end between an entry and its removal.
    assert_eq!(line(backup_of(vec![redacted(), text()], true, true)).await, ok);
}

/// The exit code, and what the one line says of its room.
fn said_of(output: Output) -> (Option<i32>, String) {
    let (code, out) = said(&output);
    assert_ne!(code, Some(1), "{output:?}");
    (code, out.trim_end().rsplit('\t').next().unwrap_or_default().to_owned())
}
