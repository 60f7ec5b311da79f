//! The command line and the Rust client over TLS: whom they trust, and what they say if they do not.

mod support;

use std::time::Duration;

use rcgen::date_time_ymd;
use roomlog_client::{GetError, TlsProblem, Trust};
use support::{Issuer, Server, roomlog, within};

/// A command against a server over TLS: its exit code, standard output and standard error.
async fn run(server: &Server, args: &str) -> (Option<i32>, String, String) {
    let mut command = roomlog(server, args);
    command.env("ROOMLOG_SERVER", format!("https://{}", server.address));
    let ended = within("the end of the command", command.output()).await.expect("a run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

#[tokio::test]
async fn commands_append_read_and_import_over_tls_with_the_issuer_that_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    let ca = issuer.ca.display();
    let (code, out, said) =
        run(&server, &format!("append general hello --author ada --ca {ca}")).await;
    assert_eq!((code, out.as_str()), (Some(0), "0\n"), "{said}");
    let log = directory.path().join("log.jsonl");
    let (code, out, said) = run(&server, &format!("export general --ca {ca}")).await;
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(&log, out).expect("written");
    let import = format!("import other {} --ca {ca}", log.display());
    let (code, _, said) = run(&server, &import).await;
    assert_eq!(code, Some(0), "{said}");
    let (_, out, said) = run(&server, &format!("read other --ca {ca}")).await;
    assert!(out.contains("<ada> hello"), "{out} {said}");
}

#[tokio::test]
async fn an_error_of_tls_says_what_happened_and_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    let read = format!("read general --ca {}", issuer.ca.display());
    let says = async |args: &str, all: &[&str]| {
        let (code, _, said) = run(&server, args).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(all.iter().all(|part| said.contains(part)), "{said}");
    };
    says("read general", &["an issuer that this system does not trust", "--ca FILE"]).await;
    let renewed = async |certificate: (String, String)| {
        for (file, text) in issuer.files().iter().zip([certificate.0, certificate.1]) {
            std::fs::write(file, text).expect("written");
        }
        let lines =
            || server.stderr_lines().iter().filter(|it| it.contains("was reloaded")).count();
        let before = lines();
        server.sighup("was reloaded").await;
        within("a reload", async {
            while lines() == before {
                tokio::task::yield_now().await
            }
        })
        .await;
    };
    renewed(issuer.issue(&["chat.example"], |_| ())).await;
    says(&read, &["not for this name, but for", "chat.example", "as its certificate does"]).await;
    renewed(issuer.issue(&["127.0.0.1"], |it| it.not_after = date_time_ymd(2020, 1, 1))).await;
    says(&read, &["has expired", "needs a new one"]).await;
    renewed(issuer.issue(&["127.0.0.1"], |it| it.not_before = date_time_ymd(4000, 1, 1))).await;
    says(&read, &["is not valid yet", "clocks"]).await;
}

#[tokio::test]
async fn a_client_that_speaks_otherwise_than_the_server_is_told_the_other_scheme() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let (with, without) = (issuer.server(&[]).await, Server::start(&[]).await);
    let (code, _, said) = run(&without, "read general").await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not speak TLS") && said.contains("http://"), "{said}");
    let ended = within("an end", roomlog(&with, "read general").output()).await.expect("a run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("status 400") && said.contains("https://"), "{said}");
}

#[tokio::test]
async fn a_file_that_names_no_issuer_is_a_wrong_command_line() {
    let server = Server::start(&[]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").expect("written");
    for (file, says) in [(empty, "BEGIN CERTIFICATE"), ("/not/there".into(), "cannot read")] {
        let (code, _, said) = run(&server, &format!("read r --ca {}", file.display())).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says) && said.contains("--ca"), "{said}");
    }
    let (code, _, said) = run(
        &server,
        &format!("backup {}/b --server https://127.0.0.1:1", directory.path().display()),
    )
    .await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("speaks no TLS"), "{said}");
}

#[tokio::test]
async fn a_document_is_fetched_over_tls_within_its_bounds() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    let (trust, system) = (Trust::with_ca(&issuer.ca).expect("an issuer"), Trust::default());
    let url = format!("https://{}/healthz", server.address);
    let get = async |url: &str, trust, most| {
        roomlog_client::get(url, trust, most, Duration::from_secs(10)).await
    };
    let (status, body) = get(&url, &trust, 100).await.expect("an answer");
    assert_eq!((status.as_u16(), &body[..]), (200, &b"alive\n"[..]));
    assert!(matches!(get(&url, &trust, 3).await, Err(GetError::Failed { .. })));
    let unknown = get(&url, &system, 100).await;
    assert!(matches!(unknown, Err(GetError::Tls { problem: TlsProblem::UnknownIssuer, .. })));
    assert!(matches!(get("ftp://h/x", &trust, 100).await, Err(GetError::Url(_))));
}
