//! Revoked tokens: what they have opened ends at once, and neither a restart nor a restore brings them
//! back; and who may revoke.

mod support;

use hyper::Method;
use roomlog_testkit::nats::{Cluster, Setup};
use serde_json::json;
use support::{
    Server, backup, restore, roomlog,
    tokens::{TokenServer, bearer, claims, now, signed, token},
    within,
};

/// Runs a command with the server in its environment: its exit code and standard error.
async fn run(server: &Server, args: &str) -> (Option<i32>, String) {
    let ended = within(args, roomlog(server, args).output()).await.expect("a run");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// Why the server refuses this token now; `None` if it is good.
async fn refused(server: &Server, token: &str) -> Option<String> {
    let answer = server.get("/v1/rooms").header("authorization", &bearer(token)).send().await;
    (answer.status != 200)
        .then(|| answer.refused(401, "unauthorized")["message"].as_str().expect("text").to_owned())
}

const REVOKED: &str = "the token was revoked; get a new one";

#[tokio::test]
async fn a_revoked_token_is_refused_and_what_it_has_opened_ends() {
    let it = TokenServer::start(&[]).await;
    let all = json!({"*": ["read", "append", "create"]});
    let (ada, bob) = (token("ada", all.clone()), token("bob", all));
    let mut of_ada = it.enter(&ada).await;
    let mut of_bob = it.enter(&bob).await;
    let events = it.server.get("/v1/rooms/r/events").header("authorization", &bearer(&ada));
    let mut events = events.events().await;
    events.place().await;
    let (code, said) = run(&it.server, "revoke --jti ada-token").await;
    assert_eq!((code, &*said), (Some(0), "roomlog: the token ada-token is revoked\n"));
    assert_eq!(of_ada.closed().await, Some(1008));
    assert_eq!(events.block().await, None, "the events have ended");
    assert_eq!(refused(&it.server, &ada).await.as_deref(), Some(REVOKED));
    assert_eq!(refused(&it.server, &bob).await, None);
    of_bob.append("r", json!({"body": "goes on"})).await;

    let (code, _) = run(&it.server, "revoke --author bob").await;
    assert_eq!(code, Some(0));
    assert_eq!(of_bob.closed().await, Some(1008));
    let mut later = claims("bob", json!({"*": ["read"]}));
    later.iat = now() + 5;
    assert_eq!(refused(&it.server, &signed(&later)).await, None, "issued after it");
}

#[tokio::test]
async fn a_restart_keeps_revocations_and_clients_do_not_see_their_room() {
    let mut it = TokenServer::start(&[]).await;
    let ada = token("ada", json!({"*": ["read", "append", "create"]}));
    run(&it.server, "revoke --jti ada-token").await;
    it.server.kill9().await;
    it.server.restart().await;
    assert_eq!(refused(&it.server, &ada).await.as_deref(), Some(REVOKED));
    let mut root = it.enter(&token("root", json!({"*": ["read", "append", "create"]}))).await;
    assert_eq!(root.ask(json!({"type": "watch"})).await["rooms"], json!({}));
    root.refused(json!({"type": "join", "room": "/~/revoked"}), "bad_name").await;
}

#[tokio::test]
async fn a_restore_does_not_undo_a_revocation() {
    let mut it = TokenServer::start(&[]).await;
    // Taken as soon as the server answers: even this backup knows that tokens are in use.
    let copy = backup(&it.server).await;
    let ada = token("ada", json!({"*": ["read"]}));
    assert_eq!(refused(&it.server, &ada).await, None);
    run(&it.server, "revoke --jti ada-token").await;
    restore(&mut it.server, &copy).await;
    assert_eq!(refused(&it.server, &ada).await.as_deref(), Some(REVOKED));
    let mut later = claims("ada", json!({"*": ["read"]}));
    (later.iat, later.jti) = (now() + 5, "later".into());
    assert_eq!(refused(&it.server, &signed(&later)).await, None, "issued after the restore");
    it.server.kill9().await;
    it.server.restart().await;
    assert_eq!(refused(&it.server, &ada).await.as_deref(), Some(REVOKED));
    assert_eq!(refused(&it.server, &signed(&later)).await, None, "revoked once, not at each start");
}

#[tokio::test]
async fn at_an_address_operators_need_a_token_for_what_they_do() {
    let it = TokenServer::start(&["--admin-listen", "127.0.0.1:0"]).await;
    let mut of_ops = claims("cron", json!({}));
    of_ops.operations = serde_json::from_value(json!(["metrics"])).expect("operations");
    let cron = signed(&of_ops);
    let at = |path: &str| it.server.at_door(Method::GET, path);
    at("/metrics").send().await.refused(401, "login_required");
    at("/metrics").header("authorization", "Bearer x").send().await.refused(401, "unauthorized");
    let with = |path: &str| at(path).header("authorization", &bearer(&cron));
    assert_eq!(with("/metrics").send().await.status, 200);
    with("/v1/backup").send().await.refused(403, "forbidden");
    let revoke = it.server.at_door(Method::POST, "/v1/revoke");
    revoke.header("authorization", &bearer(&cron)).send().await.refused(403, "forbidden");
    assert_eq!(at("/healthz").send().await.status, 200);
}

#[tokio::test]
async fn a_malformed_revocation_revokes_nothing_and_an_open_server_has_none() {
    let it = TokenServer::start(&[]).await;
    for wrong in ["{}", "[]", "x", r#"{"author":"ada"}"#, r#"{"jti":""}"#] {
        let request = it.server.at_door(Method::POST, "/v1/revoke").body(wrong);
        request.send().await.refused(400, "bad_message");
    }
    let (code, said) = run(&it.server, "revoke --author ada --issued-before yesterday").await;
    assert_eq!(code, Some(2));
    assert!(said.contains("--issued-before \"yesterday\" is no time"), "{said}");
    let open = Server::start(&[]).await;
    let (code, said) = run(&open, "revoke --everybody").await;
    assert_eq!(code, Some(1));
    assert!(said.contains("this server is open: it has no tokens to revoke"), "{said}");
}

#[tokio::test]
async fn a_stopped_directory_is_verified_with_all_namespaces_by_their_full_names() {
    let mut it = TokenServer::start(&[]).await;
    let mut of_acme = claims("ada", json!({"*": ["read", "append", "create"]}));
    let plain = signed(&of_acme);
    of_acme.namespace = Some("acme".into());
    for token in [plain, signed(&of_acme)] {
        it.enter(&token).await.append("general", json!({"body": "hello"})).await;
    }
    assert!(it.server.sigterm().await.success());
    let data = it.server.directory().to_str().expect("a path").to_owned();
    let verify = roomlog(&it.server, &format!("verify --data {data}")).output();
    let verified = within("verify", verify).await.expect("a run");
    let out = String::from_utf8(verified.stdout).expect("UTF-8");
    let rooms: Vec<_> = out.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(rooms, ["/acme/general", "/~/revoked", "general"], "{out}");
    assert!(verified.status.success(), "{out}");
}

#[tokio::test]
async fn a_revocation_reaches_every_node_of_a_cluster() {
    let cluster = Cluster::start(&Setup { servers: 1, ..Setup::default() }).expect("a NATS server");
    let url = cluster.url();
    let flags = ["--journal", &url];
    let (one, two) = (TokenServer::start(&flags).await, TokenServer::start(&flags).await);
    let ada = token("ada", json!({"*": ["read"]}));
    let mut of_ada = two.enter(&ada).await;
    let (code, said) = run(&one.server, "revoke --jti ada-token").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(of_ada.closed().await, Some(1008));
    for node in [&one, &two] {
        assert_eq!(refused(&node.server, &ada).await.as_deref(), Some(REVOKED));
    }
    let later = TokenServer::start(&flags).await;
    assert_eq!(refused(&later.server, &ada).await.as_deref(), Some(REVOKED));
}
