//! `roomlog doctor`: what it finds good, what it warns of, and what it calls a problem; and that it changes
//! nothing.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use rcgen::date_time_ymd;
use serde_json::json;
use support::{Issuer, Server, slot};

async fn doctor(flags: &[&str]) -> Output {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    doctor.arg("doctor").args(flags).env_clear();
    let run = tokio::task::spawn_blocking(move || doctor.output());
    run.await.expect("a thread").expect("a run")
}

/// The findings: how bad each is, and what it says, by what it is about.
fn findings(output: &Output) -> BTreeMap<String, (String, String)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let finding = |line: &str| {
        let (severity, about, text) = (line[..8].trim(), line[9..21].trim(), line[22..].trim());
        assert!(["ok", "warning", "problem"].contains(&severity), "{line}");
        (about.to_owned(), (severity.to_owned(), text.to_owned()))
    };
    let findings: BTreeMap<_, _> = text.lines().map(finding).collect();
    let is_bad = findings.values().any(|(severity, _)| severity == "problem");
    assert_eq!(output.status.code(), Some(i32::from(is_bad)), "{text}");
    findings
}

fn names(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).expect("a directory");
    let name = |file: std::io::Result<fs::DirEntry>| {
        file.expect("a file").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<_> = files.map(name).collect();
    names.sort_unstable();
    names
}

fn is(findings: &BTreeMap<String, (String, String)>, about: &str, severity: &str, says: &str) {
    let found =
        findings.get(about).unwrap_or_else(|| panic!("nothing about {about}: {findings:?}"));
    assert!(found.0 == severity && found.1.contains(says), "{about}: {found:?}");
}

#[tokio::test]
async fn before_the_first_start_everything_is_looked_at_and_nothing_is_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let flags = ["--data", data.to_str().expect("a path"), "--listen", "127.0.0.1:0"];
    let found = findings(&doctor(&flags).await);
    let about: Vec<&str> = found.keys().map(String::as_str).collect();
    let all = [
        "clock",
        "data",
        "descriptors",
        "disk",
        "file system",
        "flush",
        "listen",
        "memory",
        "settings",
        "tokens",
    ];
    assert_eq!(about, all);
    is(&found, "data", "ok", "does not exist yet");
    is(&found, "tokens", "ok", "none");
    assert!(names(directory.path()).is_empty());
}

#[tokio::test]
async fn beside_a_server_it_asks_the_server_and_after_it_the_directory() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    assert_eq!(slot(&ada.append("r", json!({"body": "x"})).await), 0);
    let data = server.directory().to_str().expect("a path").to_owned();
    let before = names(server.directory());
    let found = findings(&doctor(&["--data", &data]).await);
    is(&found, "data", "ok", "a server uses");
    is(&found, "server", "ok", "it is ready");
    assert!(!found.contains_key("listen"), "{found:?}");
    assert_eq!(names(server.directory()), before);
    drop(ada);
    assert!(server.sigterm().await.success());
    let found = findings(&doctor(&["--data", &data, "--listen", "127.0.0.1:0"]).await);
    is(&found, "data", "ok", "holds a log; no server uses it");
    assert!(!found.contains_key("server"), "{found:?}");
    fs::write(server.directory().join("frozen"), "it was moved away").expect("a file");
    let found = findings(&doctor(&["--data", &data, "--listen", "127.0.0.1:0"]).await);
    is(&found, "data", "problem", "is frozen: it was moved away");
    fs::remove_file(server.directory().join("frozen")).expect("a file");
    for name in ["journal-00000001", "journal-00000002"] {
        fs::remove_file(server.directory().join(name)).expect("a file");
    }
    let found = findings(&doctor(&["--data", &data, "--listen", "127.0.0.1:0"]).await);
    is(&found, "data", "problem", "no journal");
}

#[tokio::test]
async fn what_serve_would_reject_and_what_it_could_not_use_are_problems() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let data = ["--data", data.to_str().expect("a path")];
    let found = findings(&doctor(&["--rooms", "0"]).await);
    is(&found, "settings", "problem", "rooms is 0");
    let taken = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = taken.local_addr().expect("an address").to_string();
    let found = findings(&doctor(&[&data[..], &["--listen", &address]].concat()).await);
    is(&found, "listen", "problem", &address);
    let full = ["--listen", "127.0.0.1:0", "--disk-reserve-bytes", "1000000000000000"];
    let found = findings(&doctor(&[&data[..], &full].concat()).await);
    is(&found, "disk", "problem", "appends are refused");
    let much = ["--listen", "127.0.0.1:0", "--memory", "1000000000000000"];
    let found = findings(&doctor(&[&data[..], &much].concat()).await);
    is(&found, "memory", "warning", "lower `memory`");
}

#[tokio::test]
async fn a_certificate_that_expires_is_seen_before_clients_see_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let issuer = Issuer::new(directory.path());
    let [certificate, key] = issuer.files();
    let path = |path: &Path| path.to_str().expect("a path").to_owned();
    let (certificate_path, key_path) = (path(&certificate), path(&key));
    let flags = [
        "--data",
        &path(&data),
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &certificate_path,
        "--tls-key",
        &key_path,
    ]
    .map(str::to_owned);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let until = |year: i32| {
        let (certificate_text, key_text) =
            issuer.issue(&["localhost"], |params| params.not_after = date_time_ymd(year, 1, 1));
        fs::write(&certificate, certificate_text).expect("a file");
        fs::write(&key, key_text).expect("a file");
    };
    until(2090);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a mode");
    is(&findings(&doctor(&flags).await), "key", "warning", "chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    is(&findings(&doctor(&flags).await), "certificate", "ok", "valid for");
    until(2020);
    is(&findings(&doctor(&flags).await), "certificate", "problem", "it has expired");
    fs::write(&certificate, "no certificate").expect("a file");
    is(&findings(&doctor(&flags).await), "certificate", "problem", "no certificate in");
}
