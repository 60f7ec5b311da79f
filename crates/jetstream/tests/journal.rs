//! The journal on real servers: the suite of its contract, and what servers do to it.

mod common;

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::stream;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{LONG, block, by_hand, next, open, propose, servers};
use roomlog_core::journal::{Journal, Mark, Position, Proposed};
use roomlog_jetstream::{OpenError, Options, Promise};
use roomlog_testkit::{
    nats::{Cluster, Setup},
    suites,
};
use tokio::{runtime::Handle, task::block_in_place, time::timeout};

/// Streams on servers of their own.
struct Streams {
    options: Options,
    _servers: Cluster,
}

impl Streams {
    fn on(count: usize) -> Self {
        let servers = servers(count);
        Self { options: Options::new(servers.url()), _servers: servers }
    }
}

impl suites::journal::Engine for Streams {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(wait(open(&self.options)).expect("a journal"))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_trimmed(&self) -> bool {
        false
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(future))
}

roomlog_testkit::journal_suite!(one_server_keeps_the_contract, Streams::on(1));

roomlog_testkit::journal_suite!(three_servers_keep_the_contract, Streams::on(3));

fn refused(setup: Setup, change: impl FnOnce(&mut Options)) -> OpenError {
    let cluster = Cluster::start(&Setup { servers: 1, ..setup }).expect("a server");
    let mut options = Options::new(cluster.url());
    change(&mut options);
    let opened = wait(open(&options));
    opened.err().expect("it is refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_ack_before_they_fsync_are_refused_with_the_line_to_change() {
    let why = refused(Setup { synced: false, ..Setup::default() }, |_| {}).to_string();
    assert!(why.contains("n0") && why.contains("`sync_interval: always`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_be_asked_are_refused_unless_the_operator_declares_that_they_fsync() {
    let setup = Setup { servers: 1, exported: false, ..Setup::default() };
    let cluster = Cluster::start(&setup).expect("a server");
    let mut options = Options::new(cluster.url());
    let why = open(&options).await.err().expect("it is refused").to_string();
    assert!(why.contains("--journal-declared") && why.contains("PING.JSZ"), "{why}");
    options.declared = true;
    options.replicas = Some(1);
    let journal = open(&options).await.expect("a journal");
    assert_eq!(journal.promise(), Promise::Declared);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_that_fsyncs_is_no_quorum() {
    let cluster = servers(1);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    assert_eq!(journal.promise(), Promise::Fsync);
    drop(journal);
    let cluster = servers(3);
    let options = Options { replicas: Some(1), ..Options::new(cluster.url()) };
    let journal = open(&options).await.expect("a journal");
    assert_eq!(journal.promise(), Promise::Fsync, "one of three keeps it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_made_on_three_servers_when_the_third_comes_late() {
    let setup = Setup { first: 2, by_seed: true, ..Setup::default() };
    let mut cluster = Cluster::start(&setup).expect("two servers");
    let options = Options::new(cluster.url_of(0));
    let mut opening = tokio::spawn(async move { open(&options).await });
    let early = timeout(Duration::from_secs(5), &mut opening).await;
    assert!(early.is_err(), "two servers keep no three replicas");
    block_in_place(|| cluster.restart(2)).expect("the third server");
    let journal = opening.await.expect("no panic").expect("a journal");
    assert_eq!(journal.promise(), Promise::Quorum);
    let stream = by_hand(&cluster).await.get_stream("ROOMLOG_1_0").await.expect("the stream");
    assert_eq!(stream.cached_info().config.num_replicas, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_are_reported_as_too_few_for_three_replicas() {
    let cluster = servers(2);
    let why = open(&Options::new(cluster.url())).await.err().expect("it is refused").to_string();
    assert!(why.contains("fewer than 3 servers, say --journal-replicas 1"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_configuration_is_accepted() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nats/nats.conf");
    let setup = Setup { config: Some(shipped.into()), ..Setup::default() };
    let cluster = Cluster::start(&setup).expect("three servers");
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    assert_eq!(journal.promise(), Promise::Quorum);
    let context = by_hand(&cluster).await;
    let stream = context.get_stream("ROOMLOG_1_0").await.expect("the stream");
    assert_eq!(stream.cached_info().config.num_replicas, 3);
    assert_eq!(propose(&journal, 0).await, Position(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_servers_that_start_later() {
    let mut cluster = servers(3);
    cluster.kill(1);
    cluster.kill(2);
    let options = Options::new(cluster.url_of(0));
    let mut opening = tokio::spawn(async move { open(&options).await });
    let early = timeout(Duration::from_secs(3), &mut opening).await;
    assert!(early.is_err(), "one of three says nothing of the others");
    for server in [1, 2] {
        block_in_place(|| cluster.restart(server)).expect("a server that is back");
    }
    let journal = opening.await.expect("no panic").expect("a journal");
    assert_eq!(journal.promise(), Promise::Quorum);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_a_small_max_payload_are_refused_with_the_line_to_change() {
    let more = "max_payload: 512KB".into();
    let why = refused(Setup { more, ..Setup::default() }, |_| {}).to_string();
    assert!(why.contains("`max_payload: 1MB`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_replicas_than_servers_are_refused_with_a_remedy() {
    let why = refused(Setup::default(), |options| options.replicas = Some(3)).to_string();
    assert!(why.contains("--journal-replicas 1"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_servers_and_wrong_passwords_are_reported_without_the_password() {
    let cluster = servers(1);
    let wrong = cluster.url().replace("roomlog:roomlog@", "roomlog:secret@");
    for servers in [wrong.as_str(), "nats://roomlog:secret@127.0.0.1:1"] {
        let why = open(&Options::new(servers)).await.err().expect("it is refused").to_string();
        assert!(why.contains("127.0.0.1") && !why.contains("secret"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_a_wrong_configuration_is_refused_with_every_difference_and_unchanged() {
    let cluster = servers(1);
    let context = by_hand(&cluster).await;
    let made = stream::Config {
        name: "ROOMLOG_1_0".into(),
        subjects: vec!["ROOMLOG.1.0".into()],
        max_age: Duration::from_secs(3_600),
        metadata: [("roomlog.format".into(), "1".into())].into(),
        ..stream::Config::default()
    };
    context.create_stream(made).await.expect("a stream");
    let why = open(&Options::new(cluster.url())).await.err().expect("it is refused").to_string();
    for line in [
        "max_age is 3600s and must be 0ns",
        "deny_purge is false and must be true",
        "discard is Old and must be New",
        "metadata roomlog.log is missing",
        "metadata roomlog.format is \"1\" and must be \"2\"",
        "an older version made it, from before the first release",
        "nats stream edit ROOMLOG_1_0",
    ] {
        assert!(why.contains(line), "{line}: {why}");
    }
    let stream = context.get_stream("ROOMLOG_1_0").await.expect("the stream");
    assert_eq!(stream.cached_info().config.max_age, Duration::from_secs(3_600));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_partitions_is_fixed_when_a_log_is_made() {
    let cluster = servers(1);
    let mut options = Options::new(cluster.url());
    options.partitions = Some(3);
    let journal = open(&options).await.expect("a journal");
    assert_eq!(journal.facts().partitions, 3);
    for partition in 0..3 {
        let proposed = timeout(LONG, journal.propose(partition, block(7))).await;
        assert_eq!(proposed.expect("an answer in time"), Proposed::Durable(Position(1)));
    }
    drop(journal);
    // By default as many as exist.
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    assert_eq!(journal.facts().partitions, 3);
    let given = next(&mut journal.follow(2, Mark::default())).await.expect("a block");
    assert_eq!(given.block, block(7));
    drop(journal);
    options.partitions = Some(4);
    let why = open(&options).await.err().expect("it is refused").to_string();
    assert!(why.contains("roomlog.partitions is \"3\" and must be \"4\""), "{why}");
    // A lost one is not recreated empty.
    let context = by_hand(&cluster).await;
    context.delete_stream("ROOMLOG_1_2").await.expect("a deletion");
    let why = open(&Options::new(cluster.url())).await.err().expect("it is refused").to_string();
    assert!(why.contains("ROOMLOG_1_2") && why.contains("it was deleted"), "{why}");
}

/// A certificate of a CA, and its key, in files of this directory.
fn certificate(
    directory: &Path,
    name: &str,
    issuer: &rcgen::Issuer<'_, rcgen::KeyPair>,
) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("parameters");
    let signed = params.signed_by(&key, issuer).expect("a certificate");
    let paths = ["pem", "key"].map(|end| directory.join(format!("{name}.{end}")));
    fs::write(&paths[0], signed.pem()).expect("written");
    fs::write(&paths[1], key.serialize_pem()).expect("written");
    let [certificate, key] = paths;
    (certificate, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_server_is_verified_by_its_ca_and_a_node_by_its_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("an authority");
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, authority.pem()).expect("written");
    let issuer = rcgen::Issuer::new(params, key);
    let (server, server_key) = certificate(directory.path(), "server", &issuer);
    let node = certificate(directory.path(), "node", &issuer);
    let more = format!(
        "tls {{ cert_file: {server:?}, key_file: {server_key:?}, ca_file: {ca:?}, verify: true }}"
    );
    let setup = Setup { servers: 1, more, ..Setup::default() };
    let cluster = Cluster::start(&setup).expect("a server");

    let mut options = Options::new(cluster.url().replace("nats://", "tls://"));
    assert!(
        matches!(open(&options).await, Err(OpenError::NoServer { .. })),
        "an unknown authority"
    );
    options.ca = Some(ca);
    assert!(matches!(open(&options).await, Err(OpenError::NoServer { .. })), "no certificate");
    options.certificate = Some(node);
    let journal = open(&options).await.expect("a journal");
    assert_eq!(propose(&journal, 0).await, Position(1));
    options.ca = Some(directory.path().join("not-there.pem"));
    let why = open(&options).await.err().expect("it is refused").to_string();
    assert!(why.contains("not-there.pem") || why.contains("No such file"), "{why}");
}

#[test]
fn the_configuration_to_try_with_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nats/try.conf");
    let checked = std::process::Command::new("nats-server").args(["-t", "-c", file]).output();
    let checked = checked.expect("nats-server; script/test installs it");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// A JWT of NATS: claims that a key has signed.
fn jwt(issuer: &nkeys::KeyPair, name: &str, subject: &str, nats: serde_json::Value) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let claims = serde_json::json!({
        "jti": name, "iat": 1, "iss": issuer.public_key(), "name": name, "sub": subject,
        "nats": nats,
    });
    let head = encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let signature = issuer.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", encode(&signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_logs_in_with_a_file_of_credentials() {
    let directory = tempfile::tempdir().expect("a directory");
    let (operator, system) = (nkeys::KeyPair::new_operator(), nkeys::KeyPair::new_account());
    let (account, user) = (nkeys::KeyPair::new_account(), nkeys::KeyPair::new_user());
    let limits = serde_json::json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let of_account = serde_json::json!({ "type": "account", "version": 2, "limits": limits });
    let account_jwt = jwt(&operator, "log", &account.public_key(), of_account.clone());
    let plain = serde_json::json!({
        "type": "account", "version": 2, "limits": { "subs": -1, "data": -1, "payload": -1,
        "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 },
    });
    let system_jwt = jwt(&operator, "system", &system.public_key(), plain);
    let of_operator = serde_json::json!({
        "type": "operator", "version": 2, "system_account": system.public_key(),
    });
    let operator_jwt = jwt(&operator, "operator", &operator.public_key(), of_operator);
    let of_user =
        serde_json::json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let user_jwt = jwt(&account, "node", &user.public_key(), of_user);

    let config = directory.path().join("nats.conf");
    let text = format!(
        "server_name: a\nlisten: $NATS_LISTEN\n\
         jetstream {{ store_dir: $NATS_STORE, sync_interval: always }}\n\
         operator: \"{operator_jwt}\"\nsystem_account: {}\nresolver: MEMORY\n\
         resolver_preload: {{\n  {}: \"{account_jwt}\"\n  {}: \"{system_jwt}\"\n}}\n",
        system.public_key(),
        account.public_key(),
        system.public_key(),
    );
    fs::write(&config, text).expect("written");
    let credentials = directory.path().join("node.creds");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().expect("a seed")
    );
    fs::write(&credentials, text).expect("written");
    let setup = Setup { servers: 1, config: Some(config), ..Setup::default() };
    let cluster = Cluster::start(&setup).expect("a server");

    let mut options = Options::new(cluster.url().replace("roomlog:roomlog@", ""));
    (options.declared, options.replicas) = (true, Some(1));
    assert!(matches!(open(&options).await, Err(OpenError::NoServer { .. })), "nobody is let in");
    options.credentials = Some(credentials);
    let journal = open(&options).await.expect("a journal");
    assert_eq!(propose(&journal, 0).await, Position(1));
}
