//! The files of a certificate and its key that `serve` refuses, each with what to do.

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use support::{Issuer, Server, serve_refused};

/// The message of a `serve` with these flags, which must be a wrong setting.
async fn refused(data: &Path, flags: &[String]) -> String {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let ended = serve_refused(data, "127.0.0.1:0", &flags).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert_eq!(fs::read_dir(data).expect("a directory").count(), 0, "nothing was opened");
    said
}

#[tokio::test]
async fn files_that_make_no_tls_server_are_refused_before_anything_is_opened() {
    let (directory, data) = (tempfile::tempdir(), tempfile::tempdir());
    let (directory, data) = (directory.expect("a directory"), data.expect("a directory"));
    let issuer = Issuer::new(directory.path());
    issuer.renew(&["127.0.0.1"]);
    let [certificate, key] = issuer.files();
    let other = directory.path().join("other.key");
    fs::write(&other, issuer.issue(&["127.0.0.1"], |_| ()).1).expect("written");
    let broken = directory.path().join("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("written");
    let missing = directory.path().join("missing.pem");
    let flag = |name: &str, file: &Path| format!("--{name}={}", file.display());
    for (certificate, key, says) in [
        (&missing, &key, "cannot read"),
        (&certificate, &missing, "cannot read"),
        (&key, &key, "there is no certificate in"),
        (&certificate, &certificate, "there is no private key in"),
        (&certificate, &other, "does not belong to the certificate in"),
        (&broken, &key, "cannot be used"),
    ] {
        let said =
            refused(data.path(), &[flag("tls-cert", certificate), flag("tls-key", key)]).await;
        assert!(said.contains(says), "{says}: {said}");
    }
    let said = refused(data.path(), &[flag("tls-cert", &certificate)]).await;
    assert!(said.contains("tls_cert has no tls_key") && said.contains("--tls-key"), "{said}");
    let said = refused(data.path(), &[flag("tls-key", &key)]).await;
    assert!(said.contains("tls_key has no tls_cert"), "{said}");
    let said = refused(data.path(), &["--trust-proxy=proxy.example".into()]).await;
    assert!(said.contains("10.0.0.0/8"), "{said}");
}

#[tokio::test]
async fn a_key_that_everybody_may_read_is_a_warning() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    issuer.renew(&["127.0.0.1"]);
    let [certificate, key] = issuer.files();
    let flags = ["--tls-cert", "--tls-key"]
        .iter()
        .zip([&certificate, &key])
        .map(|(flag, file)| format!("{flag}={}", file.display()))
        .collect::<Vec<_>>();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    for (mode, warns) in [(0o644, true), (0o640, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("a mode");
        let server = Server::start(&flags).await;
        let lines = server.stderr_lines();
        assert_eq!(
            lines.iter().any(|line| line.contains("may read the TLS key")),
            warns,
            "{lines:?}"
        );
    }
}
